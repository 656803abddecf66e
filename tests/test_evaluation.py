"""The judge on digits it never saw, and the Fréchet distance against its formula."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganlib.data import load_images
from ganlib.evaluation import Judge, frechet_distance, judge_verdicts, train_judge


@pytest.fixture(scope="module")
def trained(digits):
    """A judge, and whether it left the global random state as it was."""
    torch.rand(1)  # away from where a test before may have left it
    before = torch.get_rng_state()
    judge = train_judge(digits.images, digits.labels)
    return judge, torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def judge(trained):
    return trained[0]


@pytest.fixture(scope="module")
def unseen():
    return load_images("digits", "test")


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


def closed_form(judge, real, fake):
    """Heusel et al. 2017 in NumPy and SciPy, written down as it stands."""
    real, fake = (judge.features(x).double().numpy() for x in (real, fake))
    # Some features of a judge are always 0; SciPy's root wants full rank.
    alive = (real.std(0) > 0) & (fake.std(0) > 0)
    cov_real, cov_fake = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    shift = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    root = sqrtm(cov_real[alive][:, alive] @ cov_fake[alive][:, alive]).real
    return shift + np.trace(cov_real) + np.trace(cov_fake) - 2 * np.trace(root)


# --- the judge


def test_judge_recognizes_digits_that_it_never_saw(judge, unseen):
    right = judge(unseen.images).argmax(1) == unseen.labels
    assert right.float().mean() >= 0.93


def test_judge_knows_its_accuracy(judge, unseen):
    right = judge(unseen.images).argmax(1) == unseen.labels
    assert judge.accuracy == pytest.approx(right.float().mean().item(), abs=0.04)


def test_accuracy_is_measured_on_images_kept_back(digits):
    # Labels drawn by lot can be learned by heart, but not guessed for other images.
    lot = torch.randint(10, (300,), generator=torch.Generator().manual_seed(0))
    judge = train_judge(digits.images[:300], lot)
    assert judge.accuracy < 0.5


def test_small_sets_are_gone_through_until_400_steps(digits):
    steps = []
    hook = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    train_judge(digits.images[:100], digits.labels[:100])
    hook.remove()
    assert len(steps) >= 400


def test_judge_leaves_the_global_random_state_alone(trained):
    assert trained[1]


def test_judge_is_ready_to_judge(judge):
    assert not judge.training
    assert not any(parameter.requires_grad for parameter in judge.parameters())


def test_judge_is_the_same_for_the_same_seed(digits):
    images, labels = digits.images[:100], digits.labels[:100]
    one = train_judge(images, labels, seed=3).head.weight
    torch.rand(1)  # the global random state plays no part
    two = train_judge(images, labels, seed=3).head.weight
    assert torch.equal(one, two)


def test_judge_has_features_and_logits(judge, unseen):
    features, logits = judge.features(unseen.images), judge(unseen.images)
    assert (features.shape, logits.shape) == ((360, 64), (360, 10))
    torch.testing.assert_close(judge.head(features), logits)


def test_untrained_judge_does_not_claim_an_accuracy():
    assert np.isnan(Judge().accuracy)


def test_judge_refuses_labels_that_do_not_fit(digits):
    with pytest.raises(ValueError, match=r"shape \(9,\) on cpu, expected \(1437,\)"):
        train_judge(digits.images, digits.labels[:9])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda labels: labels.float(), r"torch.float32.*expected an int64 .*\.long"),
        (lambda labels: labels + 1, r"from 1 to 10, expected int64 .*labels - labels"),
        (lambda labels: labels - 1, "from -1 to 8, expected int64"),
    ],
)
def test_judge_refuses_labels_that_are_no_digits(digits, change, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        train_judge(digits.images, change(digits.labels))


@pytest.mark.parametrize("count", [1, 19])
def test_judge_refuses_too_few_images(digits, count):
    with pytest.raises(ValueError, match=f"there are {count} images, too few to train"):
        train_judge(digits.images[:count], digits.labels[:count])


def test_judge_refuses_images_that_do_not_fit(digits):
    with pytest.raises(ValueError, match="14×14 pixels"):
        train_judge(digits.images[:, :, ::2, ::2], digits.labels)


# --- verdicts


def test_verdicts_are_one_digit_and_one_confidence_for_each_image(judge, unseen):
    digit, confidence = judge_verdicts(judge, unseen.images)
    assert (digit.shape, confidence.shape) == ((360,), (360,))
    assert (digit.dtype, confidence.dtype) == (torch.int64, torch.float32)


def test_verdicts_are_the_largest_softmax_probabilities(judge, unseen):
    digit, confidence = judge_verdicts(judge, unseen.images)
    logits = judge(unseen.images)
    largest = logits.exp().max(1)
    torch.testing.assert_close(confidence, largest.values / logits.exp().sum(1))
    assert torch.equal(digit, largest.indices)


def test_verdicts_cover_more_images_than_one_portion(judge):
    digit, _ = judge_verdicts(judge, noise(1001, 0))
    assert digit.shape == (1001,)


def test_verdicts_carry_no_graph(judge, unseen):
    assert not judge_verdicts(Judge(), unseen.images)[1].requires_grad


def test_confidence_in_noise_is_lower_than_in_digits(judge, unseen):
    _, sure = judge_verdicts(judge, unseen.images)
    _, unsure = judge_verdicts(judge, noise(360, 0))
    assert unsure.mean() < sure.mean() - 0.1


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
