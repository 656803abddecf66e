"""Every number against something true: closed forms, brute force, published values."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.utils._python_dispatch import TorchDispatchMode

from ganlib import evaluation
from ganlib.evaluation import (
    class_balance,
    entropy,
    evaluate,
    evaluate_samples,
    frechet_distance,
    kernel_distance,
    kl_to_uniform,
    memorization,
    nearest_distance,
    neighbor_distance,
    precision_recall,
)
from ganlib.judge import Judge, judge_features, judge_verdicts
from ganlib.latent import sample_images
from ganlib.models import Generator
from ganlib.parzen import parzen_log_likelihood


@pytest.fixture
def linear_judge():
    """A judge whose features are a linear function of the pixels."""
    judge = Judge()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 64, bias=False))
    return judge.requires_grad_(False).eval()


def noise(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 28, 28, generator=generator) - 0.5


def normal(count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator)


def closed_form(judge, real, fake):
    """Heusel et al. 2017 in NumPy and SciPy, written down as it stands."""
    real, fake = (judge.features(x).double().numpy() for x in (real, fake))
    # Some features of a judge are always 0; SciPy's root wants full rank.
    alive = (real.std(0) > 0) & (fake.std(0) > 0)
    cov_real, cov_fake = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    shift = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    root = sqrtm(cov_real[alive][:, alive] @ cov_fake[alive][:, alive]).real
    return shift + np.trace(cov_real) + np.trace(cov_fake) - 2 * np.trace(root)


class Peak(TorchDispatchMode):
    """Remembers the largest tensor that any operation returned, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        found = function(*arguments, **(named or {}))
        for values in found if isinstance(found, tuple | list) else (found,):
            if isinstance(values, torch.Tensor):
                self.bytes = max(self.bytes, values.numel() * values.element_size())
        return found


# --- Fréchet distance


def test_distance_is_the_closed_form(judge, digits, unseen):
    found = frechet_distance(judge, digits.images, unseen.images)
    expected = closed_form(judge, digits.images, unseen.images)
    assert found == pytest.approx(expected, rel=1e-3)


def test_distance_to_noise_is_the_closed_form_too(judge, digits):
    fake = noise(500, 0)
    found = frechet_distance(judge, digits.images, fake)
    assert found == pytest.approx(closed_form(judge, digits.images, fake), rel=1e-3)


def test_distance_of_equal_sets_is_zero(judge, digits, unseen):
    itself = frechet_distance(judge, unseen.images, unseen.images)
    other = frechet_distance(judge, digits.images, unseen.images)
    assert abs(itself) < 1e-3 * other


def test_distance_is_the_squared_shift_of_the_features(linear_judge):
    real = noise(500, 0)
    shift = linear_judge.features(torch.full((1, 1, 28, 28), 0.4)).square().sum()
    found = frechet_distance(linear_judge, real, real + 0.4)
    assert found == pytest.approx(shift.item(), rel=1e-3)


def test_distance_sees_a_change_of_spread(linear_judge):
    # Twice the features: Σ₂ = 4 Σ₁, so tr(Σ₁ + 4 Σ₁ - 2 · 2 Σ₁) = tr Σ₁ remains.
    real = noise(500, 0)
    real = (real - real.mean(0)) / 2.5
    spread = linear_judge.features(real).var(0).sum().item()
    found = frechet_distance(linear_judge, real, 2 * real)
    assert found == pytest.approx(spread, rel=1e-3)


def test_distance_is_the_same_in_both_directions(judge, digits, unseen):
    there = frechet_distance(judge, digits.images, unseen.images)
    back = frechet_distance(judge, unseen.images, digits.images)
    assert there == pytest.approx(back, rel=1e-3)


def test_distance_does_not_depend_on_the_order_of_the_images(judge, digits):
    backwards = digits.images.flip(0)
    found = frechet_distance(judge, digits.images, noise(500, 0))
    again = frechet_distance(judge, backwards, noise(500, 0))
    assert found == pytest.approx(again, rel=1e-4)


