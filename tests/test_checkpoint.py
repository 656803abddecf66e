"""Networks come back from disk as they were, or not at all."""

import dataclasses
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from ganlib import checkpoint
from ganlib.checkpoint import load_or_train, load_weights, save_weights
from ganlib.judge import train_judge
from ganlib.models import Generator, new_networks
from ganlib.training import TrainConfig, train

TINY = TrainConfig(steps=3, batch_size=8, record_every=2)


def new_pair():
    G, D = new_networks(3, (1, 4, 4))
    G(torch.randn(9, 100))  # so that BatchNorm has seen something
    return G, D


@pytest.fixture
def pair():
    with torch.random.fork_rng(devices=[]):
        return new_pair()


@pytest.fixture
def saved(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_weights("~/folder/networks.safetensors", G=pair[0], D=pair[1])
    return tmp_path / "folder" / "networks.safetensors"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GANLIB_CACHE", "~/cache")
    return tmp_path / "cache"


@pytest.fixture
def runs(monkeypatch):
    """Counts the calls of ``train`` and ``train_judge``, which are real."""
    counter = Mock(train=Mock(wraps=train), train_judge=Mock(wraps=train_judge))
    monkeypatch.setattr(checkpoint, "train", counter.train)
    monkeypatch.setattr(checkpoint, "train_judge", counter.train_judge)
    return counter


def same(first, second):
    """Whether two pairs of networks have the same weights and buffers, bit for bit."""
    first, second = ([n.state_dict() for n in pair] for pair in (first, second))
    return all(
        a.keys() == b.keys() and all(map(torch.equal, a.values(), b.values()))
        for a, b in zip(first, second, strict=True)
    )


def frozen(*networks):
    networks = nn.ModuleList(networks)
    trained = [layer.training for layer in list(networks.modules())[1:]]
    return not any(trained + [weight.requires_grad for weight in networks.parameters()])


# --- saving and loading


def test_networks_come_back_bit_for_bit(pair, saved):
    G, D = new_networks(4, (1, 4, 4))
    load_weights("~/folder/networks.safetensors", D=D, G=G)
    assert same((G, D), pair)
    assert list(saved.parent.iterdir()) == [saved]
    other = saved.with_name("other")
    other.write_text("")
    assert saved.stat().st_mode == other.stat().st_mode  # readable for others, too


def test_networks_with_labels_are_stored_too(cache, tiny_images):
    labels = torch.arange(len(tiny_images)) % 3
    first, again, plain, other = (
        load_or_train(TINY, tiny_images, *which)
        for which in ((labels,), (labels,), (), (labels.flip(0),))
    )
    assert same(first, again)
    assert frozen(*first)
    assert (first[0].classes, type(plain[0])) == (3, Generator)
    assert not same(first, other)


# --- damage


def test_file_that_is_not_there_is_named(pair, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"G\.safetensors"):
        load_weights(tmp_path / "G.safetensors", G=pair[0])


def test_weights_of_other_networks_are_refused(pair, saved):
    sentence = r"networks\.safetensors does not fit \(.*: load it into .* or delete it"
    with pytest.raises(ValueError, match=sentence):
        load_weights(saved, G=pair[1], D=pair[0])
    with pytest.raises(ValueError, match=sentence):
        load_weights(saved, G=pair[0])


def test_flipped_bits_and_truncations_are_noticed(pair, saved):
    whole = saved.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    # The length of the header, the header with facts and checksum, and the weights.
    places = [*range(8), *range(8, header, 29), *range(header, len(whole), 150_001), -1]
    contents = [whole[:length] for length in (0, 5, header, len(whole) - 1)]
    for place in places:
        contents.append(bytearray(whole))
        contents[-1][place] ^= 1
    for content in contents:
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=r"safetensors does not fit \(.+\): load"):
            load_weights(saved, G=pair[0], D=pair[1])


@pytest.mark.parametrize(
    ("call", "error"), [("fsync", OSError), ("replace", KeyboardInterrupt)]
)
def test_failed_save_leaves_the_old_file(pair, saved, monkeypatch, call, error):
    def fail(*_):
        raise error("disk full")

    before = saved.read_bytes()
    pair[0].net[0].weight.data.zero_()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(error, match="disk full"):
        save_weights(saved, G=pair[0], D=pair[1])
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


