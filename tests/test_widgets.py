"""Sliders that move z as they say, and a picture that follows."""

import gc
import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.latent import sample_noise, slerp
from ganlib.widgets import LatentExplorer, explore_latent


@pytest.fixture
def G(tiny_networks):
    """A small generator whose BatchNorm has seen something, in train mode."""
    G, _ = tiny_networks()
    G(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    return G


@pytest.fixture
def explorer(G):
    return explore_latent(G, zoom=3)


def noise(seed):
    return sample_noise(1, 3, seed=seed)


def shown(explorer):
    """The pixels of the PNG, as the browser gets them."""
    return np.array(Image.open(io.BytesIO(explorer.picture.value)))


def drawn_by(G, z):
    """The pixels that G gives for z in eval mode, before the zoom."""
    with torch.no_grad():
        image = G.eval()(z)[0, 0]
    return ((image + 1) / 2 * 255).round().byte().numpy()


def test_explorer_is_a_widget(explorer):
    assert isinstance(explorer, LatentExplorer)
    assert explorer.picture.format == "png"


def test_explorer_begins_with_the_noise_of_seed_0(explorer):
    torch.testing.assert_close(explorer.z, noise(0))


def test_picture_holds_the_pixels_of_g(explorer, G):
    expected = drawn_by(G, explorer.z).repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(shown(explorer), expected)


def test_image_is_what_is_shown(explorer, G):
    assert explorer.image.shape == (1, 1, 4, 4)
    torch.testing.assert_close(explorer.image, G.eval()(explorer.z).detach())


def test_seed_picks_the_noise(explorer):
    explorer.seed.value = 7
    torch.testing.assert_close(explorer.z, noise(7))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_walk_goes_along_the_arc_to_the_next_seed(explorer, share):
    explorer.seed.value = 7
    explorer.walk.value = share
    expected = slerp(noise(7)[0], noise(8)[0], torch.tensor([share]))
    torch.testing.assert_close(explorer.z, expected)


def test_walk_ends_at_the_next_seed(explorer):
    explorer.seed.value, explorer.walk.value = 7, 1.0
    torch.testing.assert_close(explorer.z, noise(8))


def test_noise_slider_adds_to_its_own_coordinate(explorer):
    explorer.noise[2].value = -1.5
    torch.testing.assert_close(explorer.z, noise(0) + torch.tensor([0, 0, -1.5]))


def test_noise_slider_that_goes_back_leaves_no_trace(explorer):
    explorer.noise[1].value = 2.0
    explorer.noise[1].value = 0.0
    torch.testing.assert_close(explorer.z, noise(0))


@pytest.mark.parametrize("slider", ["seed", "walk", "noise"])
def test_every_slider_changes_the_picture(explorer, G, slider):
    before = shown(explorer)
    if slider == "noise":
        explorer.noise[0].value = 3.0
    else:
        getattr(explorer, slider).value = 1
    after = shown(explorer)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after[::3, ::3], drawn_by(G, explorer.z))


def test_words_say_what_is_shown(explorer):
    assert "The picture for seed 0, 0% of the way to seed 1.<" in explorer.words.value
    explorer.seed.value, explorer.walk.value = 7, 0.3
    explorer.noise[0].value = explorer.noise[2].value = 1.0
    expected = "seed 7, 30% of the way to seed 8, with z[0], z[2] moved."
    assert expected in explorer.words.value


def test_there_are_eight_noise_sliders_where_z_is_long_enough(tiny_networks):
    G = type(tiny_networks()[0])(latent_dim=20)
    assert len(explore_latent(G).noise) == 8


def test_there_are_as_many_noise_sliders_as_coordinates_otherwise(explorer):
    assert len(explorer.noise) == 3


@pytest.mark.parametrize("training", [True, False])
def test_g_keeps_its_mode_and_its_statistics(G, training):
    G.train(training)
    explorer = explore_latent(G)
    explorer.seed.value = 3
    assert G.training == training
    assert G.net[1].num_batches_tracked == 1


def test_moving_sliders_leaves_the_global_random_state_alone(
    explorer, unchanged_global_random_state
):
    explorer.seed.value = 3


@pytest.mark.parametrize("slider", ["seed", "walk"])
def test_error_in_g_reaches_whoever_moves_the_slider(explorer, G, slider):
    def fail(*_):
        raise RuntimeError("out of memory")

    G.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        getattr(explorer, slider).value = 1


def test_a_thousand_events_leave_nothing_behind(explorer):
    def move(count):
        for i in range(count):
            explorer.walk.value = (i % 100) / 100
            explorer.seed.value = i % 500
        gc.collect()
        kinds = [type(thing) for thing in gc.get_objects()]
        return sys.getallocatedblocks(), kinds.count(torch.Tensor)

    blocks_before, tensors_before = move(100)
    blocks_after, tensors_after = move(500)
    assert tensors_after == tensors_before
    assert blocks_after - blocks_before < 500  # a kept picture is one block at least


def test_reset_brings_single_numbers_back_to_zero(explorer):
    for slider in explorer.noise:
        slider.value = 1.5
    before = explorer.z.clone()
    explorer._reset(None)
    assert [slider.value for slider in explorer.noise] == [0.0] * len(explorer.noise)
    moved = (before - explorer.z)[0, : len(explorer.noise)]
    torch.testing.assert_close(moved, torch.full_like(moved, 1.5))


def test_an_error_is_said_under_the_picture_too(explorer):
    def fail(*_):
        raise RuntimeError("no more ink")

    explorer.G.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no more ink"):
        explorer.seed.value = 3
    assert "The picture could not be drawn: no more ink" in explorer.words.value


def test_a_network_that_is_no_generator_is_refused():
    with pytest.raises(TypeError, match="G came as Linear, expected a generator"):
        explore_latent(torch.nn.Linear(3, 3))
