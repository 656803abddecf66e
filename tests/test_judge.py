"""The judge: right on digits it never saw, always the same, known by its hash."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganlib import judge as judge_module
from ganlib.judge import (
    Judge,
    judge_features,
    judge_verdicts,
    load_judge,
    load_or_train_judge,
    save_judge,
    train_judge,
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def saved(judge, cache):
    return save_judge(judge)


def noise(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 28, 28, generator=generator) - 0.5


def copy_of(judge):
    other = Judge()
    other.load_state_dict(judge.state_dict())
    other.accuracy = judge.accuracy
    return other.requires_grad_(False)


# --- the judge


def test_judge_recognizes_digits_that_it_never_saw(judge, unseen):
    right = judge(unseen.images).argmax(1) == unseen.labels
    assert right.float().mean() >= 0.93


def test_judge_knows_its_accuracy(judge, unseen):
    right = judge(unseen.images).argmax(1) == unseen.labels
    assert judge.accuracy == pytest.approx(right.float().mean().item(), abs=0.04)


def test_accuracy_is_measured_on_images_kept_back(digits):
    # Labels drawn by lot can be learned by heart, but not guessed for other images.
    lot = torch.randint(10, (100,), generator=torch.Generator().manual_seed(0))
    judge = train_judge(digits.images[:100], lot)
    assert judge.accuracy < 0.5


def test_small_sets_are_gone_through_until_400_steps(digits):
    steps = []
    hook = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    train_judge(digits.images[:100], digits.labels[:100])
    hook.remove()
    assert len(steps) >= 400


def test_judge_leaves_the_global_random_state_alone(
    digits, unchanged_global_random_state
):
    train_judge(digits.images[:40], digits.labels[:40])


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


# --- features


def test_features_are_the_judges_own(judge, unseen):
    found = judge_features(judge, unseen.images)
    torch.testing.assert_close(found, judge.features(unseen.images))


def test_features_cover_more_images_than_one_portion_and_carry_no_graph():
    found = judge_features(Judge(), noise(1001, 0))
    assert found.shape == (1001, 64)
    assert not found.requires_grad


# --- always in eval mode


@pytest.mark.parametrize("mode", [True, False])
def test_judge_stays_in_eval_mode_whatever_a_parent_does(mode):
    judge = Judge()
    parent = nn.Sequential(judge, nn.BatchNorm1d(10)).train(mode)
    assert parent[1].training == mode
    assert not any(module.training for module in judge.modules())


def test_judge_stays_in_eval_mode_when_asked_itself():
    judge = Judge()
    assert judge.train() is judge
    assert not any(module.training for module in judge.modules())


def test_batchnorm_in_a_judge_does_not_see_the_batch_in_a_training_parent():
    judge = Judge()
    judge.body.append(nn.BatchNorm1d(64))
    before = judge.body[-1].running_mean.clone()
    parent = nn.Sequential(judge).train()
    alone = judge.features(noise(1, 0))
    torch.testing.assert_close(judge.features(noise(5, 0))[:1], alone)
    parent(noise(5, 1))
    assert torch.equal(judge.body[-1].running_mean, before)


# --- the hash


def test_hash_is_twelve_hex_digits(judge):
    assert len(judge.hash) == 12
    assert int(judge.hash, 16) >= 0


def test_hash_is_the_same_for_the_same_weights(judge):
    assert copy_of(judge).hash == judge.hash


@pytest.mark.parametrize("name", Judge().state_dict())
def test_hash_changes_with_one_flipped_bit(judge, name):
    other = copy_of(judge)
    other.state_dict()[name].view(torch.int32).flatten()[-1] ^= 1
    assert other.hash != judge.hash


def test_hash_is_computed_when_it_is_asked_for(judge):
    other = copy_of(judge)
    assert other.hash == judge.hash
    other.head.bias[0] += 1
    assert other.hash != judge.hash


def test_hash_sees_which_name_has_which_values():
    one, two = Judge().requires_grad_(False), Judge().requires_grad_(False)
    for judge in (one, two):
        for values in judge.state_dict().values():
            values.zero_()
    one.body[0].bias[0], two.body[2].bias[0] = 1, 1
    assert one.hash != two.hash


def test_hash_sees_the_names_alone():
    one, two = Judge(), Judge()
    two.load_state_dict(one.state_dict())
    one.register_buffer("a", torch.zeros(3))
    two.register_buffer("b", torch.zeros(3))
    assert one.hash != two.hash


def test_hash_does_not_depend_on_accuracy_or_mode(judge):
    other = copy_of(judge)
    other.accuracy = 0.5
    assert other.train().hash == judge.hash


# --- on disk


def test_judge_is_saved_under_its_hash_in_the_cache(judge, saved, cache):
    assert saved == cache / "judges" / f"{judge.hash}.safetensors"
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_judge_is_saved_where_you_want_it(judge, tmp_path):
    path = save_judge(judge, tmp_path / "mine")
    assert path == tmp_path / "mine" / f"{judge.hash}.safetensors"
    assert load_judge(str(path)).hash == judge.hash


def test_judge_comes_back_by_its_hash(judge, saved, unseen):
    found = load_judge(judge.hash)
    assert torch.equal(found(unseen.images), judge(unseen.images))
    assert (found.accuracy, found.hash) == (judge.accuracy, judge.hash)
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_judge_without_an_accuracy_comes_back_without_one(cache):
    assert np.isnan(load_judge(save_judge(Judge())).accuracy)


def test_file_can_be_read_by_safetensors_alone(judge, saved):
    with safe_open(saved, "pt") as file:
        assert float(file.metadata()["accuracy"]) == judge.accuracy
    assert torch.equal(load_file(saved)["head.bias"], judge.head.bias)


def test_disk_leaves_the_global_random_state_alone(
    judge, cache, unchanged_global_random_state
):
    load_judge(save_judge(judge))


def test_judge_that_is_not_there_is_named(cache):
    with pytest.raises(FileNotFoundError, match=r"no judge in .*0123456789ab.*save_ju"):
        load_judge("0123456789ab")


@pytest.mark.parametrize("position", [9, 200, 700, 0.3, 0.9, -1])
def test_one_flipped_bit_is_noticed(saved, position):
    content = bytearray(saved.read_bytes())
    position = int(position * len(content)) if 0 < position < 1 else position
    content[position] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged \(.*train_judge\(images, labels"):
        load_judge(saved)


def test_flipped_digit_of_the_accuracy_is_noticed(judge, saved):
    written = saved.read_bytes()
    accuracy = repr(judge.accuracy).encode()
    assert written.count(accuracy) == 1
    saved.write_bytes(written.replace(accuracy, accuracy[:-1] + b"5"))
    with pytest.raises(ValueError, match="is damaged"):
        load_judge(saved)


@pytest.mark.parametrize("length", [0, 5, 1000, -1])
def test_truncated_file_is_noticed(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match="is damaged"):
        load_judge(saved)


def test_weights_of_something_else_are_noticed(saved):
    save_file({"head.bias": torch.zeros(10)}, saved)
    with pytest.raises(ValueError, match="is damaged"):
        load_judge(saved)


def test_judge_under_the_name_of_another_is_noticed(judge, saved):
    other = saved.rename(saved.with_stem("0123456789ab"))
    sentence = f"holds the judge {judge.hash}, expected 0123456789ab"
    with pytest.raises(ValueError, match=sentence):
        load_judge(other)


def test_interrupted_save_leaves_no_file(judge, cache, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_judge(judge)
    assert list((cache / "judges").iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda j: j.head.bias.fill_(torch.nan), "judge holds NaN or infinite weights"),
        (lambda j: j.body.append(nn.Linear(64, 64)), "Judge with other layers"),
    ],
)
def test_judge_that_could_not_come_back_is_not_saved(judge, cache, spoil, sentence):
    other = copy_of(judge)
    spoil(other)
    with pytest.raises((TypeError, ValueError), match=sentence):
        save_judge(other)
    assert not cache.exists()


# --- load_or_train_judge


@pytest.fixture
def trainings(monkeypatch):
    """A list that gets an entry for each training; nothing is trained."""
    begun = []

    def no_training(*arguments):
        begun.append(arguments)
        judge = Judge().requires_grad_(False)
        judge.accuracy = 0.985
        return judge

    monkeypatch.setattr(judge_module, "train_judge", no_training)
    return begun


def test_judge_is_trained_once_and_loaded_from_then_on(
    cache, trainings, digits, capsys
):
    first = load_or_train_judge(digits.images, digits.labels)
    again = load_or_train_judge(digits.images, digits.labels)
    assert (len(trainings), first.hash) == (1, again.hash)
    accuracy = "right on 98.5% of images that it never saw."
    assert capsys.readouterr().out.splitlines() == [
        f"Trained the judge {first.hash}, {accuracy}",
        f"Loaded the judge {first.hash}, {accuracy}",
    ]


def test_other_images_labels_or_versions_get_another_judge(
    cache, trainings, digits, monkeypatch
):
    images, labels = digits.images[:30], digits.labels[:30]
    changed = images.clone()
    changed[3, 0, 4, 5] += 0.5
    load_or_train_judge(images, labels)
    load_or_train_judge(changed, labels)
    load_or_train_judge(images, labels.flip(0))
    monkeypatch.setattr(judge_module, "__version__", "99")
    load_or_train_judge(images, labels)
    assert len(trainings) == 4


def test_damaged_judge_is_trained_anew(cache, trainings, digits):
    first = load_or_train_judge(digits.images, digits.labels)
    save_judge(first).write_bytes(b"damaged")
    load_or_train_judge(digits.images, digits.labels)
    assert len(trainings) == 2


def test_note_that_is_garbage_does_no_harm(cache, trainings, digits):
    load_or_train_judge(digits.images, digits.labels)
    (note,) = (cache / "judges").glob("*.txt")
    for garbage in (b"", b"../../x", b"\xff\xfe"):
        note.write_bytes(garbage)
        load_or_train_judge(digits.images, digits.labels)
    assert len(trainings) == 4


def test_cache_that_cannot_be_written_does_not_lose_the_judge(
    tmp_path, trainings, digits, monkeypatch, capsys
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANLIB_CACHE", str(tmp_path / "file"))
    assert load_or_train_judge(digits.images, digits.labels).accuracy == 0.985
    assert "could not be stored for next time" in capsys.readouterr().out


def test_judge_comes_from_a_real_training(cache, digits):
    found = load_or_train_judge(digits.images[:40], digits.labels[:40])
    assert found.hash == train_judge(digits.images[:40], digits.labels[:40]).hash
