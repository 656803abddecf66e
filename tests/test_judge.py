"""The judge: right on digits it never saw, always the same, known by its hash."""

import copy
import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganlib import judge as judge_module
from ganlib.judge import Judge, judge_features, judge_predictions, train_judge


def test_judge_recognizes_digits_that_it_never_saw(judge, unseen):
    right = judge(unseen.images).argmax(1) == unseen.labels
    accuracy = right.float().mean().item()
    assert accuracy >= 0.93
    assert judge.accuracy == pytest.approx(accuracy, abs=0.04)
    assert math.isnan(Judge().accuracy)  # not trained
    assert not judge.training
    assert not any(weight.requires_grad for weight in judge.parameters())


def test_held_out_images_are_not_trained_on(digits):
    # Labels drawn at random can be learned by heart, but not guessed.
    labels = torch.randint(10, (100,), generator=torch.Generator().manual_seed(0))
    judge = train_judge(digits.images[:100], labels)
    right = judge(digits.images[:100]).argmax(1) == labels
    assert right.sum() >= 85  # nearly all of the 90 that it learned
    assert judge.accuracy < 0.5


def test_seed_alone_decides_and_the_rate_falls(digits, unchanged_global_random_state):
    rates = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    first, again, other = (
        train_judge(digits.images[:40], digits.labels[:40], seed=s) for s in (3, 3, 4)
    )
    hook.remove()
    assert first.hash == again.hash != other.hash
    # 36 images, up to 32 a batch: 2 steps an epoch
    expected = [4e-3 * (1 - epoch / 356) for epoch in range(356) for _ in range(2)]
    assert rates[:712] == expected


@pytest.mark.parametrize(
    ("count", "passed"),
    [(40, (36, 32, 356)), (12_100, (10_890, 54, 2)), (60_000, (54_000, 256, 2))],
)
def test_there_are_400_steps_for_sets_of_any_size(monkeypatch, digits, count, passed):
    asked = []

    def no_batches(used, batch_size, *, generator):
        asked.append((used, batch_size))
        return []

    monkeypatch.setattr(judge_module, "batch_indices", no_batches)
    train_judge(digits.images[:1].expand(count, -1, -1, -1), torch.zeros(count).long())
    assert (*asked[0], len(asked)) == passed


def test_hash_is_known_by_every_weight(judge):
    assert len(judge.hash) == 12
    assert int(judge.hash, 16) > 0
    for name in judge.state_dict():
        other = copy.deepcopy(judge)
        assert other.hash == judge.hash
        other.state_dict()[name].view(torch.int32).flatten()[-1] ^= 1
        assert other.hash != judge.hash, name


def test_features_and_predictions_of_many_images_in_another_precision(judge):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2001, 1, 28, 28, generator=generator) - 0.5
    judge = copy.deepcopy(judge).double().requires_grad_(True)
    features = judge_features(judge, images)
    digit, confidence = judge_predictions(judge, images)
    logits = judge(images.double())
    assert features.shape == (2001, 64)
    torch.testing.assert_close(judge.head(features), logits)
    shares = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(confidence, shares.amax(1).detach())
    assert torch.equal(digit, logits.argmax(1))
    assert not features.requires_grad


def test_judge_refuses_images_that_do_not_fit(judge, unseen):
    with pytest.raises(ValueError, match=r"\(360, 28, 28\).*images\.view\(-1, 1"):
        judge(unseen.images.squeeze(1))
