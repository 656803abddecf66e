"""Noise that depends on its seed alone, ways through it, and directions in it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.latent import (
    draw,
    find_noise,
    last_hidden,
    lerp,
    principal_directions,
    sample_images,
    sample_noise,
    slerp,
)

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


# --- principal directions


class Linear(nn.Module):
    """A generator whose last layer is given A z: all is known in closed form."""

    latent_dim, image_shape = 4, (1, 2, 2)

    def __init__(self, matrix):
        super().__init__()
        self.first = nn.Linear(4, len(matrix), bias=False)
        self.last = nn.Linear(len(matrix), 4)
        with torch.no_grad():
            self.first.weight.copy_(matrix)
            # The same in any order of tests, and no image that looks like [0, 1].
            self.last.weight.copy_(rotation(1)[:, : len(matrix)])
            self.last.bias.copy_(torch.tensor([-0.5, -0.5, 0.5, 0.5]))

    def forward(self, z):
        return self.last(self.first(z)).tanh().view(-1, 1, 2, 2)


def rotation(seed, size=4):
    return torch.linalg.qr(sample_noise(size, size, seed=seed)).Q


@pytest.mark.parametrize("seed", range(3))
def test_directions_of_a_linear_layer_are_its_singular_vectors(seed):
    U, V, sizes = rotation(seed), rotation(seed + 9), torch.tensor([4.0, 3, 2, 1])
    G = Linear(U @ sizes.diag() @ V.T)
    directions, shares = principal_directions(G, 4, samples=200_000)
    assert directions.shape == (4, 4)
    found = (directions @ V).abs()  # up to the sign
    torch.testing.assert_close(found, torch.eye(4), atol=0.02, rtol=0)
    expected = sizes**2 / (sizes**2).sum()
    torch.testing.assert_close(shares, expected, atol=0.005, rtol=0)


def test_directions_agree_with_scikit_learn(tiny_networks):
    decomposition = pytest.importorskip("sklearn.decomposition")
    G, _ = tiny_networks()
    directions, shares = principal_directions(G, 3)
    z = sample_noise(10_000, 3, seed=0)
    hidden = last_hidden(G, z)
    known = decomposition.PCA(3).fit(hidden.numpy())
    expected = torch.tensor(known.explained_variance_ratio_).double()
    torch.testing.assert_close(shares.double(), expected, atol=1e-4, rtol=0)
    along = torch.from_numpy(known.transform(hidden.numpy()))
    back = torch.linalg.lstsq(along.to(z), z).solution
    similar = torch.cosine_similarity(directions, back).abs()
    torch.testing.assert_close(similar, torch.ones(3), atol=1e-4, rtol=0)


def test_directions_have_length_1_and_a_fixed_sign(tiny_networks):
    directions, _ = principal_directions(tiny_networks()[0], 3)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(3))
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_directions_leave_g_and_the_global_random_state_alone(
    tiny_networks, unchanged_global_random_state
):
    G, _ = tiny_networks()
    before = [v.clone() for v in G.state_dict().values()]
    principal_directions(G, 2)
    assert G.training
    assert not G.net[3]._forward_pre_hooks
    assert all(map(torch.equal, before, G.state_dict().values()))


def test_more_directions_than_numbers_in_z_are_refused(tiny_networks):
    with pytest.raises(ValueError, match="count is 4, expected at most 3"):
        principal_directions(tiny_networks()[0], 4)


def test_last_hidden_is_what_the_last_layer_is_given(tiny_networks):
    G = tiny_networks()[0].eval()
    z = sample_noise(2500, 3, seed=0)  # in more than one part
    torch.testing.assert_close(last_hidden(G, z), G.net[:3](z))


def test_last_hidden_works_for_convolutions():
    class Convolutional(nn.Module):
        latent_dim, image_shape = 3, (1, 4, 4)

        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 8)
            self.last = nn.ConvTranspose2d(2, 1, 2, stride=2)

        def forward(self, z):
            return self.last(self.first(z).view(-1, 2, 2, 2)).tanh()

    G, z = Convolutional(), sample_noise(5, 3, seed=0)
    torch.testing.assert_close(last_hidden(G, z), G.first(z))


# --- looking for a z


def test_noise_of_a_linear_generator_is_found():
    G = Linear(rotation(0))
    target = draw(G, sample_noise(5, 4, seed=3))
    found = find_noise(G, target)
    assert (draw(G, found) - target).abs().max() < 0.01


def test_every_image_is_looked_for_on_its_own():
    G = Linear(rotation(0))
    target = draw(G, sample_noise(5, 4, seed=3))
    alone = torch.cat([find_noise(G, image) for image in target.split(1)])
    torch.testing.assert_close(find_noise(G, target), alone, atol=1e-3, rtol=0)


def test_more_steps_bring_the_pictures_closer(tiny_networks):
    G, _ = tiny_networks()
    target = draw(G, sample_noise(5, 3, seed=3)).clamp(-0.9, 0.9)
    errors = [
        (draw(G, find_noise(G, target, steps=steps)) - target).norm().item()
        for steps in (1, 20, 200)
    ]
    assert errors == sorted(errors, reverse=True)


def test_looking_leaves_g_and_the_global_random_state_alone(
    tiny_networks, unchanged_global_random_state
):
    G, _ = tiny_networks()
    before = [v.clone() for v in G.state_dict().values()]
    find_noise(G, torch.zeros(2, 1, 4, 4), steps=3)
    assert G.training
    assert all(p.grad is None for p in G.parameters())
    assert all(map(torch.equal, before, G.state_dict().values()))
