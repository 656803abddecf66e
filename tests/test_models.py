"""The two networks against their published sizes, and the first weights they get."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ganlib.models import (
    Discriminator,
    Generator,
    block,
    hidden_layers,
    init_kaiming_,
    init_normal_,
    init_orthogonal_,
    init_orthogonal_leaky_,
    init_xavier_,
)

INITIALIZERS = [
    init_normal_,
    init_xavier_,
    init_kaiming_,
    init_orthogonal_,
    init_orthogonal_leaky_,
]
each_initializer = pytest.mark.parametrize(
    "init", INITIALIZERS, ids=lambda function: function.__name__
)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def kinds(layers):
    return [type(layer).__name__ for layer in layers]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_block_is_linear_then_batch_norm_then_leaky_relu():
    assert kinds(block(5, 7)) == ["Linear", "BatchNorm1d", "LeakyReLU"]


def test_block_leaves_batch_norm_out_when_told():
    assert kinds(block(5, 7, normalize=False)) == ["Linear", "LeakyReLU"]


def test_block_has_the_sizes_it_was_given():
    linear, norm, _ = block(5, 7)
    assert (linear.in_features, linear.out_features, norm.num_features) == (5, 7, 7)


def test_block_leaks_a_fifth():
    assert block(5, 7)[-1](torch.tensor(-10.0)).item() == pytest.approx(-2.0)


def test_block_keeps_the_usual_eps_and_momentum():
    # Many tutorials pass 0.8 by position, meaning the momentum; it lands in eps.
    assert (block(5, 7)[1].eps, block(5, 7)[1].momentum) == (1e-5, 0.1)


def test_generator_has_the_published_number_of_parameters():
    assert parameters(Generator()) == 1_510_032


def test_generator_has_as_many_parameters_as_the_formula_says():
    widths = [17, 128, 256, 512, 1024, 3 * 8 * 8]
    linear = sum((a + 1) * b for a, b in pairwise(widths))
    norms = sum(2 * width for width in (256, 512, 1024))
    assert parameters(Generator(17, (3, 8, 8))) == linear + norms


def test_discriminator_has_the_published_number_of_parameters():
    assert parameters(Discriminator()) == 533_505


def test_discriminator_has_as_many_parameters_as_the_formula_says():
    widths = [3 * 8 * 8, 512, 256, 1]
    linear = sum((a + 1) * b for a, b in pairwise(widths))
    assert parameters(Discriminator((3, 8, 8))) == linear


def test_generator_has_its_layers_in_the_classic_order():
    first = ["Linear", "LeakyReLU"]
    others = ["Linear", "BatchNorm1d", "LeakyReLU"] * 3
    assert kinds(Generator().net) == first + others + ["Linear", "Tanh"]


def test_discriminator_has_its_layers_in_the_classic_order():
    hidden = ["Linear", "LeakyReLU"]
    assert kinds(Discriminator().net) == ["Flatten", *hidden, *hidden, "Linear"]


def test_discriminator_leaks_a_fifth_everywhere():
    leaky = [m for m in Discriminator().net if isinstance(m, nn.LeakyReLU)]
    assert [layer.negative_slope for layer in leaky] == [0.2, 0.2]


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 16, 24), [1, 4, 4]])
def test_generator_draws_images_of_the_asked_shape(image_shape):
    assert Generator(10, image_shape)(torch.randn(5, 10)).shape == (5, *image_shape)


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 16, 24), [1, 4, 4]])
def test_discriminator_returns_one_logit_for_each_image(image_shape):
    assert Discriminator(image_shape)(torch.zeros(5, *image_shape)).shape == (5,)


def test_discriminator_returns_a_row_even_for_one_image():
    assert Discriminator()(torch.zeros(1, 1, 28, 28)).shape == (1,)


def test_discriminator_returns_logits_not_probabilities():
    D = Discriminator()
    nn.init.constant_(D.net[-1].bias, 7.0)
    assert D(torch.zeros(2, 1, 28, 28)).min() > 1


def test_generator_stays_within_the_range_of_tanh():
    images = Generator()(100 * torch.randn(50, 100))
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.min() < -0.2 < 0.2 < images.max()  # and not within a sigmoid's


def test_generator_remembers_its_sizes():
    G = Generator(10, [3, 4, 5])
    assert (G.latent_dim, G.image_shape) == (10, (3, 4, 5))


def test_generator_in_eval_mode_draws_each_z_for_itself():
    G, z = Generator().eval(), torch.randn(8, 100)
    torch.testing.assert_close(G(z)[:1], G(z[:1]))


def test_generator_in_train_mode_mixes_the_batch():
    G, z = Generator(), torch.randn(8, 100)
    assert not torch.allclose(G(z)[:2], G(z[:2]), atol=1e-3)


def test_generator_refuses_noise_of_a_wrong_size():
    with pytest.raises(ValueError, match=r"z has shape \(5, 99\), expected \(N, 100\)"):
        Generator()(torch.zeros(5, 99))


def test_discriminator_refuses_images_of_a_wrong_size():
    with pytest.raises(ValueError, match="images have 3 channels"):
        Discriminator()(torch.zeros(5, 3, 28, 28))


def test_discriminator_refuses_bytes():
    with pytest.raises(TypeError, match=r"images came as torch.uint8"):
        Discriminator()(torch.zeros(5, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (init_normal_, 0.02),
        (init_xavier_, math.sqrt(2 / (400 + 300))),
        (init_kaiming_, math.sqrt(2 / ((1 + 0.2**2) * 400))),
    ],
)
def test_weights_spread_as_the_formula_says(init, expected):
    linear = nn.Linear(400, 300).apply(init)  # 120,000 weights: std good to 0.2 %
    assert linear.weight.std().item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("init", [init_normal_, init_xavier_, init_kaiming_])
def test_weights_are_normal_around_zero(init):
    weight = nn.Linear(400, 300).apply(init).weight
    standard = weight / weight.std()
    assert standard.mean().abs() < 0.02
    assert (standard**4).mean().item() == pytest.approx(3, abs=0.1)  # uniform: 1.8


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)])
def test_orthogonal_weights_are_orthonormal(shape):
    weight = nn.Linear(*shape).apply(init_orthogonal_).weight
    short = weight if weight.shape[0] <= weight.shape[1] else weight.T
    torch.testing.assert_close(
        short @ short.T, torch.eye(len(short)), atol=1e-5, rtol=0
    )


def test_leaky_orthogonal_weights_are_orthonormal_times_the_gain():
    weight = nn.Linear(30, 20).apply(init_orthogonal_leaky_).weight
    expected = 2 / (1 + 0.2**2) * torch.eye(20)
    torch.testing.assert_close(weight @ weight.T, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("init", "low", "high"),
    [(init_orthogonal_leaky_, 0.8, 1.2), (init_orthogonal_, 0.0, 0.2)],
)
def test_signals_keep_their_size_only_with_the_gain(init, low, high):
    """Through ten layers of LeakyReLU(0.2), from a standard normal."""
    layers = nn.Sequential(*hidden_layers(64, 64, 10)).apply(init)
    size = layers(torch.randn(4096, 64)).square().mean().sqrt()
    assert low < size < high


@each_initializer
def test_every_initializer_sets_all_biases_to_zero(init):
    G = Generator().apply(init)
    linear = [m for m in G.modules() if isinstance(m, nn.Linear)]
    assert all((layer.bias == 0).all() for layer in linear)


@each_initializer
def test_every_initializer_draws_new_weights(init):
    network = nn.Linear(20, 30)
    before = network.weight.clone()
    assert not torch.equal(network.apply(init).weight, before)


@each_initializer
def test_no_initializer_touches_batch_norm(init):
    G = Generator().apply(init)
    norms = [m for m in G.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == 3
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)