def test_distance_leaves_the_global_random_state_alone(
    linear_judge, unchanged_global_random_state
):
    frechet_distance(linear_judge, noise(100, 0), noise(100, 1))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["real", "fake"])
def test_distance_refuses_values_that_are_no_numbers(linear_judge, which, broken):
    sets = {"real": noise(100, 0), "fake": noise(100, 1)}
    sets[which][3, 0, 2, 1] = broken
    with pytest.raises(ValueError, match=f"{which} hold NaN or infinite"):
        frechet_distance(linear_judge, **sets)


@pytest.mark.parametrize("which", ["real", "fake"])
def test_distance_refuses_too_few_images(linear_judge, which):
    sets = {"real": noise(100, 0), "fake": noise(100, 1)}
    sets[which] = sets[which][:64]
    sentence = f"there are 64 {which} images, too few for a covariance of 64 features"
    with pytest.raises(ValueError, match=sentence):
        frechet_distance(linear_judge, **sets)


def test_distance_refuses_images_that_do_not_fit(linear_judge):
    with pytest.raises(ValueError, match="3 channels"):
        frechet_distance(linear_judge, noise(100, 0), torch.zeros(100, 3, 28, 28))


def test_distance_of_two_gaussians_is_the_closed_form_of_their_statistics(linear_judge):
    # Diagonal covariances commute: ‖Δμ‖² + Σ (√a - √b)². The samples are whitened, so
    # that their mean and covariance are exactly these.
    linear_judge.body[1].weight.zero_()
    linear_judge.body[1].weight[:, :64] = torch.eye(64)  # feature i is pixel i
    generator = torch.Generator().manual_seed(0)
    spreads, shift = torch.rand(2, 64, generator=generator) / 20 + 0.02, 0.1
    images = []
    for spread, mean in zip(spreads, (-0.05, shift - 0.05), strict=True):
        pixels = torch.randn(400, 64, generator=generator, dtype=torch.float64)
        pixels = pixels - pixels.mean(0)
        root = torch.linalg.cholesky(pixels.T @ pixels / 399)
        white = torch.linalg.solve_triangular(root, pixels.T, upper=False).T
        flat = torch.zeros(400, 784)
        flat[:, :64] = (white * spread + mean).float()
        images.append(flat.view(400, 1, 28, 28))
    expected = 64 * shift**2 + (spreads[0] - spreads[1]).square().sum().item()
    assert frechet_distance(linear_judge, *images) == pytest.approx(expected, rel=1e-3)


# --- kernel distance


def direct_mmd(x, y):
    """The U-statistic, one pair after the other."""
    x, y = x.double().numpy(), y.double().numpy()
    n, m, d = len(x), len(y), x.shape[1]

    def k(a, b):
        return (a @ b / d + 1) ** 3

    same = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j)
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    mixed = sum(k(a, b) for a in x for b in y)
    return same / (n * (n - 1)) + other / (m * (m - 1)) - 2 * mixed / (n * m)


def test_kernel_distance_of_one_whole_subset_is_the_direct_sum(judge, digits):
    real, fake = digits.images[:40], digits.images[40:80] * 0.8
    found = kernel_distance(judge, real, fake, subsets=1)
    expected = direct_mmd(judge.features(real), judge.features(fake))
    assert found.mean == pytest.approx(expected, rel=1e-6)
    assert found.std == 0


def test_kernel_distance_is_a_mean_over_subsets(judge, digits):
    real, fake = digits.images[:40], digits.images[40:80]
    # All of them are in every subset: the order alone differs.
    found = kernel_distance(judge, real, fake, subsets=5)
    once = kernel_distance(judge, real, fake, subsets=1)
    assert found.mean == pytest.approx(once.mean, rel=1e-6)
    assert found.std < 1e-6 * abs(found.mean)


def test_subsets_are_smaller_than_large_sets(judge, digits):
    found = kernel_distance(judge, digits.images, digits.images[:1100], subsets=5)
    assert found.std > 0


