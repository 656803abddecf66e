"""The toy sets, their numbers and their networks: against closed forms and by hand."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from ganlib.data import GRID, RING, Modes, sample_points
from ganlib.evaluation import mode_coverage
from ganlib.latent import sample_images
from ganlib.models import PointDiscriminator, PointGenerator, hidden_layers
from ganlib.plots import show_points
from ganlib.training import TrainConfig, train

each_set = pytest.mark.parametrize("modes", [RING, GRID], ids=["ring", "grid"])


def pairwise_distances(points):
    distance = torch.cdist(points, points)
    return distance[~torch.eye(len(points), dtype=torch.bool)]


# --- where the modes are


def test_ring_has_8_different_modes_on_the_circle():
    # The unrolled-GAN demo closes its circle twice and has 7: linspace(0, 2π, 8).
    assert RING.centers.shape == (8, 2)
    torch.testing.assert_close(RING.centers.norm(dim=1), torch.ones(8))
    neighbors = pairwise_distances(RING.centers).view(8, 7).amin(1)
    expected = torch.full((8,), 2 * math.sin(math.pi / 8))
    torch.testing.assert_close(neighbors, expected, atol=1e-5, rtol=0)


def test_grid_has_25_modes_at_the_even_numbers():
    expected = {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert GRID.centers.shape == (25, 2)
    assert {tuple(center) for center in GRID.centers.int().tolist()} == expected


def test_modes_are_as_narrow_as_in_pacgan():
    assert (RING.sigma, GRID.sigma) == (0.01, 0.05)


@each_set
def test_points_are_normal_around_modes_of_equal_weight(modes):
    points = sample_points(modes, 100_000, seed=0)
    distance, nearest = torch.cdist(points, modes.centers).min(1)
    count = len(points) / len(modes.centers)
    counts = nearest.bincount(minlength=len(modes.centers)).double()
    statistic = ((counts - count) ** 2 / count).sum().item()
    assert chi2.sf(statistic, len(modes.centers) - 1) > 1e-3
    offsets = (points - modes.centers[nearest]) / modes.sigma
    covariance = torch.cov(offsets.T)
    torch.testing.assert_close(covariance, torch.eye(2), atol=0.02, rtol=0)
    assert (distance.square() / modes.sigma**2).mean().item() == pytest.approx(2, 0.02)


@each_set
def test_points_depend_on_the_seed_alone(modes, unchanged_global_random_state):
    first = sample_points(modes, 100, seed=3)
    assert first.shape == (100, 2)
    assert first.dtype == torch.float32
    assert torch.equal(first, sample_points(modes, 100, seed=3))
    assert not torch.equal(first, sample_points(modes, 100, seed=4))


# --- how well they are covered


@each_set
def test_perfect_sampler_gets_what_the_closed_form_says(modes):
    """Within 3 standard deviations in the plane: 1 - exp(-9/2), a Rayleigh law."""
    found = mode_coverage(sample_points(modes, 100_000, seed=1), modes)
    assert found.captured == len(modes.centers)
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert found.kl == pytest.approx(0, abs=5e-4)


def test_one_mode_is_one_mode():
    points = sample_points(Modes(GRID.centers[:1], GRID.sigma), 2500, seed=0)
    found = mode_coverage(points, GRID)
    assert found.captured == 1
    assert found.high_quality > 0.98
    assert found.kl == pytest.approx(math.log(25))


@pytest.mark.parametrize("kept", [1, 5, 24])
def test_each_missing_mode_counts(kept):
    found = mode_coverage(GRID.centers[:kept], GRID)
    assert found == (kept, 1.0, pytest.approx(math.log(25 / kept), abs=1e-6))


def test_points_between_the_modes_capture_nothing():
    found = mode_coverage(GRID.centers + 1.0, GRID)
    assert (found.captured, found.high_quality) == (0, 0)


@pytest.mark.parametrize(("sigmas", "near"), [(2.99, 1.0), (3.01, 0.0)])
@each_set
def test_border_lies_at_three_standard_deviations(modes, sigmas, near):
    shift = torch.tensor([sigmas * modes.sigma, 0.0])
    found = mode_coverage(modes.centers + shift, modes)
    assert found.high_quality == near
    assert found.captured == near * len(modes.centers)


def test_far_points_count_for_the_nearest_mode():
    points = torch.tensor([[100.0, 100.0], [4.0, 4.0], [-4.0, -4.0]])
    found = mode_coverage(points, GRID)
    shares = torch.tensor([2 / 3, 1 / 3])
    assert found.captured == 2
    assert found.high_quality == pytest.approx(2 / 3)
    assert found.kl == pytest.approx((shares * (25 * shares).log()).sum().item())


@given(st.integers(0, 100))
def test_order_of_the_points_does_not_matter(seed):
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(seed))
    first, second = (mode_coverage(p, RING) for p in (points, points.flip(0)))
    assert first == pytest.approx(second)


def test_points_that_are_no_numbers_are_refused():
    points = torch.tensor([[0.0, float("nan")]])
    with pytest.raises(ValueError, match="points hold NaN or infinity, expected"):
        mode_coverage(points, RING)


# --- networks for points


def test_networks_have_the_sizes_that_they_say():
    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())

    hidden = 2 * 128 + 128 + 2 * (128 * 128 + 128)
    assert count(PointGenerator()) == hidden + 128 * 2 + 2
    assert count(PointDiscriminator()) == hidden + 128 + 1
    assert count(PointGenerator(latent_dim=5, width=7, depth=1)) == 6 * 7 + 8 * 2


def test_hidden_layers_alternate():
    layers = [type(layer).__name__ for layer in hidden_layers(3, 8, 2)]
    assert layers == ["Linear", "LeakyReLU"] * 2


def test_point_generator_draws_points_of_any_size():
    G = PointGenerator()
    points = sample_images(G, 10, seed=0)
    assert points.shape == (10, 2)
    with torch.no_grad():
        G.net[-1].bias += 100  # no tanh holds them back
    assert sample_images(G, 10, seed=0).min() > 50


def test_each_point_is_judged_for_itself():
    D = PointDiscriminator()
    points = sample_points(RING, 8, seed=0)
    torch.testing.assert_close(D(points)[:3], D(points[:3]))
    assert D(points).shape == (8,)


# --- training on points


def test_train_takes_points_of_any_range():
    config = TrainConfig(steps=3, batch_size=8, record_every=3)
    G, D = PointGenerator(width=8, depth=1), PointDiscriminator(width=8, depth=1)
    points = sample_points(GRID, 50, seed=0)
    assert points.abs().max() > 1
    (record,) = train(G, D, points, config)
    assert sample_images(record.averaged, 5, seed=0).shape == (5, 2)


def test_train_refuses_points_that_are_no_points():
    G, D = PointGenerator(width=8, depth=1), PointDiscriminator(width=8, depth=1)
    with pytest.raises(ValueError, match=r"images have shape \(50, 3\), expected \(N"):
        train(G, D, torch.zeros(50, 3), TrainConfig())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_training_finds_the_ring(seed):
    """Every mode within 300 steps, from a G that starts at the center."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G, D = PointGenerator(), PointDiscriminator()
    before = mode_coverage(sample_images(G, 2500, seed=0), RING)
    config = TrainConfig(steps=300, batch_size=256, betas=(0.0, 0.99), seed=seed)
    *_, record = train(G, D, sample_points(RING, 10_000, seed=0), config)
    after = mode_coverage(sample_images(record.averaged, 2500, seed=0), RING)
    assert before.captured == 0
    assert after.captured == 8


# --- their picture


@each_set
def test_picture_shows_every_point_and_every_mode(modes):
    points = sample_points(modes, 100, seed=0)
    ax = show_points(points, modes, title="all")
    circles, dots = ax.lines
    torch.testing.assert_close(torch.tensor(dots.get_xydata()).float(), points)
    torch.testing.assert_close(
        torch.tensor(circles.get_xydata()).float(), modes.centers
    )
    assert ax.get_title() == "all"
    assert ax.get_xlim()[1] > modes.centers.max()
    plt.close("all")
