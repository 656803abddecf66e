"""Every number against something true: closed forms, brute force, scipy, sklearn."""

import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import KernelDensity

from ganlib import metrics


def normal(count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator)


def white(count, size, seed):
    """Features whose mean is exactly 0 and whose covariance is exactly 1."""
    features = normal(count, size, seed).double()
    features -= features.mean(0)
    root = torch.linalg.cholesky(features.T.cov())
    return torch.linalg.solve_triangular(root, features.T, upper=False).T


# --- Fréchet distance


def test_frechet_distance_of_known_gaussians_is_the_closed_form():
    # For diagonal covariances it is ‖μ₁ - μ₂‖² + Σ (σ₁ - σ₂)².
    first, second = torch.tensor([0.5, 1.0, 2.0, 0.0]), torch.tensor([0.7, 3.0, 1.0, 0])
    shift = torch.tensor([1.0, -2.0, 0.5, 0.0])
    real, fake = white(50, 4, 0) * first, white(70, 4, 1) * second + shift
    expected = shift.square().sum() + (first - second).square().sum()
    assert metrics.frechet_distance(real, fake) == pytest.approx(
        expected.item(), abs=1e-6
    )
    assert metrics.frechet_distance(real, real) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_is_scipys_for_covariances_that_do_not_commute():
    real, fake = white(50, 5, 0) @ normal(5, 5, 2).double(), normal(60, 5, 1) + 0.3
    first, second = (np.cov(x.double().numpy(), rowvar=False) for x in (real, fake))
    expected = (real.mean(0) - fake.mean(0)).square().sum().item()
    expected += np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert metrics.frechet_distance(real.float(), fake) == pytest.approx(
        expected, rel=1e-5
    )


# --- kernel distance


def mean_kernel(pairs):
    return np.mean([(float(a @ b) / len(a) + 1) ** 3 for a, b in pairs])


def test_kernel_distance_of_one_whole_subset_is_the_sum_over_all_pairs():
    real, fake = normal(20, 5, 0), normal(20, 5, 1) * 0.8 + 0.2
    expected = mean_kernel(permutations(real, 2)) + mean_kernel(permutations(fake, 2))
    expected -= 2 * mean_kernel(product(real, fake))  # without bias: no pair of equals
    found = metrics.kernel_distance(real, fake, subsets=3)
    assert found.mean == pytest.approx(expected, rel=1e-5)
    assert found.std < 1e-5  # all are in every subset: the order alone differs


def test_kernel_distance_is_a_mean_over_subsets(unchanged_global_random_state):
    sets = normal(1500, 4, 0), normal(1200, 4, 1)
    one, two = (metrics.kernel_distance(*sets, subsets=n, seed=1) for n in (1, 2))
    assert two.mean != one.mean
    assert two.std == pytest.approx(abs(two.mean - one.mean))  # of two numbers
    assert metrics.kernel_distance(*sets, subsets=2, seed=1) == two
    assert metrics.kernel_distance(*sets, subsets=2, seed=2) != two
    whole = metrics.kernel_distance(sets[0][:1000], sets[1][:1000], subsets=2)
    assert whole.std < 1e-5


# --- precision, recall, density, coverage


def brute_force(real, fake, k):
    """The definitions of Naeem et al., the border included."""
    real, fake = real.double().numpy(), fake.double().numpy()

    def radii(points):
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        return np.sort(distances, axis=1)[:, k]  # the first is the point itself

    distances = np.linalg.norm(real[:, None] - fake, axis=2)
    in_real = distances <= radii(real)[:, None]
    in_fake = distances <= radii(fake)
    precision, recall = in_real.any(0).mean(), in_fake.any(1).mean()
    return precision, recall, in_real.sum() / (k * len(fake)), in_real.any(1).mean()


def test_precision_recall_of_two_normal_sets_is_the_published_one():
    # README of prdc, the code of Naeem et al. 2020; it draws from NumPy, unseeded.
    noise = torch.Generator().manual_seed(0)
    sets = torch.randn(2, 10_000, 1000, generator=noise)
    found = metrics.precision_recall(*sets, k=5)
    assert found[:2] == pytest.approx((0.477, 0.471), abs=0.02)
    assert found[2:] == pytest.approx((1.056, 0.974), abs=0.05)


@pytest.mark.parametrize(
    ("counts", "k", "block"), [((60, 40), 1, 500), ((40, 70), 3, 13)]
)
def test_precision_recall_is_the_brute_force(monkeypatch, counts, k, block):
    monkeypatch.setattr(metrics, "BLOCK", block)
    real, fake = normal(counts[0], 4, 0), 1.3 * normal(counts[1], 4, 1) + 0.5
    found = metrics.precision_recall(real, fake, k=k)
    assert found == pytest.approx(brute_force(real, fake, k), abs=1e-6)
    assert len(set(found)) == 4  # so that none can stand in for another