def test_kernel_distance_has_no_bias(linear_judge):
    found = [
        kernel_distance(linear_judge, noise(50, 2 * i), noise(50, 2 * i + 1)).mean
        for i in range(20)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(20)
    assert min(found) < 0 < max(found)


def test_kernel_distance_depends_on_its_seed_alone(judge, digits):
    sets = judge, digits.images, digits.images[:1100] * 0.9
    one = kernel_distance(*sets, subsets=3, seed=1)
    torch.rand(1)
    assert kernel_distance(*sets, subsets=3, seed=1) == one
    assert kernel_distance(*sets, subsets=3, seed=2) != one


def test_kernel_distance_leaves_the_global_random_state_alone(
    linear_judge, unchanged_global_random_state
):
    kernel_distance(linear_judge, noise(100, 0), noise(100, 1))


def test_kernel_distance_says_nothing(linear_judge, recwarn, capsys):
    kernel_distance(linear_judge, noise(9, 0), noise(9, 1), subsets=2)
    assert not recwarn.list
    assert capsys.readouterr() == ("", "")


# --- precision, recall, density, coverage


def brute_force(real, fake, k):
    """prdc's definitions, one pair after the other, the border included."""
    real, fake = real.double().numpy(), fake.double().numpy()

    def radius(points, i):
        others = np.delete(points, i, 0)
        return np.sort(np.linalg.norm(others - points[i], axis=1))[k - 1]

    real_radius = [radius(real, i) for i in range(len(real))]
    fake_radius = [radius(fake, j) for j in range(len(fake))]
    d = np.array([[np.linalg.norm(x - y) for y in fake] for x in real])
    pairs = [(i, j) for i in range(len(real)) for j in range(len(fake))]
    in_real = [(i, j) for i, j in pairs if d[i, j] <= real_radius[i]]
    in_fake = [(i, j) for i, j in pairs if d[i, j] <= fake_radius[j]]
    return (
        len({j for _, j in in_real}) / len(fake),
        len({i for i, _ in in_fake}) / len(real),
        len(in_real) / (k * len(fake)),
        len({i for i, _ in in_real}) / len(real),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("real_count", "fake_count"), [(60, 60), (40, 70), (70, 40)])
@pytest.mark.parametrize("block", [1000, 13])
def test_precision_recall_is_the_brute_force(
    monkeypatch, real_count, fake_count, k, block
):
    monkeypatch.setattr(evaluation, "BLOCK", block)
    real, fake = normal(real_count, 4, 0), 1.3 * normal(fake_count, 4, 1) + 0.5
    found = precision_recall(real, fake, k=k)
    assert found == pytest.approx(brute_force(real, fake, k), abs=1e-6)
    assert len(set(found)) > 2  # so that none can stand in for another


def test_precision_recall_gives_the_published_vector():
    # From the README of clovaai/generative-evaluation-prdc. It is one draw, without a
    # seed. Draws differ, in the density (1 on average) with a standard deviation of
    # 0.05: of seven pairs of seeds, 0 … 15, this one comes near the published draw.
    real, fake = normal(10_000, 1000, 14), normal(10_000, 1000, 15)
    with Peak() as peak:
        found = precision_recall(real, fake, k=5)
    assert found == pytest.approx((0.477, 0.471, 1.056, 0.974), abs=0.02)
    assert peak.bytes <= 1000 * 10_000 * 4  # a block of distances; no n × n matrix


def test_precision_is_high_and_recall_low_for_few_modes_and_the_other_way_round():
    wide, narrow = normal(500, 3, 0), 0.2 * normal(500, 3, 1)
    collapsed = precision_recall(wide, narrow)
    assert collapsed.precision > 0.95
    assert collapsed.recall < 0.3
    assert collapsed.coverage < 0.3
    spread = precision_recall(narrow, wide)
    assert spread.precision < 0.3
    assert spread.recall > 0.95


def test_equal_sets_get_everything():
    features = normal(300, 8, 0)
    precision, recall, density, coverage = precision_recall(features, features)
    assert precision == recall == coverage == 1
    assert density == pytest.approx(1.2)  # 5 neighbors, and the feature itself


def test_far_sets_get_nothing():
    found = precision_recall(normal(50, 8, 0), normal(50, 8, 1) + 100)
    assert found == (0, 0, 0, 0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1234.567])
