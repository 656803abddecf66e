"""The Parzen window against scipy's kernel density estimate, and a plain sum."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde, norm

from ganlib.parzen import log_mean_exp, parzen_log_density, parzen_log_likelihood


def images(count, seed, size=(1, 2, 3), spread=0.6):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, *size, generator=generator) * 2 - 1
    return values * spread


def plain_sum(test, centers, sigma):
    """Log-densities in double precision, one Gaussian after the other, in [0, 1]."""
    test, centers = (((x + 1) / 2).flatten(1).double().numpy() for x in (test, centers))
    return np.array(
        [np.log(np.mean(norm.pdf(x, centers, sigma).prod(1))) for x in test]
    )


def test_log_density_of_one_center_is_a_gaussian():
    point, center = torch.tensor([[0.3, -0.2]]), torch.tensor([[0.1, 0.5]])
    expected = norm.logpdf([0.3, -0.2], [0.1, 0.5], 0.25).sum()
    found = parzen_log_density(point, center, [0.25])
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_log_density_is_scipys(sigma):
    points, centers = (images(30, seed).flatten(1) for seed in (0, 1))
    # scipy scales the window by the data's covariance, which is made the identity here
    white = centers.double() - centers.double().mean(0)
    root = torch.linalg.cholesky(white.T @ white / (len(white) - 1))
    white = torch.linalg.solve_triangular(root, white.T, upper=False).T
    scipys = gaussian_kde(white.T.numpy(), bw_method=sigma)
    found = parzen_log_density(points, white.float(), [sigma])[0]
    np.testing.assert_allclose(found, scipys.logpdf(points.T.numpy()), rtol=1e-4)


def test_log_mean_exp_is_the_direct_one_where_that_has_no_trouble():
    exponents = torch.randn(9, 40, generator=torch.Generator().manual_seed(0)) * 20
    direct = exponents.double().exp().mean(1).log()
    torch.testing.assert_close(log_mean_exp(exponents), direct, rtol=1e-6, atol=1e-6)


def test_log_mean_exp_of_equal_numbers_is_that_number():
    assert log_mean_exp(torch.full((2, 7), -1e6)).tolist() == [-1e6, -1e6]


def test_each_width_gives_its_own_row():
    points, centers = (images(n, n).flatten(1) for n in (30, 20))
    both = parzen_log_density(points, centers, [0.1, 0.4])
    for row, sigma in zip(both, (0.1, 0.4), strict=True):
        assert torch.equal(row, parzen_log_density(points, centers, [sigma])[0])


def test_density_integrates_to_one():
    line = torch.linspace(-4, 4, 4001).unsqueeze(1)
    density = parzen_log_density(
        line, torch.tensor([[0.0], [0.5], [-1.0]]), [0.3]
    ).exp()
    assert density.sum().item() * 8 / 4000 == pytest.approx(1, abs=1e-4)


def test_blocks_do_not_show():
    points, centers = (images(n, n).flatten(1) for n in (1100, 20))
    whole = parzen_log_density(points, centers, [0.2])
    parts = [parzen_log_density(part, centers, [0.2]) for part in points.split(7)]
    torch.testing.assert_close(whole, torch.cat(parts, 1), rtol=1e-4, atol=1e-4)


def test_far_points_get_a_number_and_not_minus_infinity():
    found = parzen_log_density(torch.full((1, 784), 1.0), torch.zeros(5, 784), [0.1])
    log_norm = 784 * math.log(0.1 * math.sqrt(2 * math.pi))
    assert found.item() == pytest.approx(-784 / 0.02 - log_norm, rel=1e-6)


@pytest.mark.parametrize("spread", [0.1, 0.6, 1.0])
def test_likelihood_is_the_plain_sum_with_the_best_sigma(spread):
    samples, validation, test = (images(40, seed, spread=spread) for seed in (0, 1, 2))
    sigmas = 10 ** (np.arange(10) / 9 - 1)
    means = [plain_sum(validation, samples, s).mean() for s in sigmas]
    best = sigmas[int(np.argmax(means))]
    expected = plain_sum(test, samples, best)
    found = parzen_log_likelihood(samples, validation, test)
    assert found.sigma == pytest.approx(best, rel=1e-5)
    assert found.mean == pytest.approx(expected.mean(), rel=1e-4)
    assert found.standard_error == pytest.approx(expected.std() / 40**0.5, rel=1e-3)


def test_sigma_is_chosen_on_validation_images_and_not_on_test_images():
    samples, near, far = images(40, 0), images(40, 0) * 0.99, -images(40, 5).sign()
    assert (
        parzen_log_likelihood(samples, near, far).sigma
        < parzen_log_likelihood(samples, far, near).sigma
    )


def test_sigma_is_chosen_on_the_first_1000():
    samples, near = images(40, 0), images(1000, 1)
    with_more = torch.cat([near, -torch.ones(3000, 1, 2, 3)])
    found = parzen_log_likelihood(samples, with_more, near)
    assert found == parzen_log_likelihood(samples, near, near)


def test_samples_of_the_right_kind_win():
    real = images(200, 1, spread=0.3)
    good = parzen_log_likelihood(images(200, 0, spread=0.3), real[:100], real[100:])
    bad = parzen_log_likelihood(images(200, 0, spread=1.0), real[:100], real[100:])
    assert good.mean > bad.mean + 10 * good.standard_error


def test_global_random_state_is_left_alone(unchanged_global_random_state):
    parzen_log_likelihood(images(9, 0), images(9, 1), images(9, 2))
