"""Numbers that judge samples: features (N, d) or samples in, numbers out.

The mirror image of ``losses``. Features come from ``judge_features``, one row for each
image. What counts as good depends on the judge and on N: compare only within one setup.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 500  # rows of a distance matrix that are in memory at once


class KernelDistance(NamedTuple):
    """Mean over subsets, and their standard deviation."""

    mean: float
    std: float


class PrecisionRecall(NamedTuple):
    """Four fractions; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


class Memorization(NamedTuple):
    """Mean distances to the nearest training image, their ratio, and a fraction."""

    fake: float
    held_out: float
    ratio: float
    share_near: float


class Parzen(NamedTuple):
    """Mean log-likelihood in nats, its standard error, and the window's width."""

    mean: float
    standard_error: float
    sigma: float


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the Fréchet distance between two sets of features (N, d) and (M, d).

    With means μ and covariances Σ: ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½). 0 for equal
    sets. With the features of an Inception network, it is the FID. With N or M up to
    d, a covariance is singular, and the number means little.

    Source: Heusel et al. 2017. Taught in notebook 06.
    """
    real, fake = real.cpu().double(), fake.cpu().double()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    first, second = real.T.cov(), fake.T.cov()
    roots = torch.linalg.eigvals(first @ second).sqrt().real.sum()
    return (means + first.trace() + second.trace() - 2 * roots).item()


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, seed: int = 0
) -> KernelDistance:
    """Return the kernel distance between two sets of features (N, d) and (M, d).

    The squared maximum mean discrepancy (MMD), without bias, with the kernel
    k(x, y) = (x · y / d + 1)³: mean k over pairs of different real features, plus the
    same for the fakes, minus 2 · mean k over pairs of a real and a fake one. With the
    features of an Inception network, it is the KID. It is computed on ``subsets`` of up
    to 1,000 features each, sampled with ``seed``; their mean and standard deviation are
    returned. For two sets from one source, it is near 0, as often below as above,
    whatever N is. With 1,000 features or fewer, every subset is the whole set: then the
    deviation does not show how much the value varies by chance.

    Source: Bińkowski et al. 2018. Taught in notebook 06.
    """
    real, fake = real.cpu().float(), fake.cpu().float()
    size = min(1000, len(real), len(fake))
    draws, found = torch.Generator().manual_seed(seed), []
    for _ in range(subsets):
        x, y = (s[torch.randperm(len(s), generator=draws)[:size]] for s in (real, fake))
        found.append(_mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _kernel(x, y).mean())
    found = torch.stack(found)
    return KernelDistance(found.mean().item(), found.std(correction=0).item())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(x: Tensor) -> Tensor:
    """Return the mean kernel over pairs of different rows."""
    kernel = _kernel(x, x)
    return (kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 5) -> PrecisionRecall:
    """Return precision, recall, density and coverage of features (N, d) and (M, d).

    Around each feature is a ball that reaches to its k-th neighbor in its own set.

    - precision: the fraction of fakes inside the ball of some real feature,
    - recall: the fraction of real features inside the ball of some fake,
    - density: the number of real balls around a fake, on average, divided by k,
    - coverage: the fraction of real balls with a fake inside.

    The border belongs to the ball; otherwise sets of equal features would get 0. The
    largest matrix in memory has 500 × max(N, M) numbers.

    Source: Kynkäänniemi et al. 2019 (the first two, k = 3), Naeem et al. 2020 (k = 5).
    Taught in notebook 06.
    """
    # Distances stay the same, and equal features become 0, which has no rounding error.
    real, fake = (real - real[0]).float(), (fake - real[0]).float()
    real_radius, fake_radius = neighbor_distance(real, k), neighbor_distance(fake, k)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled = inside = covered = 0
    for some, radius in zip(real.split(BLOCK), real_radius.split(BLOCK), strict=True):
        distance = torch.cdist(some, fake)  # (BLOCK, M)
        in_real_ball = distance <= radius.unsqueeze(1)
        precise |= in_real_ball.amax(0)  # any(0), but ten times faster
        recalled += (distance <= fake_radius).amax(1).count_nonzero().item()
        inside += in_real_ball.count_nonzero().item()
        covered += in_real_ball.amax(1).count_nonzero().item()
    precision, recall = precise.count_nonzero().item() / len(fake), recalled / len(real)
    density, coverage = inside / (k * len(fake)), covered / len(real)
    return PrecisionRecall(precision, recall, density, coverage)


def neighbor_distance(features: Tensor, k: int) -> Tensor:
    """Return the distance (N,) of each of the features (N, d) to its k-th neighbor.

    Taught in notebook 06.
    """
    found = []
    for some in features.float().split(BLOCK):
        distance = torch.cdist(some, features.float())  # (BLOCK, N)
        nearest = distance.topk(k + 1, largest=False).values  # the first is itself
        found.append(nearest[:, -1])
    return torch.cat(found)


def entropy(shares: Tensor) -> float:
    """Return the entropy -Σ pᵢ log pᵢ, in nats, of fractions (K,) that sum to 1.

    Taught in notebook 06.
    """
    return torch.special.entr(shares).sum().item()  # entr(p) = -p log p, 0 for p = 0


def kl_to_uniform(shares: Tensor) -> float:
    """Return Σ pᵢ log(pᵢ / (1 / K)) = log K - entropy, in nats, of fractions (K,).

    0 if all are equal, log K if one of them is 1. Taught in notebook 06.
    """
    return math.log(len(shares)) - entropy(shares)


def nearest_distance(images: Tensor, train: Tensor) -> Tensor:
    """Return the distance (N,) of each image (N, C, H, W) to the nearest of ``train``.

    Euclidean, over all pixels, in [-1, 1]. Taught in notebook 06.
    """
    train = train.flatten(1).float()
    half_norms = train.square().sum(1) / 2
    found = []
    for some in images.to(train).flatten(1).split(BLOCK):
        # ½ ‖x - t‖² without ½ ‖x‖², which is the same for every t: one matrix product
        scores = torch.addmm(half_norms, some, train.T, alpha=-1)  # (BLOCK, M)
        found.append((some - train[scores.argmin(1)]).norm(dim=1))
    return torch.cat(found)


def memorization(fake: Tensor, train: Tensor, held_out: Tensor) -> Memorization:
    """Return how close fakes are to training images, compared with held-out images.

    All are images (N, C, H, W) in [-1, 1]. Returned are the means of
    ``nearest_distance`` for fakes and for held-out images, the first divided by the
    second (about 1 for a perfect generator, 0 for copies), and the fraction of fakes
    that are closer than 99% of the held-out images (so about 0.01 for a perfect
    generator). It sees copies of pixels only: an image shifted by one pixel is far from
    itself.

    Source: Theis et al. 2016, section 3.3, on its limits. Taught in notebook 06.
    """
    fake_distance = nearest_distance(fake, train)
    real_distance = nearest_distance(held_out, train)
    mean, real_mean = fake_distance.mean(), real_distance.mean()
    near = fake_distance < real_distance.quantile(0.01)
    found = (mean, real_mean, mean / real_mean, near.float().mean())
    return Memorization(*(number.item() for number in found))


def parzen_log_density(points: Tensor, centers: Tensor, sigmas: list[float]) -> Tensor:
    """Return the log-density (S, N) of points (N, d) for S widths of the window.

    With Gaussians of width σ at the centers μ (M, d), in nats:
    log mean_j exp(-‖x - μ_j‖² / 2σ²) - d log(σ √(2π)).

    Taught in notebook 06.
    """
    size, found = points.shape[1], []
    for some in points.float().split(BLOCK):
        squares = torch.cdist(some, centers.float()).square()  # (BLOCK, M)
        densities = [
            torch.logsumexp(-squares / (2 * sigma**2), 1)
            - math.log(len(centers))
            - size * math.log(sigma * math.sqrt(2 * math.pi))
            for sigma in sigmas
        ]
        found.append(torch.stack(densities))
    return torch.cat(found, dim=1)


def parzen_log_likelihood(samples: Tensor, validation: Tensor, test: Tensor) -> Parzen:
    """Return the log-likelihood of test images as the GAN paper of 2014 estimates it.

    All are images (N, C, H, W) in [-1, 1]; they are moved to [0, 1]. Gaussians are put
    on the samples (a kernel density estimate); of ten widths from 0.1 to 1, the one is
    taken that is best on the first 1,000 validation images. Returns mean and standard
    error over the test images in nats, and the width. The paper's 225 ± 2 holds for
    MNIST: 10,000 samples, validation = train[50000:60000], 10,000 test images.

    Source: Goodfellow et al. 2014, section 5, and the authors' parzen_ll.py; Theis et
    al. 2016 on why to avoid it. Taught in notebook 06.
    """
    centers, chosen, test = (
        (images.flatten(1) + 1) / 2 for images in (samples, validation[:1000], test)
    )
    sigmas = torch.logspace(-1, 0, 10).tolist()
    sigma = sigmas[parzen_log_density(chosen, centers, sigmas).mean(1).argmax()]
    found = parzen_log_density(test, centers, [sigma])[0]
    error = found.std(correction=0) / math.sqrt(len(found))
    return Parzen(found.mean().item(), error.item(), sigma)
