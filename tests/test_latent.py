"""Noise that depends on its seed alone, ways through it, and directions in it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import latent
from ganlib.latent import draw, find_noise, last_hidden, sample_noise, slerp

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
T = torch.linspace(0, 1, 9)


def state(G):
    """Return everything that a function which only looks at G must leave alone."""
    found = [values.clone() for values in G.state_dict().values()]
    facts = [(m.training, len(m._forward_pre_hooks)) for m in G.modules()]
    return found, facts, [(w.grad, w.requires_grad) for w in G.parameters()]


def assert_unchanged(G, before):
    after = state(G)
    assert all(map(torch.equal, before[0], after[0]))
    assert after[1:] == before[1:]


# --- noise and images


def test_noise_is_what_torch_draws_with_this_seed(unchanged_global_random_state):
    expected = torch.randn(4, 7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(sample_noise(4, 7, seed=3), expected)


def test_streams_share_no_numbers_with_each_other_or_with_plain_seeds():
    purposes = ("noise", "order", "evaluation")
    generators = [latent.stream(name, seed) for name in purposes for seed in range(50)]
    generators += [torch.Generator().manual_seed(seed) for seed in range(500)]
    first = {tuple(torch.rand(4, generator=g).tolist()) for g in generators}
    assert len(first) == 3 * 50 + 500


@pytest.mark.parametrize("device", DEVICES)
def test_stream_is_the_same_every_time(device, unchanged_global_random_state):
    generator = latent.stream("noise", 0, device)
    assert generator.device.type == device
    assert generator.initial_seed() == 3977688702  # from the SHA-256 of "noise 0"


@pytest.mark.parametrize("training", [True, False])
def test_images_are_what_g_draws_in_eval_mode(tiny_networks, training):
    G, sizes = tiny_networks()[0].train(training), []
    before = state(G)
    G.register_forward_hook(lambda _, inputs, images: sizes.append(len(images)))
    images = latent.sample_images(G, 2500, seed=3)
    in_others = latent.sample_images(G, 2500, seed=3, batch=2000)
    torch.testing.assert_close(in_others, images)
    assert sizes == [1000, 1000, 500, 2000, 500]
    assert not images.requires_grad
    assert_unchanged(G, before)
    torch.testing.assert_close(images, G.eval()(sample_noise(2500, 3, seed=3)).detach())


@pytest.mark.parametrize("training", [True, False])
def test_g_goes_back_to_its_mode_after_an_error_too(tiny_networks, training):
    G = tiny_networks()[0].train(training)
    G.net[1].train(not training)  # as somebody may have set it
    before, modes = state(G), [layer.training for layer in G.modules()]
    for function in (draw, last_hidden):
        with pytest.raises(RuntimeError):
            function(G, torch.zeros(5, 4))
        assert [layer.training for layer in G.modules()] == modes
    assert_unchanged(G, before)


@pytest.mark.parametrize("device", [*DEVICES, "meta"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_noise_follows_g_to_its_device_and_precision(tiny_networks, device, dtype):
    G = tiny_networks()[0].to(device, dtype)
    images = draw(G, torch.zeros(5, 3))
    assert (images.device.type, images.dtype) == (device, dtype)


def test_g_without_weights_takes_noise_as_it_is():
    z = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(draw(nn.Tanh(), z), z.tanh())


# --- ways


def test_lerp_takes_equal_steps_from_the_start_to_the_end():
    start, end = sample_noise(2, 50, seed=0)
    expected = torch.stack([start + k / 8 * (end - start) for k in range(9)])
    torch.testing.assert_close(latent.lerp(start, end, T), expected)


@given(st.floats(0.002, math.pi - 0.002), st.floats(0, 1), st.floats(0.5, 2))
def test_slerp_turns_by_the_fraction_t_of_any_angle(angle, t, length):
    angles = torch.tensor([0, angle, t * angle], dtype=torch.float64)
    start, end, expected = length * torch.stack([angles.cos(), angles.sin()], 1)
    found = slerp(start, end, torch.tensor([t], dtype=torch.float64))[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_slerp_of_different_lengths_is_an_arc_of_an_ellipse():
    angle = T * math.pi / 2
    expected = torch.stack([3 * angle.cos(), 5 * angle.sin()], 1)
    found = slerp(torch.tensor([3.0, 0]), torch.tensor([0, 5.0]), T)
    torch.testing.assert_close(found, expected)


def test_slerp_of_one_line_is_straight_or_raises():
    start = sample_noise(1, 50, seed=0)[0]
    straight = start * (1 + T).unsqueeze(1)
    torch.testing.assert_close(slerp(start, 2 * start, T), straight)
    with pytest.raises(ValueError, match=r"opposite directions.*a third point"):
        slerp(start, -2 * start, T)


# --- principal directions


def rotation(seed):
    return torch.linalg.qr(sample_noise(4, 4, seed=seed)).Q


def linear_generator(matrix):
    """Return a generator whose last layer is given A z + 2, so that all is known."""
    image = nn.Tanh(), nn.Unflatten(1, (1, 2, 2))
    G = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), *image)
    G.latent_dim = 4
    for layer, weight in zip(G, (matrix, rotation(1)), strict=False):
        layer.weight.data.copy_(weight)
        layer.bias.data.fill_(2 if layer is G[0] else -0.5)
    return G


def test_directions_of_a_linear_layer_are_its_singular_vectors():
    U, V, sizes = rotation(0), rotation(9), torch.tensor([4.0, 3, 2, 1])
    G = linear_generator(U @ sizes.diag() @ V.T)
    directions, shares = latent.principal_directions(G, 3, samples=100_000)
    known = V.T[:3]
    sign = known.gather(1, known.abs().argmax(1, keepdim=True)).sign()
    torch.testing.assert_close(directions, known * sign, atol=0.03, rtol=0)
    torch.testing.assert_close(shares, sizes[:3] ** 2 / 30, atol=0.005, rtol=0)


def test_directions_agree_with_svd_and_lstsq(tiny_networks):
    G, _ = tiny_networks()
    before = state(G)
    directions, shares = latent.principal_directions(G, 3)
    assert_unchanged(G, before)
    z = sample_noise(10_000, 3, seed=0)
    hidden = G.eval().net[:3](z).detach()
    U, S, _ = torch.linalg.svd(hidden - hidden.mean(0), full_matrices=False)
    back = torch.linalg.lstsq((U * S)[:, :3], z).solution  # z from the components
    back = back / back.norm(dim=1, keepdim=True)
    back *= back.gather(1, back.abs().argmax(1, keepdim=True)).sign()
    torch.testing.assert_close(directions, back, atol=1e-3, rtol=0)
    torch.testing.assert_close(shares, S[:3] ** 2 / (S**2).sum(), atol=1e-4, rtol=0)
    G = nn.Linear(9, 1)
    G.latent_dim = 9
    assert [len(found) for found in latent.principal_directions(G)] == [8, 8]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_directions_are_the_same_in_any_precision(tiny_networks, device, dtype):
    G, _ = tiny_networks()
    expected = latent.principal_directions(G, 3, seed=1)
    G.to(device, dtype)
    found = latent.principal_directions(G, 3, seed=1)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    z = find_noise(G, torch.zeros(2, 1, 4, 4), steps=1)  # follows G as well
    assert z.device.type == device
    assert z.isfinite().all()


def test_last_hidden_is_what_the_last_layer_with_weights_is_given(tiny_networks):
    G, z = tiny_networks()[0].eval(), sample_noise(2500, 3, seed=0)
    torch.testing.assert_close(last_hidden(G, z), G.net[:3](z).detach())
    first, last = nn.Linear(3, 2 * 2 * 2), nn.ConvTranspose2d(2, 1, 2, stride=2)
    image = nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 1), last, nn.Tanh()
    G = nn.Sequential(first, *image)
    torch.testing.assert_close(last_hidden(G, z), G[:3](z).flatten(1).detach())


# --- looking for a z


def test_search_starts_at_the_best_of_a_thousand_and_moves_by_adams_rule(tiny_networks):
    G, _ = tiny_networks()
    target = draw(G, sample_noise(3, 3, seed=8)) * 0.9
    starts = sample_noise(1000, 3, seed=0)
    errors = [[(image - x).norm() for image in draw(G, starts)] for x in target]
    expected = starts[torch.tensor(errors).argmin(1)]
    assert torch.equal(find_noise(G, target, steps=0), expected)
    assert not torch.equal(find_noise(G, target, steps=0, seed=2), expected)
    z = expected.clone().requires_grad_()
    (slope,) = torch.autograd.grad((G.eval()(z) - target).square().sum(), z)
    moved = expected - 0.05 * slope.sign()  # Adam's first step
    torch.testing.assert_close(find_noise(G, target, steps=1), moved)


@pytest.mark.parametrize("device", DEVICES)
def test_noise_of_a_linear_generator_is_found(device):
    G = linear_generator(rotation(0)).to(device)
    target = draw(G, sample_noise(5, 4, seed=3))
    found = find_noise(G, target)
    assert not found.requires_grad
    assert (draw(G, found) - target).abs().max() < 0.01
    alone = torch.cat([find_noise(G, image) for image in target.split(1)])
    torch.testing.assert_close(found, alone, atol=1e-3, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_search_leaves_g_alone_even_when_interrupted(tiny_networks, training):
    def press_ctrl_c(_, inputs):
        if calls.pop() == 0:
            raise KeyboardInterrupt

    G, calls = tiny_networks()[0].train(training), [0, 1, 2, 3, 4, 5, 6]
    G.net[0].requires_grad_(False)
    G.register_forward_pre_hook(press_ctrl_c)
    before = state(G)
    find_noise(G, torch.zeros(2, 1, 4, 4), steps=3)  # and one look at all starts
    assert_unchanged(G, before)
    with pytest.raises(KeyboardInterrupt):
        find_noise(G, torch.zeros(2, 1, 4, 4), steps=3)
    assert_unchanged(G, before)