# --- load, or train


def test_networks_are_trained_once_and_loaded_from_then_on(
    cache, runs, tiny_images, capsys, unchanged_global_random_state
):
    first, second = (load_or_train(TINY, tiny_images) for _ in range(2))
    assert capsys.readouterr().out.splitlines() == [
        "Trained networks are not here yet: training them for 3 steps.",
        "Loaded the networks that were trained before.",
    ]
    assert runs.train.call_count == 1
    G, D = new_networks(TINY.seed, (1, 4, 4))
    *_, record = train(G, D, tiny_images, TINY)
    for found in (first, second):
        assert same(found, (record.averaged, D))
        assert frozen(*found)
    (path,) = (cache / "networks").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert same(load_or_train(TINY, tiny_images), first)
    assert "are damaged: training them" in capsys.readouterr().out
    G, D = new_networks(4, (1, 4, 4))
    load_weights(path, G=G, D=D)
    assert same((G, D), first)


def test_other_recipes_are_trained_again(cache, runs, tiny_images, monkeypatch):
    for _ in range(2):  # the second time, all three are there
        load_or_train(TINY, tiny_images)
        load_or_train(dataclasses.replace(TINY, ema_share=0.2), tiny_images)
        load_or_train(TINY, tiny_images.flip(0))
    assert runs.train.call_count == 3
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    load_or_train(TINY, tiny_images)
    assert runs.train.call_count == 4


def test_changed_code_changes_the_place_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("GANLIB_CACHE")
    monkeypatch.setattr(checkpoint.pooch, "os_cache", lambda name: tmp_path / name)
    names = ("conditional", "data", "judge", "latent", "losses", "models", "steps")
    names += ("training",)
    for name in names:
        shutil.copy(Path(checkpoint.__file__).with_name(f"{name}.py"), tmp_path)
    places = [checkpoint.cache_path("networks", TINY)]
    assert places[0].parent == tmp_path / "ganlib" / "networks"
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "checkpoint.py"))
    assert checkpoint.cache_path("networks", TINY) == places[0]
    for name in names:
        with (tmp_path / f"{name}.py").open("a") as file:
            file.write("\n")
        places.append(checkpoint.cache_path("networks", TINY))
        assert places[-1] not in places[:-1], name


def test_cache_that_cannot_be_written_loses_nothing(cache, runs, digits, capsys):
    cache.write_text("a file in the way")
    images, labels = digits.images[:20], digits.labels[:20]
    assert load_or_train(TINY, images)[0].image_shape == (1, 28, 28)
    assert checkpoint.load_or_train_judge(images, labels).accuracy >= 0
    assert capsys.readouterr().out.count("could not be stored for next time") == 2


def test_run_that_is_stopped_is_not_stored(cache, tiny_images, monkeypatch):
    def train_and_press_ctrl_c(G, D, images, config):
        def press_ctrl_c(*_):
            if G.net[3].num_batches_tracked == 2:  # in the second step
                raise KeyboardInterrupt

        D.register_forward_pre_hook(press_ctrl_c)
        return train(G, D, images, config)

    monkeypatch.setattr(checkpoint, "train", train_and_press_ctrl_c)
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        load_or_train(TINY, tiny_images)
    assert not cache.exists()


def test_judge_is_trained_once_and_loaded_from_then_on(cache, runs, digits):
    first, second, other = (
        checkpoint.load_or_train_judge(digits.images[:20], labels[:20])
        for labels in (digits.labels, digits.labels, digits.labels.flip(0))
    )
    assert runs.train_judge.call_count == 2
    assert first.hash == second.hash != other.hash
    assert first.accuracy == second.accuracy
    assert frozen(first, second)
    for path in (cache / "judges").iterdir():
        path.write_bytes(b"damaged")
    checkpoint.load_or_train_judge(digits.images[:20], digits.labels[:20])
    assert runs.train_judge.call_count == 3
