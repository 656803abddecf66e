"""Networks come back from disk as they were, or not at all."""

import dataclasses
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from ganlib import checkpoint, storage
from ganlib.checkpoint import load_networks, load_or_train, save_networks
from ganlib.conditional import ConditionalGenerator, ProjectionDiscriminator
from ganlib.judge import train_judge
from ganlib.models import Discriminator, Generator, new_networks
from ganlib.training import TrainConfig, train

TINY = TrainConfig(steps=3, batch_size=8, record_every=2)


@pytest.fixture
def pair():
    with torch.random.fork_rng(devices=[]):
        G, D = Generator(5, (1, 4, 4)), Discriminator((1, 4, 4))
        G(torch.randn(9, 5))  # so that BatchNorm has seen something
    return G, D


@pytest.fixture
def asked():
    """A conditional pair whose sizes are not the defaults."""
    with torch.random.fork_rng(devices=[]):
        G = ConditionalGenerator(5, (1, 4, 4), classes=3, size=2)
        return G, ProjectionDiscriminator((1, 4, 4), classes=3)


@pytest.fixture
def saved(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_networks(*pair, "~/folder/networks.safetensors")
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


def test_networks_come_back_bit_for_bit(pair, saved, unchanged_global_random_state):
    G, D = load_networks("~/folder/networks.safetensors")
    assert same((G, D), pair)
    assert (G.latent_dim, G.image_shape, D.image_shape) == (5, (1, 4, 4), (1, 4, 4))
    assert (G.training, D.training) == (False, False)
    assert list(saved.parent.iterdir()) == [saved]
    assert saved.stat().st_mode & 0o777 == 0o644


def test_networks_with_labels_come_back_too(asked, tmp_path, cache, tiny_images):
    save_networks(*asked, tmp_path / "asked.safetensors")
    assert same(load_networks(tmp_path / "asked.safetensors"), asked)
    labels = torch.arange(len(tiny_images)) % 3
    first, again, plain, other = (
        load_or_train(TINY, tiny_images, *which)
        for which in ((labels,), (labels,), (), (labels.flip(0),))
    )
    assert same(first, again)
    assert frozen(*first)
    assert (first[0].classes, type(plain[0])) == (3, Generator)
    assert not same(first, other)


def test_run_goes_on_from_networks_that_were_stored(saved, tiny_images):
    G, D = load_networks(saved)
    assert list(train(G, D, tiny_images, TINY))[-1].step == 3
    for found, stored in zip((G, D), load_networks(saved), strict=True):
        assert not same([found], [stored])


def test_compiled_networks_are_saved_as_what_they_were_made_from(pair, saved):
    save_networks(*map(torch.compile, pair), saved.with_stem("compiled"))
    assert same(load_networks(saved.with_stem("compiled")), pair)


def test_networks_that_could_not_come_back_are_not_saved(pair, asked, tmp_path):
    network, path = nn.Linear(2, 3), tmp_path / "network.pt"
    for networks in ((network, pair[1]), (pair[0], network), (asked[0], pair[1])):
        with pytest.raises(
            TypeError,
            match=r"(are a|and a) \w+.*, expected ganlib's Generator and Disc",
        ) as got:
            save_networks(*networks, path)
        assert not path.exists()
    fix = str(got.value).rpartition("write ")[2].removesuffix(" for each.")
    exec(fix)  # torch.save(…, path)
    network.load_state_dict(torch.load(path, weights_only=True))


# --- damage


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*G\.safetensors: .*save_net"):
        load_networks(tmp_path / "G.safetensors")


def test_flipped_bits_and_truncations_are_noticed(saved):
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
        with pytest.raises(ValueError, match=r"safetensors is damaged \(.+\): delete"):
            load_networks(saved)


def test_right_checksum_does_not_help_facts_that_do_not_fit(pair, saved):
    networks = nn.ModuleDict({"G": pair[0], "D": pair[1]})
    for facts in ({"latent_dim": 6, "image_shape": [1, 4, 4]}, {"accuracy": 0.9}, []):
        storage.write(saved, networks.state_dict(), facts)
        with pytest.raises(ValueError, match=r"is damaged \("):
            load_networks(saved)


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
        save_networks(*pair, saved)
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
    assert same(load_networks(path), first)


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
