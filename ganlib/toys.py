"""Toy sets in the plane: their points, networks for them, and modes captured."""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganlib.metrics import kl_to_uniform


class Modes(NamedTuple):
    """Equal Gaussians in the plane: centers (K, 2), and their standard deviation."""

    centers: Tensor
    sigma: float


# The toy sets on which cures for mode collapse are compared, as in PacGAN's code.
_angles = torch.arange(8) * (2 * math.pi / 8)
RING = Modes(torch.stack([_angles.cos(), _angles.sin()], 1), 0.01)
GRID = Modes(torch.cartesian_prod(*[torch.arange(-4.0, 5.0, 2.0)] * 2), 0.05)


def sample_points(modes: Modes, count: int, *, seed: int) -> Tensor:
    """Return points (count, 2) of RING or GRID: a random mode, and noise around it.

    RING has 8 modes on a circle of radius 1, with standard deviation 0.01; GRID has 25
    at {-4, -2, 0, 2, 4}², with 0.05.

    Source: Lin et al. 2018 (PacGAN), section 4.1. Taught in notebook 07.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(modes.centers), (count,), generator=generator)
    noise = torch.randn(count, 2, generator=generator)
    return modes.centers[chosen] + modes.sigma * noise


def hidden_layers(in_features: int, width: int, depth: int) -> list:
    """Return ``depth`` times Linear and LeakyReLU(0.2), each of ``width`` units.

    Shapes: (N, in_features) → (N, width). No BatchNorm: it would tie the points of a
    batch together. Taught in notebook 07.
    """
    sizes = [in_features] + [width] * depth
    pairs = itertools.pairwise(sizes)
    return [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.LeakyReLU(0.2))]


class PointGenerator(nn.Module):
    """G for the toy sets: noise (N, latent_dim) → points (N, 2), of any size.

    Taught in notebook 07.
    """

    def __init__(self, latent_dim: int = 2, width: int = 128, depth: int = 3):
        super().__init__()
        self.latent_dim = latent_dim
        self.net = nn.Sequential(
            *hidden_layers(latent_dim, width, depth), nn.Linear(width, 2)
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class PointDiscriminator(nn.Module):
    """D for the toy sets: points (N, 2) → logits (N,).

    Taught in notebook 07.
    """

    def __init__(self, width: int = 128, depth: int = 3):
        super().__init__()
        self.net = nn.Sequential(*hidden_layers(2, width, depth), nn.Linear(width, 1))

    def forward(self, points: Tensor) -> Tensor:
        return self.net(points).squeeze(1)


class ModeCoverage(NamedTuple):
    """A count of modes, a fraction of the points, and a KL divergence in nats."""

    captured: int
    high_quality: float
    kl: float


def mode_coverage(points: Tensor, modes: Modes) -> ModeCoverage:
    """Return how well points (N, 2) cover the ``modes`` of a toy set.

    - captured: how many modes have a point within 3 standard deviations,
    - high_quality: the fraction of points that close to any mode; 1 - exp(-9/2) = 0.989
      for perfect ones,
    - kl: each point counts for its nearest mode; the KL divergence, in nats, of these
      fractions from equal ones.

    Published tables use 2,500 points. Spreading out is enough for the first number,
    sitting on one mode for the second: only both together mean something.

    Source: Lin et al. 2018 (PacGAN), section 4.1. Taught in notebook 07.
    """
    points = points.float()
    distance, nearest = torch.cdist(points, modes.centers.to(points)).min(1)
    near = distance <= 3 * modes.sigma
    shares = nearest.bincount(minlength=len(modes.centers)) / len(points)
    captured = len(nearest[near].unique())
    return ModeCoverage(captured, near.float().mean().item(), kl_to_uniform(shares))
