"""The steps and updates: against the same moves, written out slowly."""

import copy
import math
from functools import partial

import pytest
import torch

from ganlib import steps
from ganlib.losses import d_loss
from ganlib.steps import d_step, g_step


@pytest.fixture
def game(tiny_networks, tiny_images):
    """G, D with logits on both sides of ±1, 6 real images, and as many fakes."""
    G, D = tiny_networks()
    with torch.no_grad():
        for weight in D.parameters():
            weight *= 4
    return G, D, tiny_images[:6], G(torch.eye(6, 3))


def sgd(network):
    return torch.optim.SGD(network.parameters(), 0.1)


def values(network):
    return [weight.detach().clone() for weight in network.parameters()]


def gradients(network):
    return [weight.grad for weight in network.parameters()]


def moved(network, before):
    pairs = zip(values(network), before, strict=True)
    return [not torch.equal(new, old) for new, old in pairs]


# --- one move of one player


def test_d_step_moves_d_alone_and_returns_what_it_saw(game):
    G, D, real, fake = game
    before = values(D)
    real_logits, fake_logits = D(real[:4]).detach(), D(fake).detach()
    found = d_step(D, sgd(D), real[:4], fake)
    expected = d_loss(real_logits, fake_logits), real_logits, fake_logits
    torch.testing.assert_close(found, expected)
    assert all(moved(D, before))
    assert gradients(G) == [None] * 6


def test_g_step_moves_g_alone(game):
    G, D, _, fake = game
    before = values(G)
    g_step(D, sgd(G), fake)
    assert moved(G, before) == [True, False, True, True, True, True]  # before BatchNorm
    assert gradients(D) == [None] * 4


def test_step_with_adam_is_its_formula_by_hand(game):
    """After one step, m̂ = g and v̂ = g², so w moves by lr g / (|g| + ε)."""
    _, D, real, fake = game
    slopes = torch.autograd.grad(d_loss(D(real), D(fake)), list(D.parameters()))
    pairs = zip(values(D), slopes, strict=True)
    expected = [weight - 0.01 * g / (g.abs() + 1e-2) for weight, g in pairs]
    d_step(D, torch.optim.Adam(D.parameters(), 0.01, (0.5, 0.9), 1e-2), real, fake)
    torch.testing.assert_close(values(D), expected)


def test_take_step_gives_no_gradient_to_any_other_weight(game):
    G, D, real, fake = game
    other = torch.ones((), requires_grad=True)
    groups = [{"params": D.net[1].parameters()}, {"params": [D.net[3].bias], "lr": 0.0}]
    before = values(D)
    steps.take_step(torch.optim.SGD(groups, 0.1), other * d_loss(D(real), D(fake)))
    assert moved(D, before) == [True, True, False, False]
    assert [g is None for g in gradients(D)] == [False, False, True, False]
    assert gradients(G) == [None] * 6
    assert other.grad is None


def test_frozen_layer_of_d_stays_frozen_and_as_it_was(game):
    G, D, real, fake = game
    opt_d = torch.optim.AdamW(D.parameters(), 0.01)  # would shrink it, and has momentum
    d_step(D, opt_d, real, fake)
    D.net[1].requires_grad_(False)
    before = values(D)
    for update in (steps.classic_update, steps.r1_update, steps.pairing_update):
        update(D, opt_d, sgd(G), real, G(torch.eye(6, 3)), 0.0)
    assert moved(D, before) == [False, False, True, True]
    assert [w.requires_grad for w in D.parameters()] == [False, False, True, True]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_step_whose_loss_raises_leaves_d_as_it_was(game, error):
    G, D, real, fake = game

    def broken(*logits):
        raise error

    D.net[1].bias.requires_grad_(False)
    before = values(D)
    with pytest.raises(error):
        g_step(D, sgd(G), fake, broken)
    with pytest.raises(error):
        d_step(D, sgd(D), real, fake, broken)
    assert not any(moved(D, before))
    assert gradients(D) == [None] * 4
    d_step(D, sgd(D), real, fake)  # goes on as if nothing had been
    assert moved(D, before) == [True, False, True, True]


# --- both moves: the updates, against their formulas written out slowly


def log_d(logits):
    return logits.sigmoid().log().mean()


