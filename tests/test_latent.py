"""Noise that depends on its seed alone, and two ways through it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.latent import lerp, sample_images, sample_noise, slerp

T = torch.linspace(0, 1, 9)


def noise(seed):
    return sample_noise(1, 50, seed=seed)[0]


def test_noise_is_what_torch_draws_from_a_generator_with_this_seed():
    expected = torch.randn(4, 7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(sample_noise(4, 7, seed=3), expected)


def test_noise_is_standard_normal():
    z = sample_noise(1000, 100, seed=0)
    moments = torch.stack([z.mean(), z.std(), (z**4).mean()])
    torch.testing.assert_close(moments, torch.tensor([0.0, 1, 3]), atol=0.05, rtol=0)


def test_noise_differs_between_seeds():
    assert not torch.equal(sample_noise(4, 7, seed=3), sample_noise(4, 7, seed=4))


def test_noise_leaves_the_global_random_state_alone(unchanged_global_random_state):
    sample_noise(4, 7, seed=3)


@pytest.mark.parametrize(("count", "latent_dim"), [(0, 7), (4, 0), (-1, 7)])
def test_noise_of_no_size_is_refused(count, latent_dim):
    with pytest.raises(
        ValueError, match=r"(count|latent_dim) is (0|-1), expected a whole"
    ):
        sample_noise(count, latent_dim, seed=0)


def test_images_are_what_g_draws_in_eval_mode(tiny_networks):
    G, _ = tiny_networks()
    images = sample_images(G, 5, seed=3)
    with torch.no_grad():
        expected = G.eval()(sample_noise(5, 3, seed=3))
    assert torch.equal(images, expected)


def test_images_do_not_depend_on_how_they_are_batched(tiny_networks):
    G, _ = tiny_networks()
    torch.testing.assert_close(
        sample_images(G, 5, seed=3, batch=2), sample_images(G, 5, seed=3)
    )


@pytest.mark.parametrize("training", [True, False])
def test_g_goes_back_to_its_mode(tiny_networks, training):
    G, _ = tiny_networks()
    G.train(training)
    sample_images(G, 2, seed=0)
    assert all(module.training == training for module in G.modules())


def test_drawing_leaves_the_statistics_of_g_alone(tiny_networks):
    G, _ = tiny_networks()
    sample_images(G, 20, seed=0)
    assert G.net[1].num_batches_tracked == 0


def test_images_carry_no_graph(tiny_networks):
    assert not sample_images(tiny_networks()[0], 2, seed=0).requires_grad


@pytest.mark.parametrize("path", [lerp, slerp])
def test_path_begins_at_the_start_and_ends_at_the_end(path):
    walked = path(noise(0), noise(1), T)
    ends = torch.stack([noise(0), noise(1)])
    torch.testing.assert_close(walked[[0, -1]], ends, atol=1e-5, rtol=0)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_path_has_one_point_for_each_t(path):
    assert path(noise(0), noise(1), T).shape == (9, 50)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_path_backwards_is_the_same_path(path):
    there, back = path(noise(0), noise(1), T), path(noise(1), noise(0), 1 - T)
    torch.testing.assert_close(there, back, atol=1e-5, rtol=0)


def test_lerp_keeps_equal_steps():
    steps = lerp(noise(0), noise(1), T).diff(dim=0)
    torch.testing.assert_close(steps, ((noise(1) - noise(0)) / 8).expand(8, 50))


def test_lerp_goes_through_the_middle():
    middle = lerp(noise(0), noise(1), torch.tensor([0.5]))[0]
    torch.testing.assert_close(middle, (noise(0) + noise(1)) / 2)


def test_slerp_between_two_axes_is_a_quarter_of_the_circle():
    arc = slerp(torch.tensor([1.0, 0]), torch.tensor([0.0, 1]), T)
    angle = T * math.pi / 2
    torch.testing.assert_close(arc, torch.stack([angle.cos(), angle.sin()], 1))


@given(st.floats(0.1, 3.0), st.floats(0, 1))
def test_slerp_turns_by_the_share_t_of_any_angle(angle, t):
    end = torch.tensor([math.cos(angle), math.sin(angle)])
    point = slerp(torch.tensor([1.0, 0]), end, torch.tensor([t]))[0]
    expected = torch.tensor([math.cos(t * angle), math.sin(t * angle)])
    torch.testing.assert_close(point, expected, atol=1e-4, rtol=0)


def test_slerp_keeps_the_length_where_lerp_falls_short():
    start, end = noise(0), noise(1) * noise(0).norm() / noise(1).norm()
    lengths = slerp(start, end, T).norm(dim=1)
    torch.testing.assert_close(lengths, start.norm().expand(9))


def test_slerp_is_a_straight_line_where_both_point_the_same_way():
    start = noise(0)
    torch.testing.assert_close(slerp(start, 2 * start, T), lerp(start, 2 * start, T))


def test_slerp_refuses_opposite_ends():
    with pytest.raises(ValueError, match=r"opposite directions.*a third point"):
        slerp(noise(0), -noise(0), T)
