"""The toy sets, their numbers and their networks: against closed forms and by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from ganlib import toys
from ganlib.toys import GRID, RING, Modes, mode_coverage, sample_points

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
each_set = pytest.mark.parametrize("modes", [RING, GRID], ids=["ring", "grid"])


# --- where the modes are


def test_ring_has_8_modes_on_the_circle_and_grid_25_at_the_even_numbers():
    # The unrolled-GAN demo closes its circle twice and has 7: linspace(0, 2π, 8).
    angles = [math.pi / 4 * k for k in range(8)]
    circle = torch.tensor([[math.cos(a), math.sin(a)] for a in angles])
    torch.testing.assert_close(RING.centers, circle)
    even = (-4, -2, 0, 2, 4)
    assert GRID.centers.tolist() == [[x, y] for x in even for y in even]
    assert (RING.sigma, GRID.sigma) == (0.01, 0.05)  # as in PacGAN


@each_set
def test_points_are_normal_around_modes_of_equal_weight(modes):
    points = sample_points(modes, 100_000, seed=0)
    nearest = torch.cdist(points, modes.centers).argmin(1)
    count = len(points) / len(modes.centers)
    counts = nearest.bincount(minlength=len(modes.centers)).double()
    statistic = ((counts - count) ** 2 / count).sum().item()
    assert chi2.sf(statistic, len(modes.centers) - 1) > 1e-3
    offsets = (points - modes.centers[nearest]) / modes.sigma
    torch.testing.assert_close(offsets.mean(0), torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(offsets.T.cov(), torch.eye(2), atol=0.02, rtol=0)
    assert (offsets**4).mean().item() == pytest.approx(3, abs=0.1)


def test_points_depend_on_the_seed_alone(unchanged_global_random_state):
    first = sample_points(RING, 100, seed=3)
    assert (first.shape, first.dtype) == ((100, 2), torch.float32)
    assert torch.equal(first, sample_points(RING, 100, seed=3))
    assert not torch.equal(first, sample_points(RING, 100, seed=4))


# --- how well they are covered


@each_set
def test_perfect_sampler_gets_what_the_closed_form_says(modes):
    """Within 3 standard deviations in the plane: 1 - exp(-9/2), a Rayleigh law."""
    found = mode_coverage(sample_points(modes, 100_000, seed=1), modes)
    assert found.captured == len(modes.centers)
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert found.kl == pytest.approx(0, abs=5e-4)


@given(st.integers(0, 1000), st.sampled_from([RING, GRID]), st.sampled_from([2, 40]))
def test_coverage_is_what_brute_force_counts(seed, modes, count):
    points = sample_points(Modes(modes.centers, 8 * modes.sigma), count, seed=seed)
    captured, near, shares = set(), 0, [0] * len(modes.centers)
    for point in points.tolist():
        away = [math.dist(point, center) for center in modes.centers.tolist()]
        nearest = away.index(min(away))
        shares[nearest] += 1 / count
        if away[nearest] < 3 * modes.sigma:
            captured.add(nearest)
            near += 1 / count
    kl = sum(share * math.log(share * len(shares)) for share in shares if share)
    expected = (len(captured), pytest.approx(near), pytest.approx(kl, abs=1e-5))
    assert mode_coverage(points, modes) == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_coverage_follows_the_points_to_their_device(device, dtype):
    for kept in (1, 5, 25):  # each missing mode counts
        points = GRID.centers[:kept].to(device, dtype)
        expected = (kept, 1.0, pytest.approx(math.log(25 / kept), abs=1e-6))
        assert mode_coverage(points, GRID) == expected


# --- networks for points


def test_networks_have_the_sizes_that_they_say():
    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())

    hidden = 2 * 128 + 128 + 2 * (128 * 128 + 128)
    assert count(toys.PointGenerator()) == hidden + 128 * 2 + 2
    assert count(toys.PointDiscriminator()) == hidden + 128 + 1
    G = toys.PointGenerator(latent_dim=5, width=7, depth=1)
    assert (count(G), G.latent_dim) == (6 * 7 + 8 * 2, 5)


def test_hidden_layers_alternate_and_leak_a_fifth():
    layers = toys.hidden_layers(3, 8, 2)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "LeakyReLU"] * 2
    assert [layer.negative_slope for layer in layers[1::2]] == [0.2, 0.2]


@torch.no_grad()
def test_points_have_any_size_and_each_is_judged_by_itself():
    G, D = toys.PointGenerator(), toys.PointDiscriminator()
    G.net[-1].bias += 100  # no tanh holds them back
    points = G(torch.eye(8, 2))
    assert points.min() > 50
    assert (points.shape, D(points).shape) == ((8, 2), (8,))
    torch.testing.assert_close(D(points)[:3], D(points[:3]))
    assert not hasattr(D, "image_shape")  # so train asks for no images