def test_same_source_gives_the_published_density_and_coverage():
    # Naeem et al. 2020, section 3.3: 1, and 1 - Π (N - i) / (N + M - i) for i = 1 … k.
    sets = [(normal(300, 8, i), normal(200, 8, 99 - i)) for i in range(40)]
    found = np.mean([metrics.precision_recall(*both) for both in sets], axis=0)
    coverage = 1 - math.prod((300 - i) / (500 - i) for i in range(1, 6))
    assert found[2] == pytest.approx(1, abs=0.03)
    assert found[3] == pytest.approx(coverage, abs=0.01)


def test_equal_features_are_all_inside():
    # With "<" all would be 0 (clovaai/generative-evaluation-prdc, issue 7).
    features = torch.full((600, 64), 1234.567).half()
    assert metrics.precision_recall(features, features[:100]) == (1, 1, 600 / 5, 1)


def test_neighbor_distance_does_not_count_the_feature_itself(monkeypatch):
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert metrics.neighbor_distance(line, 1).tolist() == [1, 1, 2, 4]
    monkeypatch.setattr(metrics, "BLOCK", 3)
    assert metrics.neighbor_distance(line, 3).tolist() == [7, 6, 4, 7]


# --- which digits


@pytest.mark.parametrize("shares", [[0.25] * 4, [0.0, 1.0, 0.0], [0.25, 0.75]])
def test_entropy_and_kl_are_their_closed_forms(shares):
    found, size = torch.tensor(shares), len(shares)
    expected = -sum(p * math.log(p) for p in shares if p > 0)
    assert metrics.entropy(found) == pytest.approx(expected)
    expected = sum(p * math.log(p * size) for p in shares if p > 0)
    assert metrics.kl_to_uniform(found) == pytest.approx(expected, abs=1e-6)


# --- nearest training images


def test_nearest_distance_is_the_brute_force(digits):
    images, train = digits.images[:600].half(), digits.images[590:].half()
    direct = torch.cdist(images.flatten(1).double(), train.flatten(1).double()).amin(1)
    found = metrics.nearest_distance(images, train)
    torch.testing.assert_close(found.double(), direct, rtol=1e-5, atol=1e-5)
    assert found[590:].max() == 0  # copies, without any rounding


def test_memorization_is_its_closed_form_for_known_distances():
    def images(*distances):
        return torch.tensor(distances).view(-1, 1, 1, 1)

    # Of the held-out distances, 0.01 to 1, the first percentile is at 0.0199.
    held_out = images(*(torch.arange(1, 101) / 100).tolist())
    sets = images(0.0, 5.0), held_out
    found = metrics.memorization(images(0.01, 0.015, 0.075, 0.9), *sets)
    assert found == pytest.approx((0.25, 0.505, 0.25 / 0.505, 0.5))
    assert metrics.memorization(images(5.0, 0.0), *sets)[2:] == (0, 1)  # copies
    assert metrics.memorization(held_out, *sets)[2:] == pytest.approx((1, 0.01))
    equal = images(1.0, 1.0)  # no closer than the others
    assert metrics.memorization(equal, images(0.0), equal) == (1, 1, 1, 0)
    assert metrics.memorization(equal, equal * 2, equal * 2).ratio == math.inf


# --- Parzen window


def reference(points, centers, sigma):
    return KernelDensity(bandwidth=sigma).fit(centers).score_samples(points)


def test_log_density_is_sklearns(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", 7)
    points, centers = normal(30, 6, 0).double(), normal(20, 6, 1).double() / 2
    found = metrics.parzen_log_density(points, centers, [0.1, 0.4])
    for row, sigma in zip(found, (0.1, 0.4), strict=True):
        np.testing.assert_allclose(row, reference(points, centers, sigma), rtol=1e-4)


@pytest.mark.parametrize("spread", [0.1, 0.6, 1.0])
def test_likelihood_is_sklearns_with_the_width_that_validation_chooses(spread):
    generator = torch.Generator().manual_seed(0)
    images = spread * (torch.rand(1120, 1, 2, 3, generator=generator) * 2 - 1)
    samples, validation, test = images.split([40, 1000, 80])
    # What comes after the first 1,000 must not count, and neither must test images.
    more = torch.cat([validation, test * 9])
    found = metrics.parzen_log_likelihood(samples, more, test / 2)
    sets = samples, validation, test / 2
    centers, chosen, test = ((x.flatten(1) + 1) / 2 for x in sets)
    sigmas = 10 ** (np.arange(10) / 9 - 1)
    means = [reference(chosen, centers, sigma).mean() for sigma in sigmas]
    best = sigmas[np.argmax(means)]
    expected = reference(test, centers, best)
    error = expected.std() / math.sqrt(80)
    assert found == pytest.approx((expected.mean(), error, best), rel=1e-3)
