"""Convolutional networks: their sizes, and that D sees each image alone."""

import pytest
import torch
from torch import nn

from ganlib.convolutional import ConvDiscriminator, ConvGenerator, size_ladder
from ganlib.models import (
    init_kaiming_,
    init_normal_,
    init_orthogonal_,
    init_orthogonal_leaky_,
    init_xavier_,
)
from ganlib.training import TrainConfig, train


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(28, [7, 14, 28]), (32, [4, 8, 16, 32]), (24, [6, 12, 24]), (16, [4, 8, 16])],
)
def test_sizes_double_up_to_the_image(size, sizes):
    assert size_ladder(size) == sizes


@pytest.mark.parametrize("size", [30, 27, 14, 100, 4])
def test_other_sizes_are_refused_in_a_sentence(size):
    with pytest.raises(ValueError, match=f"is {size}.*expected.*resize to 28"):
        size_ladder(size)


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_networks_fit_images(image_shape):
    G, D = ConvGenerator(7, image_shape, 4), ConvDiscriminator(image_shape, 4)
    images = G(torch.randn(3, 7))
    assert images.shape == (3, *image_shape)
    assert images.abs().max() <= 1
    assert D(images).shape == (3,)


def test_networks_have_the_computed_numbers_of_parameters():
    def linear(a, b):
        return (a + 1) * b

    dense = linear(100, 256) + linear(256, 512) + linear(512, 3136)
    up = 64 * 32 * 16 + 32 + 32 * 16 + 1
    norm = 2 * (512 + 3136 + 32)
    assert sum(w.numel() for w in ConvGenerator().parameters()) == dense + up + norm
    down = 32 * 16 + 32 + 32 * 64 * 16 + 64
    dense = linear(3136, 256) + linear(256, 1)
    assert sum(w.numel() for w in ConvDiscriminator().parameters()) == down + dense


def test_d_sees_each_image_alone():
    D, images = ConvDiscriminator(channels=4), torch.randn(6, 1, 28, 28)
    alone = torch.cat([D(image[None]) for image in images])
    torch.testing.assert_close(D(images), alone)


def test_networks_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="z has shape"):
        ConvGenerator(channels=2)(torch.randn(3, 7))
    with pytest.raises(ValueError, match="images"):
        ConvDiscriminator(channels=2)(torch.randn(3, 3, 28, 28))


def test_train_takes_them():
    images = torch.rand(20, 3, 32, 32) * 2 - 1
    G, D = ConvGenerator(5, (3, 32, 32), 2), ConvDiscriminator((3, 32, 32), 2)
    (record,) = train(G, D, images, TrainConfig(2, batch_size=4, record_every=2))
    assert record.averaged(torch.randn(2, 5)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    "initializer",
    [
        *(init_normal_, init_xavier_, init_kaiming_),
        *(init_orthogonal_, init_orthogonal_leaky_),
    ],
)
def test_initializers_reach_every_layer_with_weights(initializer):
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for network in (ConvGenerator(channels=2), ConvDiscriminator(channels=2)):
        layers = [m for m in network.modules() if isinstance(m, kinds)]
        for layer in layers:
            nn.init.constant_(layer.weight, 7.0)
            nn.init.constant_(layer.bias, 7.0)
        network.apply(initializer)
        for layer in layers:
            assert layer.weight.std() > 0
            assert not layer.bias.any()
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(bool((norm.weight == 1).all()) for norm in norms)
