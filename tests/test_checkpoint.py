"""Generators come back from disk as they were, or not at all."""

import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import load_file

from ganlib import checkpoint
from ganlib.checkpoint import (
    generator_path,
    load_generator,
    load_or_train,
    new_networks,
    save_generator,
)
from ganlib.models import Generator
from ganlib.training import TrainConfig, train

TINY = TrainConfig(steps=3, batch_size=8, record_every=2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "generator.safetensors"


@pytest.fixture
def G():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G = Generator(5, (1, 4, 4))
        G(torch.randn(9, 5))  # so that BatchNorm has seen something
    return G


@pytest.fixture
def saved(G, path):
    save_generator(G, path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def trainings(monkeypatch):
    """A list that gets an entry for each training that ``load_or_train`` begins."""
    begun = []

    def counting_train(*arguments):
        begun.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(checkpoint, "train", counting_train)
    return begun


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


# --- saving and loading


def test_generator_comes_back_bit_for_bit(G, saved):
    assert same(load_generator(saved), G)


def test_generator_comes_back_with_its_sizes(saved):
    G = load_generator(saved)
    assert (G.latent_dim, G.image_shape) == (5, (1, 4, 4))


def test_generator_comes_back_in_eval_mode(G, saved):
    assert G.training
    assert not any(module.training for module in load_generator(saved).modules())


def test_generator_comes_back_without_gradients(saved):
    assert not any(p.requires_grad for p in load_generator(saved).parameters())


def test_generator_draws_the_same_images_again(G, saved):
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_generator(saved)(z), G.eval()(z))


def test_weights_can_be_read_by_safetensors_alone(G, saved):
    assert torch.equal(load_file(saved)["net.0.weight"], G.net[0].weight)


def test_saving_twice_keeps_the_second(G, saved):
    with torch.no_grad():
        G.net[0].weight.zero_()
    save_generator(G, saved)
    assert same(load_generator(saved), G)


def test_saving_leaves_two_files_and_no_more(saved):
    names = sorted(path.name for path in saved.parent.iterdir())
    assert names == ["generator.json", "generator.safetensors"]


def test_path_may_be_a_string(G, path):
    save_generator(G, str(path))
    assert same(load_generator(str(path)), G)


@pytest.mark.parametrize("name", ["generator", "generator.pt"])
def test_other_endings_are_refused(G, tmp_path, name):
    with pytest.raises(ValueError, match=r'write "generator\.safetensors"'):
        save_generator(G, tmp_path / name)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.safetensors"):
        load_generator(tmp_path / name)


# --- damage


def test_file_that_is_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"generator\.safetensors: save a"):
        load_generator(path)


def test_missing_sizes_are_named(saved):
    saved.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*generator\.json"):
        load_generator(saved)


@pytest.mark.parametrize("position", [0, 8, 500, -1])
def test_one_flipped_bit_is_noticed(saved, position):
    content = bytearray(saved.read_bytes())
    content[position] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged \(the checksum is wrong\)"):
        load_generator(saved)


@pytest.mark.parametrize("length", [0, 100, -1])
def test_truncated_file_is_noticed(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match="delete both and save the generator again"):
        load_generator(saved)


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b"{}", b'"text"', b"\xff\xfe"]
)
def test_sizes_that_are_garbage_are_noticed(saved, garbage):
    saved.with_suffix(".json").write_bytes(garbage)
    with pytest.raises(ValueError, match=r"is damaged \("):
        load_generator(saved)


@pytest.mark.parametrize(
    ("name", "value"), [("latent_dim", 6), ("latent_dim", "x"), ("image_shape", None)]
)
def test_sizes_that_do_not_fit_the_weights_are_noticed(saved, name, value):
    facts = json.loads(saved.with_suffix(".json").read_text())
    saved.with_suffix(".json").write_text(json.dumps(facts | {name: value}))
    with pytest.raises(ValueError, match=r"is damaged \("):
        load_generator(saved)


def fail(*args, **kwargs):
    raise OSError("disk full")


@pytest.mark.parametrize("call", ["replace", "fsync", "fdopen"])
def test_interrupted_save_leaves_no_file(G, path, monkeypatch, call):
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        save_generator(G, path)
    assert list(path.parent.iterdir()) == []


def test_interrupted_save_keeps_the_generator_of_before(G, saved, monkeypatch):
    before = load_generator(saved)
    with torch.no_grad():
        G.net[0].weight.zero_()
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_generator(G, saved)
    assert same(load_generator(saved), before)


def test_save_that_stops_between_its_two_files_is_noticed(G, saved, monkeypatch):
    replace = os.replace
    with torch.no_grad():
        G.net[0].weight.zero_()
    monkeypatch.setattr(
        os, "replace", lambda a, b: fail() if b.suffix == ".json" else replace(a, b)
    )
    with pytest.raises(OSError, match="disk full"):
        save_generator(G, saved)
    with pytest.raises(ValueError, match="checksum"):
        load_generator(saved)


# --- first weights


def test_new_networks_depend_on_the_seed_alone():
    first, again = new_networks(TINY)[0], new_networks(TINY)[0]
    other = new_networks(dataclasses.replace(TINY, seed=1))[0]
    assert same(first, again)
    assert not same(first, other)