def test_constant_features_are_all_inside(value):
    # With "<" all would be 0 (clovaai/generative-evaluation-prdc, issue 7).
    features = torch.full((1100, 64), value)
    found = precision_recall(features, features[:100], k=5)
    assert found == (1, 1, 1100 / 5, 1)


def test_common_shift_of_all_features_changes_nothing():
    real, fake = normal(200, 8, 0), normal(200, 8, 1) + 0.3
    moved = precision_recall(real + 1000, fake + 1000)
    assert moved == pytest.approx(precision_recall(real, fake), abs=0.01)


def test_neighbor_distance_does_not_count_the_feature_itself():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert neighbor_distance(line, 1).tolist() == [1, 1, 2, 4]
    assert neighbor_distance(line, 3).tolist() == [7, 6, 4, 7]


# --- which digits


@pytest.mark.parametrize("count", [1, 2, 10])
def test_entropy_and_kl_of_equal_shares(count):
    shares = torch.full((count,), 1 / count)
    assert entropy(shares) == pytest.approx(math.log(count), abs=1e-6)
    assert kl_to_uniform(shares) == pytest.approx(0, abs=1e-6)


def test_entropy_and_kl_of_one_class_among_ten():
    shares = torch.eye(10)[3]
    assert entropy(shares) == 0
    assert kl_to_uniform(shares) == pytest.approx(math.log(10))


def test_entropy_and_kl_of_a_quarter_and_three():
    shares = torch.tensor([0.25, 0.75])
    expected = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert entropy(shares) == pytest.approx(expected)
    direct = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert kl_to_uniform(shares) == pytest.approx(direct)


def test_class_balance_counts_the_verdicts(judge, unseen):
    digit, confidence = judge_verdicts(judge, unseen.images)
    found = class_balance(judge, unseen.images)
    counted = [(digit == i).sum().item() / 360 for i in range(10)]
    assert found.shares.tolist() == pytest.approx(counted)
    assert found.confidence == pytest.approx(confidence.mean().item())
    assert found.entropy == entropy(found.shares)
    assert found.kl_to_uniform == kl_to_uniform(found.shares)


def test_digits_that_nobody_drew_have_a_share_of_zero(judge, digits):
    found = class_balance(judge, digits.images[digits.labels < 2])
    assert found.shares.shape == (10,)
    assert found.shares[2:].sum() < 0.02


# --- nearest training images


def test_nearest_distance_is_the_brute_force(digits):
    images, train = digits.images[:600], digits.images[600:]
    direct = torch.cdist(images.flatten(1).double(), train.flatten(1).double())
    found = nearest_distance(images, train)
    torch.testing.assert_close(found.double(), direct.amin(1), rtol=1e-5, atol=1e-5)


def test_nearest_distance_of_copies_is_exactly_zero(digits):
    assert nearest_distance(digits.images[50:90], digits.images).max() == 0


def test_copies_are_found_out(digits, unseen):
    found = memorization(digits.images[:300], digits.images, unseen.images)
    assert (found.fake, found.ratio, found.share_near) == (0, 0, 1)
    assert found.held_out == nearest_distance(unseen.images, digits.images).mean()


def test_copies_with_a_little_noise_are_found_out(digits, unseen):
    noisy = (digits.images[:300] + 0.1 * noise(300, 0)).clamp(-1, 1)
    found = memorization(noisy, digits.images, unseen.images)
    assert found.ratio < 0.2
    assert found.share_near > 0.9


