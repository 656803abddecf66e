"""The two networks against their published sizes, and the initial weights they get."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ganlib import models
from ganlib.conditional import ConditionalGenerator, ProjectionDiscriminator
from ganlib.models import Discriminator, Generator, block, new_networks

DEVICES = ["cpu", "meta"] + ["cuda"] * torch.cuda.is_available()
LEAKY_GAIN = math.sqrt(2 / (1 + 0.2**2))


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def kinds(layers):
    return [type(layer).__name__ for layer in layers]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# --- the networks


def test_block_is_linear_batch_norm_and_leaky_relu():
    linear, norm, leaky = block(5, 7)
    assert kinds(block(5, 7)) == ["Linear", "BatchNorm1d", "LeakyReLU"]
    assert (linear.in_features, linear.out_features, norm.num_features) == (5, 7, 7)
    # Many tutorials pass 0.8 by position, meaning the momentum; it lands in eps.
    assert (norm.eps, norm.momentum, leaky.negative_slope) == (1e-5, 0.1, 0.2)
    assert kinds(block(5, 7, normalize=False)) == ["Linear", "LeakyReLU"]


def test_networks_have_the_published_numbers_of_parameters():
    def linear(*widths):
        return sum((a + 1) * b for a, b in pairwise(widths))

    assert parameters(Generator()) == 1_510_032
    assert parameters(Discriminator()) == 533_505
    expected = linear(17, 128, 256, 512, 1024, 3 * 8 * 8) + 2 * (256 + 512 + 1024)
    assert parameters(Generator(17, (3, 8, 8))) == expected
    assert parameters(Discriminator((3, 8, 8))) == linear(3 * 8 * 8, 512, 256, 1)


def test_networks_have_their_layers_in_the_classic_order():
    hidden = ["Linear", "LeakyReLU"]
    blocks = ["Linear", "BatchNorm1d", "LeakyReLU"] * 3
    assert kinds(Generator().net) == [*hidden, *blocks, "Linear", "Tanh"]
    assert kinds(Discriminator().net) == ["Flatten", *hidden, *hidden, "Linear"]
    leaky = [m for m in Discriminator().net if isinstance(m, nn.LeakyReLU)]
    assert [layer.negative_slope for layer in leaky] == [0.2, 0.2]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("image_shape", [(1, 28, 28), [3, 16, 24]])
def test_networks_return_images_and_one_logit_for_each(image_shape, device):
    G = Generator(10, image_shape).to(device)
    D = Discriminator(image_shape).to(device)
    images = G(torch.zeros(5, 10, device=device))
    assert images.shape == (5, *image_shape)
    assert (D(images).shape, D(images[:1]).shape) == ((5,), (1,))
    assert (G.latent_dim, G.image_shape) == (10, tuple(image_shape))
    assert D.image_shape == tuple(image_shape)


def test_forward_checks_what_it_gets():
    with pytest.raises(ValueError, match=r"z has shape \(5, 99\), expected \(N, 100\)"):
        Generator()(torch.zeros(5, 99))
    with pytest.raises(ValueError, match=r"images have shape \(5, 3, 28, 28\)"):
        Discriminator()(torch.zeros(5, 3, 28, 28))


# --- the initial weights


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (models.init_normal_, 0.02),
        (models.init_xavier_, math.sqrt(2 / (400 + 300))),
        (models.init_kaiming_, math.sqrt(2 / ((1 + 0.2**2) * 400))),
    ],
)
def test_weights_are_normal_with_the_standard_deviation_of_the_formula(init, expected):
    weight = nn.Linear(400, 300).apply(init).weight.detach() / expected
    assert weight.mean().item() == pytest.approx(0, abs=0.01)
    assert weight.std().item() == pytest.approx(1, abs=0.01)  # good to 0.2%
    assert (weight**4).mean().item() == pytest.approx(3, abs=0.1)  # uniform: 1.8


@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
@pytest.mark.parametrize(("name", "gain"), [("", 1), ("leaky_", LEAKY_GAIN)])
def test_orthogonal_weights_are_orthonormal_times_their_gain(name, gain, shape):
    init = getattr(models, f"init_orthogonal_{name}")
    weight = nn.Linear(*shape).apply(init).weight / gain
    short = weight if len(weight) == 20 else weight.T
    torch.testing.assert_close(short @ short.T, torch.eye(20), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [n for n in vars(models) if n.startswith("init_")])
def test_initializer_sets_linear_layers_and_leaves_batch_norm_alone(name):
    network = nn.Sequential(*block(20, 30), nn.Linear(30, 5))
    before = [layer.weight.clone() for layer in network[::3]]
    nn.init.constant_(network[1].bias, 0.5)
    network.apply(getattr(models, name))
    for layer, weight in zip(network[::3], before, strict=True):
        assert not torch.equal(layer.weight, weight)
        assert (layer.bias == 0).all()
    assert (network[1].weight == 1).all()
    assert (network[1].bias == 0.5).all()


@pytest.mark.parametrize(
    "kinds",
    [(Generator, Discriminator), (ConditionalGenerator, ProjectionDiscriminator)],
)
def test_new_networks_are_the_same_as_seeding_by_hand(
    kinds, unchanged_global_random_state
):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pair = [kind().apply(models.init_orthogonal_) for kind in kinds]  # in turn
    given = kinds if kinds[0] is not Generator else ()
    for known, network in zip(pair, new_networks(0, (1, 28, 28), *given), strict=True):
        assert type(network) is type(known)
        for name, values in network.state_dict().items():
            assert torch.equal(values, known.state_dict()[name]), name


def test_new_networks_have_the_size_and_the_seed():
    G, _ = new_networks()
    other_G, other_D = new_networks(1, (1, 4, 4))
    assert other_G.image_shape == other_D.image_shape == (1, 4, 4)
    assert not torch.equal(other_G.net[0].weight, G.net[0].weight)
