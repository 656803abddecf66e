"""One move of each player, and the two moves together as an update for ``train``.

An update takes D, its optimizer and G's, real images, fakes with their graph, and the
fraction of the steps done; it moves both players once. It returns what ``d_step`` and
``g_step`` return, the loss without its penalty, and None in place of the logits where
D's output is a score and not the log-odds of "real". The weight of a penalty is set
with ``functools.partial(r1_update, gamma=0.1)``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Module

from ganlib.losses import (
    d_loss,
    d_loss_pairing,
    d_loss_wasserstein,
    g_loss_non_saturating,
    g_loss_pairing,
    g_loss_wasserstein,
    gradient_penalty,
    logits_and_gradient,
)

Opt = torch.optim.Optimizer
Moved = tuple[tuple[Tensor, Tensor | None, Tensor | None], Tensor]


def take_step(optimizer: Opt, loss: Tensor) -> None:
    """Move the weights of ``optimizer`` once against the gradient of ``loss`` ().

    No other weight gets a gradient, and frozen ones stay as they are.
    Taught in notebook 04.
    """
    weights = [w for group in optimizer.param_groups for w in group["params"]]
    optimizer.zero_grad()
    loss.backward(inputs=[w for w in weights if w.requires_grad])
    optimizer.step()


def d_step(
    D: Module, opt_d: Opt, real: Tensor, fake: Tensor, loss_function: Callable = d_loss
) -> tuple[Tensor, Tensor, Tensor]:
    """Train D once on real and fake images (N, C, H, W); G gets no gradient.

    Both go through D together, so D must not mix the images of a batch (BatchNorm).
    Returns the loss () and D's logits (N,) for the real and the fake images, detached.
    Taught in notebook 04.
    """
    both = D(torch.cat([real, fake.detach()]))  # one pass is faster than two
    real_logits, fake_logits = both.split([len(real), len(fake)])
    loss = loss_function(real_logits, fake_logits)
    take_step(opt_d, loss)
    return loss.detach(), real_logits.detach(), fake_logits.detach()


def g_step(
    D: Module, opt_g: Opt, fake: Tensor, loss_function: Callable = g_loss_non_saturating
) -> Tensor:
    """Train G once through D on fake = G(z), its graph attached; D gets no gradient.

    Returns the loss (), detached. Taught in notebook 04.
    """
    loss = loss_function(D(fake))
    take_step(opt_g, loss)
    return loss.detach()


def classic_update(
    D: Module, opt_d: Opt, opt_g: Opt, real: Tensor, fake: Tensor, progress: float
) -> Moved:
    """Move both players with the losses of notebook 04."""
    return d_step(D, opt_d, real, fake), g_step(D, opt_g, fake)


def wasserstein_update(
    D: Module,
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

    ``generator`` samples where between real and fake the slope is taken.
    Taught in notebook 08.
    """
    penalty = gradient_penalty(D, real, fake.detach(), generator=generator)
    loss = d_loss_wasserstein(D(real), D(fake.detach()))
    take_step(opt_d, loss + weight * penalty)
    return (loss.detach(), None, None), g_step(D, opt_g, fake, g_loss_wasserstein)


def weight_at(progress: float, first: float, last: float | None = None) -> float:
    """Return the weight of a penalty after this fraction of the steps.

    first · (last / first)^progress goes from ``first`` to ``last`` by the same factor
    in every step; without ``last``, it stays at ``first``. Both are above 0.
    Taught in notebook 08.
    """
    last = first if last is None else last
    return first * (last / first) ** progress


def r1_update(
    D: Module,
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

    During the run, the weight goes to ``last_gamma``, as in ``weight_at``.
    Taught in notebook 08.
    """
    real_logits, gradient = logits_and_gradient(D, real)
    fake_logits = D(fake.detach())
    penalty = gradient.square().sum(1).mean() / 2
    loss = d_loss(real_logits, fake_logits)
    take_step(opt_d, loss + weight_at(progress, gamma, last_gamma) * penalty)
    moved = loss.detach(), real_logits.detach(), fake_logits.detach()
    return moved, g_step(D, opt_g, fake)


def pairing_update(
    D: Module,
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

    During the run, the weight goes to ``last_gamma``, as in ``weight_at``. One pass of
    D serves the relativistic loss and both penalties. Taught in notebook 08.
    """
    logits, gradient = logits_and_gradient(D, torch.cat([real, fake]))
    penalty = gradient.square().sum(1).mean()  # R₁ + R₂, for as many fakes as real ones
    loss = d_loss_pairing(*logits.split([len(real), len(fake)]))
    take_step(opt_d, loss + weight_at(progress, gamma, last_gamma) * penalty)

    def g_objective(fake_logits: Tensor) -> Tensor:
        return g_loss_pairing(D(real), fake_logits)

    return (loss.detach(), None, None), g_step(D, opt_g, fake, g_objective)


def constant_rate(progress: float) -> float:
    """Return 1, the factor on learning rates that stay as they are."""
    return 1.0


def cosine_rate(progress: float) -> float:
    """Return the factor on the learning rates: half a cosine, from 1 to 0."""
    return (1 + math.cos(math.pi * progress)) / 2
