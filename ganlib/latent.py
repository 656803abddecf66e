"""The noise that a generator starts from, ways through it, and directions in it."""

import math

import torch
from torch import Tensor, nn

from ganlib.arguments import check_count, wrong
from ganlib.checks import (
    check_images,
    check_network,
    check_noise,
    check_range,
    check_walk,
)

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # those that have weights


def sample_noise(count: int, latent_dim: int, *, seed: int) -> Tensor:
    """Return z of shape (count, latent_dim), standard normal, the same for one seed.

    Raises TypeError or ValueError for a count or latent_dim below 1, a seed below 0.
    """
    check_count(count, "count")
    check_count(latent_dim, "latent_dim")
    check_count(seed, "seed", 0)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=generator)


def sample_images(G: nn.Module, count: int, *, seed: int, batch: int = 1000) -> Tensor:
    """Return ``count`` images (count, C, H, W) in [-1, 1], drawn by G in eval mode.

    The noise depends on ``seed`` alone, and G goes back to the mode that it had.

    Raises TypeError or ValueError where ``sample_noise`` and ``draw`` do, and for a
    batch below 1.
    """
    check_network(G, "G")
    check_count(batch, "batch")
    z = sample_noise(count, G.latent_dim, seed=seed)
    return torch.cat([draw(G, part) for part in z.split(batch)])


@torch.no_grad()
def draw(G: nn.Module, z: Tensor) -> Tensor:
    """Return G's images (N, C, H, W) for z (N, latent_dim), in eval mode, as they are.

    z may lie on another device than G. G goes back to the mode that it had.

    Raises TypeError or ValueError when G is no generator, or when z does not fit.
    """
    check_network(G, "G")
    check_noise(z, G.latent_dim)
    was_training = G.training
    try:
        return G.eval()(z.to(next(G.parameters(), z)))  # and to its dtype
    finally:
        G.train(was_training)


def lerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Walk in a straight line: (1 - t) start + t end.

    Shapes: start and end (latent_dim,), t (T,) in [0, 1] → (T, latent_dim).
    Raises TypeError or ValueError for others. Taught in notebook 05.
    """
    check_walk(start, end, t)
    t = t.unsqueeze(1)
    return (1 - t) * start + t * end


def slerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Walk along the arc between two noise vectors, so that the length stays typical.

    With ω the angle between them: (sin((1 - t) ω) start + sin(t ω) end) / sin ω.
    Shapes: start and end (latent_dim,), t (T,) in [0, 1] → (T, latent_dim). Vectors
    that point the same way are joined by a straight line; opposite ones have no arc.

    Raises TypeError or ValueError for other shapes, for opposite ends, and for an end
    of length 0.
    Source: Shoemake 1985; White 2016 for generators. Taught in notebook 05.
    """
    check_walk(start, end, t, arc=True)
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
    G: nn.Module, count: int = 8, *, samples: int = 10_000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the directions in z that change G's last hidden layer most.

    The activations h of many z are centered and split into principal components: axes
    along which they vary most, one after the other. Each is brought back to noise by
    regression: the U that minimizes the sum of ‖z - (h · axes) U‖². Returns directions
    (count, latent_dim) of length 1 and the share (count,) of the variance of h that
    each component holds, the largest first. A direction's largest number is positive.

    Raises TypeError or ValueError when G is no generator, for a seed below 0, for fewer
    samples than latent_dim, and for a count below 1 or above latent_dim.
    Source: Härkönen et al. 2020, section 2. Taught in notebook 05.
    """
    check_network(G, "G")
    check_count(count, "count", most=G.latent_dim)
    check_count(samples, "samples", G.latent_dim)
    z = sample_noise(samples, G.latent_dim, seed=seed)
    hidden = last_hidden(G, z)
    hidden = hidden - hidden.mean(0)
    variances, axes = torch.linalg.eigh(hidden.T @ hidden)  # the largest comes last
    axes = axes[:, -count:].flip(1)
    directions = torch.linalg.lstsq(hidden @ axes, z).solution
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions / directions.norm(dim=1, keepdim=True) * largest.sign()
    return directions, variances.flip(0)[:count] / variances.sum()


def last_hidden(G: nn.Module, z: Tensor) -> Tensor:
    """Return what G's last layer with weights is given for z, as (N, units).

    Raises TypeError or ValueError where ``draw`` does, and when G has no such layer.
    """
    check_network(G, "G")
    check_noise(z, G.latent_dim)
    layers = [layer for layer in G.modules() if isinstance(layer, LAYERS)]
    if not layers:
        came, expected = "G has no layer with weights", "a linear or convolutional one"
        raise wrong(TypeError, came, expected, "pass Generator()")
    found = []

    def keep(_layer: nn.Module, inputs: tuple[Tensor]) -> None:
        found.append(inputs[0].flatten(1).cpu())

    handle = layers[-1].register_forward_pre_hook(keep)
    try:
        for part in z.split(1000):
            draw(G, part)
    finally:
        handle.remove()
    return torch.cat(found)


def find_noise(
    G: nn.Module, images: Tensor, *, steps: int = 200, seed: int = 0
) -> Tensor:
    """Return the z (N, latent_dim) whose pictures come closest to images (N, C, H, W).

    Of 1,000 noise vectors the best one for each image is the start; Adam then lowers
    ‖G(z) - x‖² over z alone. A way through a landscape with many valleys: what it
    returns is near, not always nearest. G stays as it is.

    Raises TypeError or ValueError when G is no generator, when images do not fit it or
    are not in [-1, 1], for steps below 1 and a seed below 0.
    Source: Zhu et al. 2016, section 3.1. Taught in notebook 05.
    """
    check_network(G, "G")
    check_images(images, G.image_shape, G)
    check_range(images)
    check_count(steps, "steps")
    starts = sample_noise(1000, G.latent_dim, seed=seed).to(images)
    distance = torch.cdist(images.flatten(1), draw(G, starts).flatten(1))
    z = starts[distance.argmin(1)].requires_grad_()
    optimizer = torch.optim.Adam([z], 0.05)
    was_training = G.training
    try:
        G.eval()
        for _ in range(steps):
            loss = (G(z) - images).square().sum()
            z.grad = torch.autograd.grad(loss, z)[0]  # none for G's weights
            optimizer.step()
    finally:
        G.train(was_training)
    return z.detach()
