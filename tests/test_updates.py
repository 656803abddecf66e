"""Updates of both players: against the same update, written out by hand."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from ganlib.data import RING, sample_points
from ganlib.losses import gradient_penalty
from ganlib.models import PointDiscriminator, PointGenerator
from ganlib.training import TrainConfig, classic_update, constant_rate, train
from ganlib.updates import (
    cosine_rate,
    hinge_update,
    pairing_update,
    r1_update,
    wasserstein_update,
)


def mixing():
    return torch.Generator().manual_seed(5)


UPDATES = {
    "classic": classic_update,
    "hinge": hinge_update,
    "wasserstein": partial(wasserstein_update, generator=mixing(), weight=3.0),
    "r1": partial(r1_update, gamma=0.7),
    "pairing": partial(pairing_update, gamma=0.7),
}


def slope(D, x):
    """½ mean ‖∇D(x)‖², one point after the other."""
    squares = []
    for point in x.detach():
        point = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(D.net(point), point, create_graph=True)
        squares.append(gradient.square().sum())
    return torch.stack(squares).mean() / 2


def objectives(name, D, real, fake):
    """D's and G's loss as the papers write them, with log and max, no ganlib."""
    r, f = (D.net(x)[:, 0] for x in (real, fake))
    p_real, p_fake = r.sigmoid(), f.sigmoid()
    classic = -(p_real.log().mean() + (1 - p_fake).log().mean()) / 2
    zero = torch.zeros(())
    return {
        "classic": (classic, -p_fake.log().mean()),
        "hinge": (
            torch.maximum(zero, 1 - r).mean() + torch.maximum(zero, 1 + f).mean(),
            -f.mean(),
        ),
        "wasserstein": (
            f.mean()
            - r.mean()
            + 3 * gradient_penalty(D, real, fake.detach(), generator=mixing()),
            -f.mean(),
        ),
        "r1": (classic + 0.7 * slope(D, real), -p_fake.log().mean()),
        "pairing": (
            softplus(-(r - f)).mean() + 0.7 * (slope(D, real) + slope(D, fake)),
            softplus(-(f - r)).mean(),
        ),
    }[name]


@pytest.fixture
def game():
    """G, D, 6 real points, and noise for as many fakes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = PointGenerator(width=8, depth=1), PointDiscriminator(width=8, depth=1)
    z = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    return G, D, sample_points(RING, 6, seed=0), z


def sgd(network):
    return torch.optim.SGD(network.parameters(), 0.1)


@pytest.mark.parametrize("name", UPDATES)
def test_update_moves_both_players_as_its_formulas_say(game, name):
    G, D, real, z = game
    other_G, other_D = copy.deepcopy(G), copy.deepcopy(D)
    UPDATES[name](D, sgd(D), sgd(G), real, G(z), 0.0)

    fake = other_G(z)
    for network, player in ((other_D, 0), (other_G, 1)):
        weights = list(network.parameters())
        loss = objectives(name, other_D, real, fake if player else fake.detach())[
            player
        ]
        for weight, gradient in zip(
            weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True
        ):
            weight.data -= 0.1 * gradient

    for network, other in ((D, other_D), (G, other_G)):
        for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", UPDATES)
def test_update_returns_what_records_are_made_of(game, name):
    G, D, real, z = game
    before = D(real).detach()
    (d_loss, real_logits, fake_logits), g_loss = UPDATES[name](
        D, sgd(D), sgd(G), real, G(z), 0.0
    )
    torch.testing.assert_close(real_logits, before)
    assert (d_loss.shape, fake_logits.shape, g_loss.shape) == ((), (6,), ())
    assert all(weight.requires_grad for weight in D.parameters())


@pytest.mark.parametrize("name", UPDATES)
def test_train_takes_every_update(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = PointGenerator(width=8, depth=1), PointDiscriminator(width=8, depth=1)
    before = copy.deepcopy(G.state_dict())
    points = sample_points(RING, 50, seed=0)
    config = TrainConfig(steps=4, batch_size=8)
    (record,) = train(G, D, points, config, UPDATES[name])
    assert math.isfinite(record.d_loss + record.g_loss)
    assert not torch.equal(G.net[0].weight, before["net.0.weight"])


@pytest.mark.parametrize("update", [r1_update, pairing_update])
def test_weight_of_the_penalties_goes_by_the_same_factor_every_step(game, update):
    """Halfway from 4 to 1 it is 2."""
    G, D, real, z = game
    found = []
    for progress, gammas in ((0.5, {"gamma": 4.0, "last_gamma": 1.0}), (0.0, {})):
        one_G, one_D = copy.deepcopy(G), copy.deepcopy(D)
        gammas = gammas or {"gamma": 2.0}
        update(one_D, sgd(one_D), sgd(one_G), real, one_G(z), progress, **gammas)
        found.append(one_D.net[0].weight)
    torch.testing.assert_close(*found)


def test_cosine_rate_goes_from_1_to_0():
    assert cosine_rate(0.0) == 1
    assert cosine_rate(0.5) == pytest.approx(0.5)
    assert cosine_rate(1.0) == pytest.approx(0)
    assert constant_rate(0.3) == 1


class FixedGradient(nn.Module):
    """A generator whose output, and so its gradient, does not depend on its weight."""

    latent_dim, image_shape = 2, (2,)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, z):
        return z + self.weight


def test_train_multiplies_the_learning_rates():
    """Adam without memory of gradients moves by lr; halving it halves the way."""
    points, seen = sample_points(RING, 50, seed=0), []

    def keep(D, opt_d, opt_g, real, fake, progress):
        seen.append([o.param_groups[0]["lr"] for o in (opt_g, opt_d)] + [progress])
        return classic_update(D, opt_d, opt_g, real, fake, progress)

    config = TrainConfig(steps=4, batch_size=8, lr_g=0.5, lr_d=0.25)
    G, D = FixedGradient(), PointDiscriminator(width=8, depth=1)
    list(train(G, D, points, config, keep, lambda progress: 1 - progress))
    rates = [1.0, 0.75, 0.5, 0.25]
    assert seen == [[0.5 * r, 0.25 * r, 1 - r] for r in rates]


def test_rate_that_stays_is_the_default(tiny_networks, tiny_images):
    config = TrainConfig(steps=3, batch_size=8)
    found = []
    for arguments in ((), (classic_update, constant_rate)):
        G, D = tiny_networks()
        list(train(G, D, tiny_images, config, *arguments))
        found.append(G.state_dict())
    for name, values in found[0].items():
        assert torch.equal(values, found[1][name]), name