def test_real_images_that_were_held_out_are_no_copies(digits, unseen):
    one, two = unseen.images[::2], unseen.images[1::2]
    found = memorization(one, digits.images, two)
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.share_near < 0.05


def test_distance_in_blocks_keeps_memory_small():
    train = noise(3000, 0)
    with Peak() as peak:
        nearest_distance(noise(1100, 1), train)
    assert peak.bytes <= train.numel() * 4  # the images themselves, or 500 × 3000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(digits, unseen, dtype):
    sets = digits.images[:60], digits.images[60:], unseen.images[:60]
    found = memorization(*(images.to(dtype) for images in sets))
    assert found == pytest.approx(memorization(*sets), rel=0.02, abs=0.02)
    features = normal(40, 4, 0).to(dtype), normal(40, 4, 1).to(dtype)
    full = precision_recall(*(some.float() for some in features))
    assert precision_recall(*features) == pytest.approx(full, abs=0.1)


# --- worse is worse


def distances(judge, real, ladder):
    features = judge_features(judge, real)
    scores = [precision_recall(features, judge_features(judge, x)) for x in ladder]
    return (
        [frechet_distance(judge, real, fake) for fake in ladder],
        [kernel_distance(judge, real, fake, subsets=3).mean for fake in ladder],
        [-score.coverage for score in scores],
    )


def rises(numbers):
    return all(low < high for low, high in pairwise(numbers))


def test_numbers_get_worse_with_noise(judge, digits):
    real, others = digits.images[:700], digits.images[700:]
    ladder = [
        (others + level * noise(len(others), 0)).clamp(-1, 1)
        for level in (0, 0.6, 1.2, 1.8)
    ]
    for found in distances(judge, real, ladder):
        assert rises(found), found


