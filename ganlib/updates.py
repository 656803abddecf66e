"""Other ways to move both players once: arguments of ``train``.

Each update takes D, its optimizer and G's, real images and fakes with their graph, and
the share of the steps done. It returns what ``d_step`` and ``g_step`` return. Weights
of penalties are set with ``functools.partial(r1_update, gamma=0.1)``.
"""

import math

import torch
from torch import Tensor, nn

from ganlib.arguments import check_positive
from ganlib.losses import (
    d_loss,
    d_loss_hinge,
    d_loss_pairing,
    d_loss_wasserstein,
    g_loss_pairing,
    g_loss_wasserstein,
    gradient_penalty,
    r1_penalty,
    r2_penalty,
)
from ganlib.training import d_step, g_step

Opt = torch.optim.Optimizer
Moved = tuple[tuple[Tensor, Tensor, Tensor], Tensor]  # of d_step, of g_step


def hinge_update(
    D: nn.Module, opt_d: Opt, opt_g: Opt, real: Tensor, fake: Tensor, progress: float
) -> Moved:
    """Move both players with the hinge loss, which notebook 08 teaches."""
    verdict = d_step(D, opt_d, real, fake, d_loss_hinge)
    return verdict, g_step(D, opt_g, fake, g_loss_wasserstein)


def wasserstein_update(
    D: nn.Module,
    opt_d: Opt,
    opt_g: Opt,
    real: Tensor,
    fake: Tensor,
    progress: float,
    *,
    generator: torch.Generator,
    weight: float = 10.0,
) -> Moved:
    """Move both players as WGAN-GP does; ``weight`` is the penalty's, λ.

    ``generator`` draws where between real and fake the slope is taken.

    Raises ValueError for a weight of 0 or below. Taught in notebook 08.
    """
    check_positive(weight, "weight", 10.0)

    def d_objective(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        penalty = gradient_penalty(D, real, fake, generator=generator)
        return d_loss_wasserstein(real_logits, fake_logits) + weight * penalty

    verdict = d_step(D, opt_d, real, fake, d_objective)
    return verdict, g_step(D, opt_g, fake, g_loss_wasserstein)


def weight_at(progress: float, first: float, last: float | None = None) -> float:
    """Return the weight of a penalty at this share of the steps.

    first · (last / first)^progress goes from ``first`` to ``last`` by the same factor
    every step; without ``last`` it stays.

    Raises ValueError for weights of 0 or below. Taught in notebook 08.
    """
    last = first if last is None else last
    check_positive(first, "gamma", 1.0)
    check_positive(last, "last_gamma", 0.1)
    return first * (last / first) ** progress


def r1_update(
    D: nn.Module,
    opt_d: Opt,
    opt_g: Opt,
    real: Tensor,
    fake: Tensor,
    progress: float,
    *,
    gamma: float = 1.0,
    last_gamma: float | None = None,
) -> Moved:
    """Move both players with the classic losses and R₁ at weight ``gamma``.

    The weight goes to ``last_gamma`` on the way, as ``weight_at`` says.

    Raises ValueError for a gamma of 0 or below. Taught in notebook 08.
    """
    weight = weight_at(progress, gamma, last_gamma)

    def d_objective(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return d_loss(real_logits, fake_logits) + weight * r1_penalty(D, real)

    return d_step(D, opt_d, real, fake, d_objective), g_step(D, opt_g, fake)


def pairing_update(
    D: nn.Module,
    opt_d: Opt,
    opt_g: Opt,
    real: Tensor,
    fake: Tensor,
    progress: float,
    *,
    gamma: float = 1.0,
    last_gamma: float | None = None,
) -> Moved:
    """Move both players as R3GAN does: pairs, and R₁ + R₂ at weight ``gamma``.

    The weight goes to ``last_gamma`` on the way, as ``weight_at`` says.

    Raises ValueError for a gamma of 0 or below. Taught in notebook 08.
    """
    weight = weight_at(progress, gamma, last_gamma)

    def d_objective(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        penalty = r1_penalty(D, real) + r2_penalty(D, fake)
        return d_loss_pairing(real_logits, fake_logits) + weight * penalty

    def g_objective(fake_logits: Tensor) -> Tensor:
        return g_loss_pairing(D(real), fake_logits)

    verdict = d_step(D, opt_d, real, fake, d_objective)
    return verdict, g_step(D, opt_g, fake, g_objective)


def cosine_rate(progress: float) -> float:
    """Return the factor on the learning rates: half a cosine, from 1 to 0."""
    return (1 + math.cos(math.pi * progress)) / 2
