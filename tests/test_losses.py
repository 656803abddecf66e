"""The formulas against closed forms, torch's own losses, and autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.data import RING, sample_points
from ganlib.losses import (
    d_loss,
    d_loss_hinge,
    d_loss_least_squares,
    d_loss_pairing,
    d_loss_wasserstein,
    g_loss_least_squares,
    g_loss_non_saturating,
    g_loss_pairing,
    g_loss_saturating,
    g_loss_wasserstein,
    gradient_penalty,
    input_gradient,
    r1_penalty,
    r2_penalty,
)
from ganlib.models import Discriminator, PointDiscriminator

REAL, FAKE = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 0.25, 1.0])
logits = st.lists(st.floats(-15, 15, width=32), min_size=1).map(torch.tensor)


def probability(values):
    return values.double().sigmoid()  # float64: a logit of 15 is 1 - 3e-7


def value_of_the_game(real_logits, fake_logits):
    """V(D, G), Goodfellow et al. 2014, equation 1, written down as it stands."""
    real_part = probability(real_logits).log().mean()
    return real_part + (1 - probability(fake_logits)).log().mean()


def gradient(loss_function, values):
    values = values.clone().requires_grad_()
    return torch.autograd.grad(loss_function(values), values)[0]


def test_d_loss_by_hand():
    # sigmoid(log 3) = 3/4 for one real image, sigmoid(-log 4) = 1/5 for one fake
    loss = d_loss(torch.tensor([math.log(3)]), torch.tensor([-math.log(4)]))
    assert loss.item() == pytest.approx(-(math.log(3 / 4) + math.log(4 / 5)) / 2)


def test_g_losses_by_hand():
    fake = torch.tensor([math.log(3), -math.log(3)])  # D(G(z)) is 3/4 and 1/4
    expected = (math.log(1 / 4) + math.log(3 / 4)) / 2
    assert g_loss_saturating(fake).item() == pytest.approx(expected)
    assert g_loss_non_saturating(fake).item() == pytest.approx(-expected)


def test_g_losses_differ_where_the_verdicts_are_not_balanced():
    fake = torch.tensor([-math.log(4)])  # D(G(z)) is 1/5
    assert g_loss_saturating(fake).item() == pytest.approx(math.log(4 / 5))
    assert g_loss_non_saturating(fake).item() == pytest.approx(-math.log(1 / 5))


def test_d_that_answers_one_half_has_loss_log_2():
    half = torch.zeros(4)
    assert d_loss(half, half).item() == pytest.approx(math.log(2))


def test_g_losses_where_d_answers_one_half():
    half = torch.zeros(4)
    assert g_loss_saturating(half).item() == pytest.approx(-math.log(2))
    assert g_loss_non_saturating(half).item() == pytest.approx(math.log(2))


@given(logits, logits)
def test_value_of_the_game_is_minus_twice_d_loss(real, fake):
    expected = value_of_the_game(real, fake).item()
    assert -2 * d_loss(real, fake).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(logits)
def test_saturating_loss_is_the_part_of_the_value_that_g_moves(fake):
    expected = (1 - probability(fake)).log().mean().item()
    found = g_loss_saturating(fake).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(logits)
def test_non_saturating_loss_is_minus_mean_log_d(fake):
    expected = -probability(fake).log().mean().item()
    found = g_loss_non_saturating(fake).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_d_loss_agrees_with_bce_after_a_sigmoid():
    bce = nn.BCELoss()
    real_loss = bce(REAL.sigmoid(), torch.ones(3))
    fake_loss = bce(FAKE.sigmoid(), torch.zeros(3))
    torch.testing.assert_close(d_loss(REAL, FAKE), (real_loss + fake_loss) / 2)


def test_g_losses_agree_with_bce_after_a_sigmoid():
    bce = nn.BCELoss()
    torch.testing.assert_close(
        g_loss_saturating(FAKE), -bce(FAKE.sigmoid(), torch.zeros(3))
    )
    torch.testing.assert_close(
        g_loss_non_saturating(FAKE), bce(FAKE.sigmoid(), torch.ones(3))
    )


@given(logits)
def test_gradient_of_the_saturating_loss_vanishes_with_d_of_g(fake):
    expected = -probability(fake).float() / len(fake)
    torch.testing.assert_close(gradient(g_loss_saturating, fake), expected)


@given(logits)
def test_gradient_of_the_non_saturating_loss_stays_where_d_is_sure(fake):
    expected = -(1 - probability(fake)).float() / len(fake)
    torch.testing.assert_close(
        gradient(g_loss_non_saturating, fake), expected, atol=1e-7, rtol=1e-4
    )


def test_gradients_of_d_loss_by_autograd():
    from_real = gradient(lambda real: d_loss(real, FAKE), REAL)
    from_fake = gradient(lambda fake: d_loss(REAL, fake), FAKE)
    torch.testing.assert_close(from_real, -(1 - REAL.sigmoid()) / 6)
    torch.testing.assert_close(from_fake, FAKE.sigmoid() / 6)


@pytest.mark.parametrize("extreme", [-1000.0, 1000.0])
@pytest.mark.parametrize("loss", [g_loss_saturating, g_loss_non_saturating])
def test_g_loss_and_its_gradient_are_finite_for_extreme_logits(loss, extreme):
    fake = torch.tensor([extreme, 0.0])
    assert loss(fake).isfinite()
    assert gradient(loss, fake).isfinite().all()


@pytest.mark.parametrize("extreme", [-1000.0, 1000.0])
def test_d_loss_is_exact_for_extreme_logits(extreme):
    # log sigmoid(-1000) is -1000 to every digit that a float32 has
    loss = d_loss(torch.tensor([extreme]), torch.tensor([-extreme]))
    assert loss.item() == pytest.approx(0 if extreme > 0 else 1000)


def test_real_and_fake_batches_may_differ_in_size():
    expected = -value_of_the_game(REAL, FAKE[:1]) / 2
    torch.testing.assert_close(d_loss(REAL, FAKE[:1]), expected.float())


@pytest.mark.parametrize(
    "loss", [d_loss(REAL, FAKE), g_loss_saturating(FAKE), g_loss_non_saturating(FAKE)]
)
def test_loss_is_one_number(loss):
    assert loss.shape == ()


# --- the losses of today

D_LOSSES = [d_loss_least_squares, d_loss_hinge, d_loss_wasserstein, d_loss_pairing]
G_LOSSES = [g_loss_least_squares, g_loss_wasserstein]


def test_least_squares_agree_with_torch():
    mse = nn.MSELoss()
    expected = (mse(REAL, torch.ones(3)) + mse(FAKE, torch.zeros(3))) / 2
    torch.testing.assert_close(d_loss_least_squares(REAL, FAKE), expected)
    torch.testing.assert_close(g_loss_least_squares(FAKE), mse(FAKE, torch.ones(3)) / 2)


def test_least_squares_pull_back_what_is_too_real():
    far = gradient(g_loss_least_squares, torch.tensor([3.0]))  # D takes it for real
    assert far.item() == pytest.approx(2.0)  # (3 - 1), so a step lowers the logit


def test_hinge_agrees_with_torch():
    margin = nn.HingeEmbeddingLoss(margin=1.0)  # label -1: max(0, 1 - x)
    expected = margin(REAL, -torch.ones(3)) + margin(-FAKE, -torch.ones(3))
    torch.testing.assert_close(d_loss_hinge(REAL, FAKE), expected)


def test_hinge_by_hand():
    # 0, 2 and ½ for the real ones; 0, 1¼ and 2 for the fakes
    assert d_loss_hinge(REAL, FAKE).item() == pytest.approx(2.5 / 3 + 3.25 / 3)


def test_hinge_leaves_alone_what_is_beyond_the_margin():
    from_real = gradient(lambda real: d_loss_hinge(real, FAKE), REAL)
    from_fake = gradient(lambda fake: d_loss_hinge(REAL, fake), FAKE)
    torch.testing.assert_close(from_real, torch.tensor([0.0, -1, -1]) / 3)
    torch.testing.assert_close(from_fake, torch.tensor([0.0, 1, 1]) / 3)


def test_wasserstein_losses_are_differences_of_means():
    assert d_loss_wasserstein(REAL, FAKE).item() == pytest.approx(-1.75 / 3 - 0.5)
    assert g_loss_wasserstein(FAKE).item() == pytest.approx(1.75 / 3)


@pytest.mark.parametrize("shift", [-2.0, 0.5, 3.0])
def test_best_critic_of_a_shift_measures_the_shift(shift):
    """W₁ of a distribution and its shift is |shift|, reached by D(x) = ±x."""
    x = torch.linspace(-1, 1, 101)
    found = -d_loss_wasserstein(
        math.copysign(1, shift) * (x + shift), x * math.copysign(1, shift)
    )
    assert found.item() == pytest.approx(abs(shift), rel=1e-5)


@given(logits)
def test_pairing_is_the_cross_entropy_of_differences(real):
    fake = real.flip(0) - 1
    bce = nn.BCEWithLogitsLoss()
    ones = torch.ones_like(real)
    torch.testing.assert_close(d_loss_pairing(real, fake), bce(real - fake, ones))
    torch.testing.assert_close(g_loss_pairing(real, fake), bce(fake - real, ones))


def test_pairing_does_not_care_for_a_constant():
    for loss in (d_loss_pairing, g_loss_pairing):
        torch.testing.assert_close(loss(REAL + 5, FAKE + 5), loss(REAL, FAKE))
    assert d_loss_pairing(REAL, REAL).item() == pytest.approx(math.log(2))


def test_pairing_gradients_are_closed_forms():
    from_fake = gradient(lambda fake: g_loss_pairing(REAL, fake), FAKE)
    torch.testing.assert_close(from_fake, -(REAL - FAKE).sigmoid() / 3)
    from_real = gradient(lambda real: d_loss_pairing(real, FAKE), REAL)
    torch.testing.assert_close(from_real, -(FAKE - REAL).sigmoid() / 3)


@pytest.mark.parametrize("loss", D_LOSSES, ids=lambda loss: loss.__name__)
def test_d_losses_fall_where_d_gets_better(loss):
    from_real = gradient(lambda real: loss(real, FAKE), REAL - 5)
    from_fake = gradient(lambda fake: loss(REAL, fake), FAKE + 5)
    assert (from_real < 0).all()
    assert (from_fake > 0).all()


@pytest.mark.parametrize("loss", G_LOSSES, ids=lambda loss: loss.__name__)
def test_g_losses_fall_where_d_is_fooled(loss):
    assert (gradient(loss, FAKE - 5) < 0).all()


def test_losses_of_today_are_one_number():
    for loss in D_LOSSES:
        assert loss(REAL, FAKE).shape == ()
    for loss in G_LOSSES:
        assert loss(FAKE).shape == ()


# --- the penalties


class Formula(nn.Module):
    """A D with a slope that is known: a function of points (N, 2)."""

    image_shape = (2,)

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, points):
        return self.scale * self.function(points)


PLANE = Formula(lambda x: 3 * x[:, 0] - 4 * x[:, 1] + 7)  # slope 5 everywhere
BOWL = Formula(lambda x: x.square().sum(1) / 2)  # slope ‖x‖ at x
FLAT = Formula(lambda x: 0 * x.sum(1))
POINTS, OTHERS = sample_points(RING, 64, seed=0), sample_points(RING, 64, seed=1)


def mixing(seed=0):
    return torch.Generator().manual_seed(seed)


def small_discriminator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Discriminator((1, 4, 4))


def test_input_gradient_is_that_of_each_point():
    torch.testing.assert_close(input_gradient(BOWL, POINTS), POINTS)
    expected = torch.tensor([[3.0, -4.0]]).expand(64, 2)
    torch.testing.assert_close(input_gradient(PLANE, POINTS), expected)


def test_input_gradient_agrees_with_finite_differences():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        D = PointDiscriminator(width=16).double()
    x = POINTS[:5].double()
    found = input_gradient(D, x)
    step = 1e-6 * torch.eye(2, dtype=torch.float64)
    for axis in range(2):
        slope = (D.net(x + step[axis]) - D.net(x - step[axis]))[:, 0] / 2e-6
        torch.testing.assert_close(found[:, axis], slope, atol=1e-6, rtol=1e-5)


def test_penalties_of_a_plane_are_closed_forms():
    penalty = gradient_penalty(PLANE, POINTS, OTHERS, generator=mixing())
    assert penalty.item() == pytest.approx((5 - 1) ** 2)
    assert r1_penalty(PLANE, POINTS).item() == pytest.approx(25 / 2)
    assert r2_penalty(PLANE, OTHERS).item() == pytest.approx(25 / 2)


def test_r1_and_r2_look_where_they_are_told():
    torch.testing.assert_close(
        r1_penalty(BOWL, 3 * POINTS), POINTS.square().sum(1).mean() * 9 / 2
    )
    torch.testing.assert_close(
        r2_penalty(BOWL, OTHERS), OTHERS.square().sum(1).mean() / 2
    )


def test_gradient_penalty_looks_between_real_and_fake_uniformly():
    """From 0 to (1, 0) the slope of the bowl is the share u: E(u - 1)² = 1/3."""
    real = torch.tensor([[1.0, 0.0]]).expand(100_000, 2)
    penalty = gradient_penalty(BOWL, real, torch.zeros_like(real), generator=mixing())
    assert penalty.item() == pytest.approx(1 / 3, abs=0.005)
    # With normal instead of uniform mixing it would be 1 + 1 = 2.


def test_gradient_penalty_draws_one_share_for_each_pair_from_its_generator(
    unchanged_global_random_state,
):
    D = small_discriminator()
    real, fake = torch.rand(2, 6, 1, 4, 4, generator=mixing(1))
    found = gradient_penalty(D, real, fake, generator=mixing(3))
    share = torch.rand(6, 1, 1, 1, generator=mixing(3))
    slopes = input_gradient(D, share * real + (1 - share) * fake)
    torch.testing.assert_close(found, (slopes.norm(dim=1) - 1).square().mean())


def test_gradient_penalty_has_a_finite_gradient_where_d_is_flat():
    penalty = gradient_penalty(FLAT, POINTS, OTHERS, generator=mixing())
    assert penalty.item() == 1
    (slope,) = torch.autograd.grad(penalty, FLAT.scale)
    assert slope.isfinite()


def test_penalties_train_d_as_the_closed_form_says():
    """With D = s · plane the penalties are (5 s - 1)² and 25 s² / 2."""
    expected = {"penalty": 2 * (5 - 1) * 5, "r1": 25.0, "r2": 25.0}
    found = {
        "penalty": gradient_penalty(PLANE, POINTS, OTHERS, generator=mixing()),
        "r1": r1_penalty(PLANE, POINTS),
        "r2": r2_penalty(PLANE, POINTS),
    }
    for name, penalty in found.items():
        (slope,) = torch.autograd.grad(penalty, PLANE.scale)
        assert slope.item() == pytest.approx(expected[name]), name


def test_penalties_of_images_count_every_pixel():
    D = small_discriminator()
    images = torch.rand(6, 1, 4, 4, generator=mixing())
    x = images.clone().requires_grad_()
    slopes = torch.autograd.grad(D(x).sum(), x)[0]
    expected = sum(s.square().sum() for s in slopes) / 6 / 2
    torch.testing.assert_close(r1_penalty(D, images), expected)


def test_r2_gives_g_no_gradient():
    fake = OTHERS.clone().requires_grad_()
    r2_penalty(BOWL, fake).backward()
    assert fake.grad is None
    BOWL.zero_grad()