LOSSES = {  # of D and of G, from r = D(x) and f = D(G(z))
    "classic": (
        lambda r, f: -(log_d(r) + (1 - f.sigmoid()).log().mean()) / 2,
        lambda r, f: -log_d(f),
    ),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "pairing": (lambda r, f: -log_d(r - f), lambda r, f: -log_d(f - r)),
}


def mixing():
    return torch.Generator().manual_seed(5)


def slope_penalty(D, images, right_slope=0):
    """Return mean (‖∇D(x)‖ - right slope)², one image after the other."""
    found = []
    for image in images.detach().split(1):
        image.requires_grad_()
        (slope,) = torch.autograd.grad(D(image).sum(), image, create_graph=True)
        found.append((slope.norm() - right_slope) ** 2)
    return sum(found) / len(found)


def r1(D, real, fake):
    return slope_penalty(D, real) / 2


def r1_and_r2(D, real, fake):
    return slope_penalty(D, real) / 2 + slope_penalty(D, fake) / 2


def between(D, real, fake):
    share = torch.rand(6, 1, 1, 1, generator=mixing())
    return slope_penalty(D, share * real + (1 - share) * fake, 1)


def step_by_hand(network, loss):
    weights = list(network.parameters())
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.data -= 0.1 * slope


penalized = partial(steps.wasserstein_update, generator=mixing())
r1_falls = partial(steps.r1_update, gamma=4.0, last_gamma=1.0)
both_fall = partial(steps.pairing_update, gamma=4.0, last_gamma=1.0)


@pytest.mark.parametrize(  # weight halfway; images in each pass of D in its own step
    ("update", "name", "penalty", "weight", "passes"),
    [
        (steps.classic_update, "classic", None, 0, [12]),
        (penalized, "wasserstein", between, 10, [6, 6, 6]),
        (steps.r1_update, "classic", r1, 1, [6, 6]),
        (r1_falls, "classic", r1, 2, [6, 6]),
        (steps.pairing_update, "pairing", r1_and_r2, 1, [12]),
        (both_fall, "pairing", r1_and_r2, 2, [12]),
    ],
)
def test_update_is_its_formulas(game, update, name, penalty, weight, passes):
    G, D, real, fake = game
    slow_G, slow_D = copy.deepcopy(G), copy.deepcopy(D)
    for network in (G, D):
        for stale in network.parameters():
            stale.grad = torch.ones_like(stale)  # of an earlier step
    seen, from_g = [], []

    def watch(_, inputs):
        (from_g if inputs[0].grad_fn else seen).append(len(inputs[0]))

    D.register_forward_pre_hook(watch)
    found, g_found = update(D, sgd(D), sgd(G), real, fake, 0.5)
    assert from_g == [6]  # once, in G's step
    assert seen == passes + [6] * (name == "pairing")  # which needs D(x) there too

    slow_fake = slow_G(torch.eye(6, 3))
    logits = slow_D(real), slow_D(slow_fake.detach())
    expected = LOSSES[name][0](*logits)
    extra = weight * penalty(slow_D, real, slow_fake.detach()) if penalty else 0
    step_by_hand(slow_D, expected + extra)
    g_expected = LOSSES[name][1](slow_D(real), slow_D(slow_fake))
    step_by_hand(slow_G, g_expected)

    expected, g_expected = expected.detach(), g_expected.detach()
    torch.testing.assert_close([found[0], g_found], [expected, g_expected])
    torch.testing.assert_close(values(D), values(slow_D), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values(G), values(slow_G), atol=1e-5, rtol=1e-4)
    assert not any(x.requires_grad for x in (*found, g_found) if x is not None)
    if name == "classic":  # else D's output is a score, and no log-odds
        torch.testing.assert_close(found[1:], tuple(x.detach() for x in logits))
    else:
        assert found[1:] == (None, None)


def test_weight_of_a_penalty_goes_by_the_same_factor_every_step():
    found = [steps.weight_at(p, 8.0, 2.0) for p in (0, 0.5, 1)]
    assert found == pytest.approx([8, 4, 2])
    assert steps.weight_at(0.7, 8.0) == 8


def test_rates_are_1_and_half_a_cosine():
    assert [steps.constant_rate(p) for p in (0.0, 0.3, 1.0)] == [1, 1, 1]
    found = [steps.cosine_rate(p) for p in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([1, 0.5 + math.sqrt(1 / 8), 0.5, 0])
