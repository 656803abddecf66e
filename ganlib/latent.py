"""The noise that a generator starts from, ways through it, and directions in it."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn
from torch.nn import Module

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # those that have weights


def stream(purpose: str, seed: int, device: str | torch.device = "cpu") -> Generator:
    """Return a generator of random numbers that belongs to one purpose.

    The streams of two purposes, or of two seeds, share no numbers; plain seeds would:
    a run's noise with ``manual_seed(0)`` is the z that ``sample_noise(seed=0)`` gives.
    """
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    generator = torch.Generator(device)
    return generator.manual_seed(int.from_bytes(digest[:4], "big"))


def sample_noise(count: int, latent_dim: int, *, seed: int) -> Tensor:
    """Return z of shape (count, latent_dim), standard normal, the same for one seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=generator)


def sample_images(G: Module, count: int, *, seed: int, batch: int = 1000) -> Tensor:
    """Return ``count`` images (count, C, H, W) in [-1, 1], drawn by G in eval mode.

    The noise depends on ``seed`` alone, and G goes back to the mode that it had. The
    images are where G is.
    """
    z = sample_noise(count, G.latent_dim, seed=seed)
    return torch.cat([draw(G, part) for part in z.split(batch)])


@torch.no_grad()
def draw(G: Module, z: Tensor) -> Tensor:
    """Return G's images (N, C, H, W) for z (N, latent_dim), in eval mode.

    z follows G to its device and dtype. Each layer goes back to the mode that it had.
    """
    with eval_mode(G):
        return G(z.to(next(G.parameters(), z)))


@contextmanager
def eval_mode(network: Module) -> Iterator[None]:
    """Put a network in eval mode, and each layer back afterwards, also on an error."""
    modes = {layer: layer.training for layer in network.modules()}
    try:
        network.eval()
        yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode


def lerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Walk in a straight line: (1 - t) start + t end.

    Shapes: start and end (latent_dim,), t (T,) in [0, 1] → (T, latent_dim).
    Taught in notebook 05.
    """
    t = t.unsqueeze(1)
    return (1 - t) * start + t * end


def slerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Walk along the arc between two noise vectors, so that the length stays typical.

    With ω the angle between them: (sin((1 - t) ω) start + sin(t ω) end) / sin ω.
    Shapes: start and end (latent_dim,), t (T,) in [0, 1] → (T, latent_dim). Vectors
    that point the same way are joined by a straight line; opposite ones have no arc.

    Raises ValueError for opposite ends.
    Source: Shoemake 1985; White 2016 for generators. Taught in notebook 05.
    """
    cosine = torch.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    omega = torch.arccos(cosine)
    if omega < 1e-3:
        return lerp(start, end, t)
    if omega > math.pi - 1e-3:
        raise ValueError(
            "start and end point in opposite directions, where the arc is not unique: "
            "go through a third point."
        )
    t = t.unsqueeze(1)
    arc = torch.sin((1 - t) * omega) * start + torch.sin(t * omega) * end
    return arc / torch.sin(omega)


def principal_directions(
    G: Module, count: int = 8, *, samples: int = 10_000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the directions in z that change G's last hidden layer most.

    The activations h of many z are centered and split into principal components: axes
    along which they vary most, one after the other. Each is brought back to noise by
    regression. Since components are uncorrelated, that is a projection: direction i is
    proportional to Σ z (h · axis i), over all samples. Returns directions
    (count, latent_dim) of length 1 and the fraction (count,) of the variance of h that
    each component holds, the largest first. A direction's largest number is positive.

    Source: Härkönen et al. 2020, section 2. Taught in notebook 05.
    """
    z = sample_noise(samples, G.latent_dim, seed=seed)
    hidden = last_hidden(G, z)
    hidden = hidden - hidden.mean(0)
    variances, axes = torch.linalg.eigh(hidden.T @ hidden)  # the largest comes last
    axes = axes[:, -count:].flip(1)
    directions = (hidden @ axes).T @ z
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions / directions.norm(dim=1, keepdim=True) * largest.sign()
    return directions, variances.flip(0)[:count] / variances.sum()


def last_hidden(G: Module, z: Tensor) -> Tensor:
    """Return what G's last layer with weights is given for z: (N, units), float32."""
    layer = [layer for layer in G.modules() if isinstance(layer, LAYERS)][-1]
    found = []

    def keep(_layer: Module, inputs: tuple[Tensor]) -> None:
        found.append(inputs[0].flatten(1).float().cpu())

    handle = layer.register_forward_pre_hook(keep)
    try:
        for part in z.split(1000):
            draw(G, part)
    finally:
        handle.remove()
    return torch.cat(found)


def find_noise(G: Module, images: Tensor, *, steps: int = 200, seed: int = 0) -> Tensor:
    """Return the z (N, latent_dim) whose images come closest to images (N, C, H, W).

    Of 1,000 noise vectors the best one for each image is the start; Adam then lowers
    ‖G(z) - x‖² over z alone. A way through a landscape with many valleys: what it
    returns is close, not always the closest. G stays as it is; z is float32, with G.

    Source: Zhu et al. 2016, section 3.1. Taught in notebook 05.
    """
    images = images.to(next(G.parameters(), images))
    starts = sample_noise(1000, G.latent_dim, seed=seed).to(images)
    distance = torch.cdist(images.flatten(1), draw(G, starts).flatten(1))
    z = starts[distance.argmin(1)].float().requires_grad_()
    optimizer = torch.optim.Adam([z], 0.05)
    with eval_mode(G):
        for _ in range(steps):
            loss = (G(z.to(images)) - images).float().square().sum()
            z.grad = torch.autograd.grad(loss, z)[0]  # none for G's weights
            optimizer.step()
    return z.detach()
