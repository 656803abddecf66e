"""The formulas, as pure functions of logits.

A logit l stands for the probability sigmoid(l) that an image is real. All functions
take logits of shape (N,) and return one number (a tensor of shape ()). They raise
TypeError for logits that are no floats, ValueError for another shape or none at all.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ganlib.checks import check_vectors


def d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return D's loss, half the negative value of the game.

    loss_D = -½ (mean log D(x) + mean log(1 - D(G(z)))), so V(D, G) = -2 loss_D.
    A D that answers ½ everywhere has loss log 2 = 0.693.

    Source: Goodfellow et al. 2014, equation 1. Taught in notebook 04.
    """
    check_vectors("D(images)", real_logits=real_logits, fake_logits=fake_logits)
    real_loss = binary_cross_entropy_with_logits(
        real_logits, torch.ones_like(real_logits)
    )
    fake_loss = binary_cross_entropy_with_logits(
        fake_logits, torch.zeros_like(fake_logits)
    )
    return (real_loss + fake_loss) / 2


def g_loss_saturating(fake_logits: Tensor) -> Tensor:
    """Return G's part of the game's value: loss_G = mean log(1 - D(G(z))).

    Its gradient vanishes where D is sure that the fakes are fake.
    Source: Goodfellow et al. 2014, equation 1. Taught in notebook 04.
    """
    check_vectors("D(images)", fake_logits=fake_logits)
    return -binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def g_loss_non_saturating(fake_logits: Tensor) -> Tensor:
    """Return the loss that G is trained with in practice: loss_G = -mean log D(G(z)).

    Same fixed point as the saturating loss, strong gradient where D is sure.
    Source: Goodfellow et al. 2014, section 3. Taught in notebook 04.
    """
    check_vectors("D(images)", fake_logits=fake_logits)
    return binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
