"""The formulas, as pure functions of logits, and the penalties on D's slope.

D's raw output for an image is called its logit. In the classic game, sigmoid(logit) is
the probability that the image is real; elsewhere the logit is just a score. The losses
take logits of shape (N,) and return one number (a tensor of shape ()). From a D with
one logit for each patch they take (N, H, W), and the mean is over all patches. D's
slope at an image is the norm of its gradient with respect to the image.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from ganlib.checks import check_pairs, check_separate


def d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return D's loss, half the negative value of the game.

    loss_D = -½ (mean log D(x) + mean log(1 - D(G(z)))), so V(D, G) = -2 loss_D.
    A D that answers ½ everywhere, as at the game's equilibrium, has loss
    log 2 = 0.693.

    Source: Goodfellow et al. 2014, equation 1. Taught in notebook 04.
    """
    real_loss = binary_cross_entropy_with_logits(
        real_logits, torch.ones_like(real_logits)
    )
    fake_loss = binary_cross_entropy_with_logits(
        fake_logits, torch.zeros_like(fake_logits)
    )
    return (real_loss + fake_loss) / 2


def g_loss_saturating(fake_logits: Tensor) -> Tensor:
    """Return G's part of the game's value: loss_G = mean log(1 - D(G(z))).

    Its gradient vanishes where D is sure that fakes are fake.
    Source: Goodfellow et al. 2014, equation 1. Taught in notebook 04.
    """
    return -binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def g_loss_non_saturating(fake_logits: Tensor) -> Tensor:
    """Return the loss that G is trained with in practice: loss_G = -mean log D(G(z)).

    It has the same fixed point as the saturating loss, and a strong gradient where D is
    sure.
    Source: Goodfellow et al. 2014, section 3. Taught in notebook 04.
    """
    return binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


def d_loss_least_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return D's loss when its raw output aims at 1 for real images and 0 for fakes.

    loss_D = ½ (mean (D(x) - 1)² + mean D(G(z))²).

    Source: Mao et al. 2017, equation 9. Taught in notebook 08.
    """
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def g_loss_least_squares(fake_logits: Tensor) -> Tensor:
    """Return G's loss when D's raw output for its fakes should be 1.

    loss_G = ½ mean (D(G(z)) - 1)².

    Source: Mao et al. 2017, equation 9. Taught in notebook 08.
    """
    return (fake_logits - 1).square().mean() / 2


def d_loss_hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return D's loss when only logits on the wrong side of ±1 cost something.

    loss_D = mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))). G's loss that goes with
    it is ``g_loss_wasserstein``.

    Source: Lim and Ye 2017; Miyato et al. 2018, equation 16. Taught in notebook 08.
    """
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def d_loss_wasserstein(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return D's loss when it measures how far fakes must be moved to become real.

    loss_D = mean D(G(z)) - mean D(x). Its negative is at most the Wasserstein distance
    if D's slope is at most 1 everywhere (D is 1-Lipschitz), which ``gradient_penalty``
    is for.

    Source: Arjovsky et al. 2017, equation 2. Taught in notebook 08.
    """
    return fake_logits.mean() - real_logits.mean()


def g_loss_wasserstein(fake_logits: Tensor) -> Tensor:
    """Return G's loss against a D without a sigmoid: loss_G = -mean D(G(z)).

    Source: Arjovsky et al. 2017, algorithm 1. Taught in notebook 08.
    """
    return -fake_logits.mean()


def d_loss_pairing(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return D's loss when each real image has to beat the fake that it is paired with.

    loss_D = mean softplus(D(G(z)) - D(x)), the relativistic loss; log 2 for a D that
    cannot tell them apart.
    Raises ValueError for two shapes: (N, 1) and (N,) would pair each with all.

    Source: Jolicoeur-Martineau 2019; Huang et al. 2024, section 2. Taught in
    notebook 08.
    """
    check_pairs(real_logits, fake_logits)
    return softplus(fake_logits - real_logits).mean()


def g_loss_pairing(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return G's loss when each fake has to beat the real image that it is paired with.

    loss_G = mean softplus(D(x) - D(G(z))).
    Raises ValueError for two shapes: (N, 1) and (N,) would pair each with all.

    Source: Jolicoeur-Martineau 2019; Huang et al. 2024, section 2. Taught in
    notebook 08.
    """
    check_pairs(real_logits, fake_logits)
    return softplus(real_logits - fake_logits).mean()


def cycle_loss(images: Tensor, returned: Tensor) -> Tensor:
    """Return how far images (N, C, H, W) are from where they began: mean |x' - x|.

    x' is x after there and back, from one domain into the other.

    Source: Zhu et al. 2017, equation 2. Taught in notebook 11.
    """
    return (returned - images).abs().mean()


def identity_loss(G: nn.Module, images: Tensor) -> Tensor:
    """Return how much G changes images (N, C, H, W) of its *target*: mean |G(x) - x|.

    Source: Zhu et al. 2017, section 5.2. Taught in notebook 11.
    """
    return (G(images) - images).abs().mean()


def logits_and_gradient(D: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return D's logits (N,), and the gradient (N, d) of each at its image.

    The gradient is with respect to the image's d numbers. Both come from one pass and
    keep their graph, so a penalty on the gradient trains D.

    Raises ValueError for a D with BatchNorm, which mixes the images of a batch.
    Taught in notebook 08.
    """
    check_separate(D)
    images = images.detach().requires_grad_()
    logits = D(images)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return logits, gradient.flatten(1)


def input_gradient(D: nn.Module, images: Tensor) -> Tensor:
    """Return the gradient (N, d) of each logit with respect to its image's d numbers.

    Raises ValueError for a D with BatchNorm. Taught in notebook 08.
    """
    return logits_and_gradient(D, images)[1]


def gradient_penalty(
    D: nn.Module, real: Tensor, fake: Tensor, *, generator: torch.Generator
) -> Tensor:
    """Return the penalty for slopes of D other than 1 between real and fake images.

    mean (‖∇D(x̂)‖ - 1)² with x̂ = ε x + (1 - ε) G(z), and ε uniform in [0, 1], one for
    each pair, sampled on the device of ``generator``. Its weight is usually 10. Its
    gradient is finite where ∇D is 0.

    Raises ValueError for a D with BatchNorm.
    Source: Gulrajani et al. 2017, equation 3. Taught in notebook 08.
    """
    shape = (len(real), *[1] * (real.ndim - 1))
    share = torch.rand(shape, generator=generator, device=generator.device).to(real)
    between = share * real + (1 - share) * fake
    return (input_gradient(D, between).norm(dim=1) - 1).square().mean()


def r1_penalty(D: nn.Module, real: Tensor) -> Tensor:
    """Return the penalty for slopes of D at real images: R₁ = ½ mean ‖∇D(x)‖².

    Its weight is called γ.

    Raises ValueError for a D with BatchNorm.
    Source: Mescheder et al. 2018, equation 9. Taught in notebook 08.
    """
    return input_gradient(D, real).square().sum(1).mean() / 2


def r2_penalty(D: nn.Module, fake: Tensor) -> Tensor:
    """Return the same penalty at fakes: R₂ = ½ mean ‖∇D(G(z))‖². G gets no gradient.

    Raises ValueError for a D with BatchNorm.
    Source: Mescheder et al. 2018, equation 10. Taught in notebook 08.
    """
    return input_gradient(D, fake).square().sum(1).mean() / 2
