"""The likelihood that the first GAN paper reported: a Parzen window on the samples."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.arguments import check_positive, wrong
from ganlib.checks import check_features, check_image_sets

ROOT_TWO_PI = math.sqrt(2 * math.pi)


class Parzen(NamedTuple):
    """Mean log-likelihood in nats, its standard error, and the window's width."""

    mean: float
    standard_error: float
    sigma: float


def log_mean_exp(exponents: Tensor) -> Tensor:
    """Return log mean_j exp(eᵢⱼ) as (N,) in double precision, for exponents (N, M).

    The largest is taken out first, since exp(-104) is already 0 in float32. What lies
    80 or more below it adds nothing, and as a denormal number it would cost much time.

    Raises TypeError or ValueError for what are no finite numbers (N, M).
    Taught in notebook 06.
    """
    check_features(exponents=exponents)
    largest = exponents.amax(1, keepdim=True)
    shares = (exponents - largest).clamp(min=-80).exp()  # in [0, 1]
    return (shares.mean(1).log() + largest.squeeze(1)).double()


def parzen_log_density(
    points: Tensor, centers: Tensor, sigmas: Sequence[float]
) -> Tensor:
    """Return the log-density (S, N) of points (N, d) for S widths of the window.

    With Gaussians of width σ at the centers μ (M, d), in nats:
    log mean_j exp(-‖x - μ_j‖² / 2σ²) - d log(σ √(2π)).

    Raises TypeError or ValueError for others, and for a width that is not above 0.
    Taught in notebook 06.
    """
    check_features(points=points, centers=centers)
    check_widths(sigmas)
    points, centers = points.float(), centers.float()
    size, found = points.shape[1], []
    for some in points.split(1000):
        squares = torch.cdist(some, centers).square()  # (1000, M)
        densities = [
            log_mean_exp(-squares / (2 * s**2)) - size * math.log(s * ROOT_TWO_PI)
            for s in sigmas
        ]
        found.append(torch.stack(densities))
    return torch.cat(found, dim=1)


def parzen_log_likelihood(samples: Tensor, validation: Tensor, test: Tensor) -> Parzen:
    """Return the log-likelihood of test images as the GAN paper of 2014 estimates it.

    All are images (N, C, H, W) in [-1, 1]; they are moved to [0, 1]. Gaussians stand on
    the samples; of ten widths from 0.1 to 1 the one is taken that is best on the
    first 1,000 validation images. Returns mean and standard error over the test images
    in nats, and the width. The paper's 225 ± 2 holds for MNIST: 10,000 samples,
    validation = train[50000:60000], 10,000 test images.

    Raises TypeError or ValueError for images of other ranges, or that differ in size.
    Source: Goodfellow et al. 2014, section 5, and the authors' parzen_ll.py; Theis et
    al. 2016 on why to avoid it. Taught in notebook 06.
    """
    check_image_sets(samples=samples, validation=validation, test=test)
    centers, chosen, test = (
        (images.flatten(1) + 1) / 2 for images in (samples, validation[:1000], test)
    )
    sigmas = torch.logspace(-1, 0, 10).tolist()
    sigma = sigmas[parzen_log_density(chosen, centers, sigmas).mean(1).argmax()]
    found = parzen_log_density(test, centers, [sigma])[0]
    error = found.std(correction=0) / math.sqrt(len(found))
    return Parzen(found.mean().item(), error.item(), sigma)


def check_widths(sigmas: Sequence[float]) -> None:
    """Refuse what are not widths of a window, a single number for example."""
    if not isinstance(sigmas, list | tuple) or not sigmas:
        came, mend = f"sigmas came as {type(sigmas).__name__}", "write sigmas=[0.2]"
        raise wrong(TypeError, came, "a list of numbers above 0", mend)
    for sigma in sigmas:
        check_positive(sigma, "sigma", 0.2)