def test_numbers_get_worse_with_blur(judge, digits):
    real, others = digits.images[:700], digits.images[700:]
    ladder = [
        avg_pool2d(others, size, 1, size // 2, count_include_pad=False)
        for size in (1, 3, 5, 7)
    ]
    for found in distances(judge, real, ladder):
        assert rises(found), found


def test_numbers_get_worse_with_every_digit_that_is_dropped(judge, digits):
    real, others = digits.images[:700], digits.images[700:]
    labels = digits.labels[700:]
    ladder = [others[labels < last] for last in range(10, 3, -1)]
    for found in distances(judge, real, ladder):
        assert rises(found), found
    balance = [class_balance(judge, fake) for fake in ladder]
    assert rises([found.kl_to_uniform for found in balance])
    assert rises([-found.entropy for found in balance])


# --- the table


@pytest.fixture(scope="module")
def drawn():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Generator(5).eval()


@pytest.fixture(scope="module")
def table(drawn, judge, digits, unseen):
    torch.rand(1)
    before = torch.get_rng_state()
    found = evaluate(
        drawn, judge=judge, train_images=digits.images, test_images=unseen.images
    )
    assert torch.equal(torch.get_rng_state(), before), "the global random state moved"
    return found


def test_rows_are_the_numbers_of_the_single_functions(
    table, drawn, judge, digits, unseen
):
    test, train = unseen.images, digits.images
    for column, images in (
        ("value", sample_images(drawn, 360, seed=0)),
        ("floor", train[:360]),
    ):
        features = [judge_features(judge, x) for x in (test, images)]
        near, wide = precision_recall(*features, k=3), precision_recall(*features, k=5)
        balance = class_balance(judge, images)
        copies = memorization(images, train, test)
        expected = {
            "Fréchet distance": frechet_distance(judge, test, images),
            "kernel distance": kernel_distance(judge, test, images).mean,
            "precision, k = 3": near.precision,
            "recall, k = 3": near.recall,
            "density, k = 5": wide.density,
            "coverage, k = 5": wide.coverage,
            "entropy of digits": balance.entropy,
            "KL to uniform": balance.kl_to_uniform,
            "confidence": balance.confidence,
            "nearest training image": copies.fake,
            "nearer than 99% of real": copies.share_near,
        }
        if column == "floor":  # training images would be copies of themselves
            expected["nearest training image"] = copies.held_out
            expected["nearer than 99% of real"] = 0.01
        else:
            assert table.shares == pytest.approx(balance.shares.tolist())
        found = {row.name: getattr(row, column) for row in table.rows}
        assert found == pytest.approx(expected, rel=1e-6)


def test_table_names_its_judge_and_its_size(table, judge):
    assert (table.count, table.judge_hash) == (360, judge.hash)
    assert table.judge_accuracy == judge.accuracy


def test_table_prints_every_row_under_its_columns(table, judge):
    lines = str(table).splitlines()
    assert len(lines) == len(table.rows) + 3
    assert lines[0].split() == ["samples", "real", "better"]
    for line, row in zip(lines[1:], table.rows, strict=False):
        assert line.startswith(row.name)
        assert line.endswith(f"  {row.better}")
        assert f"{row.value:.4g}  " in line
        assert f" {row.floor:.4g}  " in line
    assert max(map(len, lines)) <= 88
    assert lines[-1].startswith(f"360 samples; judge {judge.hash}, right on ")
    assert repr(table) == str(table)


def test_row_is_found_by_its_name(table):
    assert table["Fréchet distance"] is table.rows[0]
    with pytest.raises(ValueError, match=r"no row 'FID', expected one of Fréchet dis"):
        table["FID"]


def test_better_real_images_get_better_numbers_than_an_untrained_generator(table):
    for row in table.rows[:6]:
        assert (row.value > row.floor) == (row.better == "lower"), row


def test_table_depends_on_the_seed(table, drawn, judge, digits, unseen):
    sets = {"train_images": digits.images, "test_images": unseen.images}
    again, other = (evaluate(drawn, judge=judge, seed=s, **sets) for s in (0, 1))
    assert again == table
    assert other.rows[0] != table.rows[0]


def test_fewer_samples_than_test_images_set_the_size(judge, digits, unseen):
    found = evaluate_samples(
        digits.images[-100:],
        judge=judge,
        train_images=digits.images,
        test_images=unseen.images,
    )
    assert found.count == 100
    expected = frechet_distance(judge, unseen.images[:100], digits.images[:100])
    assert found["Fréchet distance"].floor == pytest.approx(expected)


def test_parzen_is_in_the_table_where_there_are_60000_training_images(
    judge, unseen, monkeypatch
):
    many = unseen.images[:77].repeat(780, 1, 1, 1)
    seen = []

    def watch(samples, validation, test):
        seen.append((samples, validation))
        return parzen_log_likelihood(samples, validation[:50], test)

    monkeypatch.setattr(evaluation, "parzen_log_likelihood", watch)
    sets = {"test_images": unseen.images[100:180], "judge": judge}
    samples = unseen.images[200:280]
    table = evaluate_samples(samples, train_images=many, **sets)
    expected = parzen_log_likelihood(samples, many[50_000:50_050], sets["test_images"])
    assert table["Parzen, nats"].value == expected.mean
    assert torch.equal(seen[0][1], many[50_000:60_000])
    assert torch.equal(seen[1][0], many[:80])
    with pytest.raises(ValueError, match="no row 'Parzen"):
        evaluate_samples(samples, train_images=many[:59_999], **sets)["Parzen, nats"]


def test_fewer_training_than_test_images_are_refused(judge, digits, unseen):
    sentence = "there are 300 training images, too few for a floor with 360 images"
    with pytest.raises(ValueError, match=sentence):
        evaluate_samples(
            unseen.images,
            judge=judge,
            train_images=digits.images[:300],
            test_images=unseen.images,
        )


def test_generator_that_draws_nan_is_refused(judge, digits, unseen):
    broken = Generator(5).requires_grad_(False)
    broken.net[-2].bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="samples hold NaN or infinite values"):
        evaluate(
            broken, judge=judge, train_images=digits.images, test_images=unseen.images
        )
