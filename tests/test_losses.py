"""The formulas against closed forms and autograd, with D's whose slopes are known."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import losses
from ganlib.losses import gradient_penalty, input_gradient, r1_penalty, r2_penalty
from ganlib.models import new_networks

# --- losses of logits


def log_d(logits):
    return logits.sigmoid().log()


def costly(values):
    return (values * (values > 0)).mean()


FORMULAS = {  # as the papers write them, with r = D(x) and f = D(G(z))
    "d_loss": lambda r, f: -(log_d(r).mean() + (1 - f.sigmoid()).log().mean()) / 2,
    "g_loss_saturating": lambda f: (1 - f.sigmoid()).log().mean(),
    "g_loss_non_saturating": lambda f: -log_d(f).mean(),
    "d_loss_least_squares": lambda r, f: (((r - 1) ** 2).mean() + (f**2).mean()) / 2,
    "g_loss_least_squares": lambda f: ((f - 1) ** 2).mean() / 2,
    "d_loss_hinge": lambda r, f: costly(1 - r) + costly(1 + f),
    "d_loss_wasserstein": lambda r, f: f.mean() - r.mean(),
    "g_loss_wasserstein": lambda f: -f.mean(),
    "d_loss_pairing": lambda r, f: -log_d(r - f).mean(),
    "g_loss_pairing": lambda r, f: -log_d(f - r).mean(),
}
logits = st.lists(st.floats(-15, 15, width=32), min_size=1, max_size=9)


def value_and_gradients(loss, *inputs):
    inputs = [values.clone().requires_grad_() for values in inputs]
    value = loss(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs)


@pytest.mark.parametrize("name", FORMULAS)
@given(real=logits, fake=logits)
def test_loss_is_its_formula_in_float64_and_so_are_its_gradients(name, real, fake):
    formula, size = FORMULAS[name], min(len(real), len(fake))
    if "pairing" in name:
        real, fake = real[:size], fake[:size]
    inputs = [torch.tensor(real), torch.tensor(fake)][-formula.__code__.co_argcount :]
    found = value_and_gradients(getattr(losses, name), *inputs)
    expected = value_and_gradients(formula, *(values.double() for values in inputs))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.float(), atol=1e-6, rtol=1e-4)


def test_losses_are_exact_for_extreme_logits():
    # log sigmoid(-1000) is -1000 to every digit that a float32 has
    ends, zero = torch.tensor([1000.0, -1000.0]), torch.zeros(2)
    half = 250 + math.log(2) / 2
    for loss, value, slope in (
        (losses.g_loss_non_saturating, 500, [0, -0.5]),
        (losses.g_loss_saturating, -500, [-0.5, 0]),
        (lambda real: losses.d_loss(real, zero), half, [0, -0.25]),
        (lambda fake: losses.d_loss(zero, fake), half, [0.25, 0]),
        (lambda real: losses.d_loss_pairing(real, zero), 500, [0, -0.5]),
        (lambda fake: losses.g_loss_pairing(zero, fake), 500, [0, -0.5]),
    ):
        found = value_and_gradients(loss, ends)
        assert found[0].item() == pytest.approx(value)
        assert found[1].tolist() == slope


@pytest.mark.parametrize("name", ["d_loss_pairing", "g_loss_pairing"])
def test_pairing_raises_where_torch_would_pair_each_with_all(name):
    shapes = r"real logits have shape \(5, 1\), fake ones \(5,\), expected one shape"
    with pytest.raises(ValueError, match=shapes):
        getattr(losses, name)(torch.zeros(5, 1), torch.zeros(5))


# --- penalties on D's slope


class Formula(nn.Module):
    """A D that is ``scale`` times a known function of points (N, 2)."""

    def __init__(self, function):
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.tensor(1.0))

    def forward(self, points):
        return self.scale * self.function(points)


PLANE = Formula(lambda x: 3 * x[:, 0] - 4 * x[:, 1] + 7)  # slope 5 everywhere
BOWL = Formula(lambda x: x.square().sum(1) / 2)  # slope ‖x‖ at x
FLAT = Formula(lambda x: 0 * x.sum(1))


def mixing(seed=0):
    return torch.Generator().manual_seed(seed)


POINTS, OTHERS = torch.randn(2, 64, 2, generator=mixing())
IMAGES, FAKES = torch.randn(2, 6, 2, 3, 4, generator=mixing())


def penalties(D, real, fake):
    mixed = gradient_penalty(D, real, fake, generator=mixing(3))
    return [mixed, r1_penalty(D, real), r2_penalty(D, fake)]


def test_logits_and_gradient_are_those_of_each_point():
    found, slope = losses.logits_and_gradient(BOWL, POINTS)
    torch.testing.assert_close(found, BOWL(POINTS))
    torch.testing.assert_close(slope, POINTS)


def test_input_gradient_of_images_agrees_with_finite_differences():
    D, images, nudge = (
        new_networks(0, (2, 3, 4))[1].double(),
        IMAGES.double(),
        FAKES.double(),
    )
    found = input_gradient(D, images)
    assert found.shape == (6, 24)
    change = (D(images + 1e-6 * nudge) - D(images - 1e-6 * nudge)) / 2e-6
    expected = (found * nudge.flatten(1)).sum(1)
    torch.testing.assert_close(change, expected, atol=1e-6, rtol=1e-5)


def test_penalties_of_a_plane_and_how_they_train_d_are_closed_forms():
    """With D = s · plane they are (5 s - 1)², 25 s² / 2 and 25 s² / 2, at s = 1."""
    found = penalties(PLANE, POINTS, OTHERS)
    assert [p.item() for p in found] == pytest.approx([16, 12.5, 12.5])
    slopes = [torch.autograd.grad(p, PLANE.scale)[0].item() for p in found]
    assert slopes == pytest.approx([40, 25, 25])


def test_penalties_look_where_they_are_told():
    """At one point between each pair, at real images, at fakes; every pixel counts."""
    D = new_networks(0, (2, 3, 4))[1]
    share = torch.rand(6, 1, 1, 1, generator=mixing(3))
    mixed, real, fake = (
        torch.stack([slope.norm() for slope in input_gradient(D, images)])
        for images in (share * IMAGES + (1 - share) * FAKES, IMAGES, FAKES)
    )
    expected = [((mixed - 1) ** 2).mean(), (real**2).mean() / 2, (fake**2).mean() / 2]
    torch.testing.assert_close(penalties(D, IMAGES, FAKES), expected)


def test_gradient_penalty_mixes_uniformly(unchanged_global_random_state):
    """From 0 to (1, 0), the slope of the bowl is the fraction u: E(u - 1)² = 1/3."""
    real = torch.tensor([[1.0, 0.0]]).expand(100_000, 2)
    penalty = gradient_penalty(BOWL, real, torch.zeros_like(real), generator=mixing())
    assert penalty.item() == pytest.approx(1 / 3, abs=0.005)  # normal mixing: 2


def test_gradient_penalty_has_a_finite_gradient_where_d_is_flat():
    penalty = gradient_penalty(FLAT, POINTS, OTHERS, generator=mixing())
    assert penalty.item() == 1
    assert torch.autograd.grad(penalty, FLAT.scale)[0].isfinite()


def test_penalties_give_g_no_gradient():
    fake = OTHERS.clone().requires_grad_()
    total = sum(penalties(BOWL, POINTS, fake))
    assert torch.autograd.grad(total, fake, allow_unused=True) == (None,)
    assert not POINTS.requires_grad


mixed_penalty = partial(gradient_penalty, fake=OTHERS, generator=mixing())


@pytest.mark.parametrize("penalty", [mixed_penalty, r1_penalty, r2_penalty])
def test_penalty_raises_for_a_d_that_mixes_the_batch(penalty):
    D = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    with pytest.raises(ValueError, match="D has BatchNorm, expected"):
        penalty(D, POINTS)


@pytest.mark.parametrize("device", ["meta"] + ["cuda"] * torch.cuda.is_available())
def test_penalties_follow_the_images_to_their_device(device):
    """The generator of the mixing stays on the CPU."""
    D = new_networks(0, (2, 3, 4))[1].to(device)
    found = penalties(D, IMAGES.to(device), FAKES.to(device))
    assert {penalty.device.type for penalty in found} == {device}
