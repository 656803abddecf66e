"""The formulas against closed forms, torch's own losses, and autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.losses import d_loss, g_loss_non_saturating, g_loss_saturating

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
