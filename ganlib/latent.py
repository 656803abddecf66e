"""The noise that a generator starts from, and ways through it."""

import math

import torch
from torch import Tensor, nn

from ganlib.checks import check_count, check_network, check_noise, check_walk


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