def test_new_networks_fit_the_images():
    G, D = new_networks(TINY, (3, 8, 8))
    assert D(G(torch.zeros(2, 100))).shape == (2,)
    assert G.image_shape == D.image_shape == (3, 8, 8)


def test_new_networks_start_from_orthogonal_weights():
    for network in new_networks(TINY):
        weight = next(p for p in network.parameters() if p.ndim == 2)
        short = weight if weight.shape[0] < weight.shape[1] else weight.T
        product = short @ short.T
        torch.testing.assert_close(product, torch.eye(len(short)), atol=1e-4, rtol=0)


def test_new_networks_leave_the_global_random_state_alone(
    unchanged_global_random_state,
):
    new_networks(TINY)


# --- the place in the cache


def test_same_recipe_and_images_have_the_same_place(tiny_images):
    assert generator_path(TINY, tiny_images) == generator_path(
        TINY, tiny_images.clone()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 4},
        {"batch_size": 9},
        {"lr_g": 2e-3},
        {"lr_d": 2e-3},
        {"betas": (0.5, 0.999)},
        {"ema_share": 0.5},
        {"record_every": 1},
        {"seed": 1},
    ],
)
def test_every_setting_changes_the_place(tiny_images, change):
    other = dataclasses.replace(TINY, **change)
    assert generator_path(other, tiny_images) != generator_path(TINY, tiny_images)


def test_every_setting_was_tried():
    assert len(dataclasses.fields(TrainConfig)) == 8  # in the list above


def test_one_changed_pixel_changes_the_place(tiny_images):
    other = tiny_images.clone()
    other[3, 0, 2, 1] += 1e-6
    assert generator_path(TINY, other) != generator_path(TINY, tiny_images)


def test_other_shape_of_the_same_pixels_changes_the_place(tiny_images):
    other = tiny_images.view(50, 1, 2, 8)
    assert generator_path(TINY, other) != generator_path(TINY, tiny_images)


def test_cache_lies_where_the_environment_variable_says(cache, tiny_images):
    assert generator_path(TINY, tiny_images).parent == cache / "generators"


def test_cache_lies_in_the_cache_folder_by_default(tiny_images, monkeypatch, tmp_path):
    monkeypatch.delenv("GANLIB_CACHE")
    monkeypatch.setattr(checkpoint.pooch, "os_cache", lambda name: tmp_path / name)
    assert (
        generator_path(TINY, tiny_images).parent == tmp_path / "ganlib" / "generators"
    )


# --- load, or train


def test_trains_once_and_loads_from_then_on(cache, trainings, tiny_images):
    first = load_or_train(TINY, tiny_images)
    second = load_or_train(TINY, tiny_images)
    assert len(trainings) == 1
    assert same(first, second)


def test_says_which_it_was(cache, tiny_images, capsys):
    load_or_train(TINY, tiny_images)
    assert capsys.readouterr().out.startswith("No trained generator here yet: training")
    load_or_train(TINY, tiny_images)
    expected = "Loaded the generator that was trained before.\n"
    assert capsys.readouterr().out == expected


def test_result_is_the_average_of_the_training(cache, tiny_images):
    found = load_or_train(TINY, tiny_images)
    *_, last = train(*new_networks(TINY, (1, 4, 4)), tiny_images, TINY)
    assert same(found, last.averaged)


def test_result_is_in_eval_mode_both_times(cache, tiny_images):
    both = [load_or_train(TINY, tiny_images) for _ in range(2)]
    assert not any(module.training for G in both for module in G.modules())


def test_other_recipe_is_trained_anew(cache, trainings, tiny_images):
    load_or_train(TINY, tiny_images)
    load_or_train(dataclasses.replace(TINY, seed=1), tiny_images)
    assert len(trainings) == 2


def test_damaged_generator_is_trained_anew(cache, trainings, tiny_images, capsys):
    first = load_or_train(TINY, tiny_images)
    path = generator_path(TINY, tiny_images)
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    again = load_or_train(TINY, tiny_images)
    assert "damaged: training one" in capsys.readouterr().out
    assert len(trainings) == 2
    assert same(first, again)
    assert same(load_generator(path), first)


def test_cache_that_cannot_be_written_does_not_lose_the_result(
    cache, tiny_images, capsys
):
    cache.write_text("a file in the way")
    G = load_or_train(TINY, tiny_images)
    assert "The generator could not be stored for next time" in capsys.readouterr().out
    assert G(torch.zeros(2, 100)).shape == (2, 1, 4, 4)


def test_stopped_training_is_not_stored(cache, tiny_images, monkeypatch):
    def train_and_press_ctrl_c(G, D, images, config):
        D.register_forward_pre_hook(lambda *_: G.interrupt())
        counter = iter(range(4))

        def interrupt():
            if next(counter) == 3:  # after one step
                raise KeyboardInterrupt

        G.interrupt = interrupt
        return train(G, D, images, config)

    monkeypatch.setattr(checkpoint, "train", train_and_press_ctrl_c)
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        load_or_train(TINY, tiny_images)
    assert not cache.exists()


def test_images_that_do_not_fit_are_refused(cache, tiny_images):
    with pytest.raises(TypeError, match=r"float64.*images\.float\(\)"):
        load_or_train(TINY, tiny_images.double())
    with pytest.raises(ValueError, match=r"looks like \[0, 1\]"):
        load_or_train(TINY, (tiny_images + 1) / 2)
