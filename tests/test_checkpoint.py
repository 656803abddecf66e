"""Networks come back from disk as they were, or not at all."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganlib import checkpoint, storage
from ganlib.checkpoint import (
    load_networks,
    load_or_train,
    networks_path,
    new_networks,
    save_networks,
)
from ganlib.models import Discriminator, Generator
from ganlib.training import TrainConfig, train

TINY = TrainConfig(steps=3, batch_size=8, record_every=2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "networks.safetensors"


@pytest.fixture
def pair():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = Generator(5, (1, 4, 4)), Discriminator((1, 4, 4))
        G(torch.randn(9, 5))  # so that BatchNorm has seen something
    return G, D


@pytest.fixture
def saved(pair, path):
    save_networks(*pair, path)
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
    """Tell whether two pairs of networks have the same weights, bit for bit."""
    states = [[network.state_dict() for network in pair] for pair in (first, second)]
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(*states, strict=True)
    )


# --- saving and loading


def test_networks_come_back_bit_for_bit(pair, saved):
    assert same(load_networks(saved), pair)


def test_networks_come_back_with_their_sizes(saved):
    G, D = load_networks(saved)
    assert (G.latent_dim, G.image_shape, D.image_shape) == (5, (1, 4, 4), (1, 4, 4))


def test_networks_come_back_in_eval_mode_and_without_gradients(pair, saved):
    assert all(network.training for network in pair)
    for network in load_networks(saved):
        assert not any(module.training for module in network.modules())
        assert not any(p.requires_grad for p in network.parameters())


def test_networks_do_the_same_again(pair, saved):
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    (G, D), (loaded_G, loaded_D) = pair, load_networks(saved)
    assert torch.equal(loaded_G(z), G.eval()(z))
    assert torch.equal(loaded_D(G(z)), D(G(z)))


def test_loading_leaves_the_global_random_state_alone(
    saved, unchanged_global_random_state
):
    load_networks(saved)


def test_weights_can_be_read_by_safetensors_alone(pair, saved):
    weights = load_file(saved)
    assert torch.equal(weights["G.net.0.weight"], pair[0].net[0].weight)
    assert torch.equal(weights["D.net.1.weight"], pair[1].net[1].weight)


def test_saving_twice_keeps_the_second(pair, saved):
    blank(pair)
    save_networks(*pair, saved)
    assert same(load_networks(saved), pair)


def blank(pair):
    with torch.no_grad():
        pair[0].net[0].weight.zero_()


def test_saving_leaves_two_files_and_no_more(saved):
    names = sorted(path.name for path in saved.parent.iterdir())
    assert names == ["networks.json", "networks.safetensors"]


def test_path_may_be_a_string(pair, path):
    save_networks(*pair, str(path))
    assert same(load_networks(str(path)), pair)


@pytest.mark.parametrize("name", ["networks", "networks.pt"])
def test_other_endings_are_refused(pair, tmp_path, name):
    with pytest.raises(ValueError, match=r'write "networks\.safetensors"'):
        save_networks(*pair, tmp_path / name)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.safetensors"):
        load_networks(tmp_path / name)


def test_networks_that_do_not_fit_are_not_saved(pair, path):
    other = Discriminator((1, 8, 8))
    with pytest.raises(ValueError, match=r"\(1, 4, 4\), which G draws: pass Discrim"):
        save_networks(pair[0], other, path)
    assert not path.parent.exists()


@pytest.mark.parametrize("which", [0, 1])
def test_networks_with_other_layers_are_not_saved(pair, path, which, tiny_networks):
    networks = list(pair)
    networks[which] = tiny_networks()[which]
    with pytest.raises(
        TypeError, match=r"other layers, expected ganlib's .*torch.save"
    ):
        save_networks(*networks, path)


@pytest.mark.parametrize("which", [0, 1])
def test_networks_that_diverged_are_not_saved(pair, path, which):
    with torch.no_grad():
        next(pair[which].parameters())[0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinite weights.*lower lr"):
        save_networks(*pair, path)


# --- damage


def test_file_that_is_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"networks\.safetensors: save the"):
        load_networks(path)


def test_missing_sizes_are_named(saved):
    saved.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*networks\.json"):
        load_networks(saved)


@pytest.mark.parametrize("position", [0, 8, 500, -1])
def test_one_flipped_bit_is_noticed(saved, position):
    content = bytearray(saved.read_bytes())
    content[position] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged \(the checksum is wrong\)"):
        load_networks(saved)


@pytest.mark.parametrize("length", [0, 100, -1])
def test_truncated_file_is_noticed(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match="delete both and save the networks again"):
        load_networks(saved)


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b"{}", b'"text"', b"\xff\xfe"]
)
def test_sizes_that_are_garbage_are_noticed(saved, garbage):
    saved.with_suffix(".json").write_bytes(garbage)
    with pytest.raises(ValueError, match=r"is damaged \("):
        load_networks(saved)


@pytest.mark.parametrize(
    ("name", "value"), [("latent_dim", 6), ("latent_dim", "x"), ("image_shape", None)]
)
def test_sizes_that_do_not_fit_the_weights_are_noticed(saved, name, value):
    facts = json.loads(saved.with_suffix(".json").read_text())
    saved.with_suffix(".json").write_text(json.dumps(facts | {name: value}))
    with pytest.raises(ValueError, match=r"is damaged \("):
        load_networks(saved)


def fail(*args, **kwargs):
    raise OSError("disk full")


@pytest.mark.parametrize("call", ["replace", "fsync", "fdopen"])
def test_interrupted_save_leaves_no_file(pair, path, monkeypatch, call):
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        save_networks(*pair, path)
    assert list(path.parent.iterdir()) == []


def test_interrupted_save_keeps_the_generator_of_before(pair, saved, monkeypatch):
    before = load_networks(saved)
    blank(pair)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_networks(*pair, saved)
    assert same(load_networks(saved), before)


def test_save_that_stops_between_its_two_files_is_noticed(pair, saved, monkeypatch):
    replace = os.replace
    blank(pair)
    monkeypatch.setattr(
        os, "replace", lambda a, b: fail() if b.suffix == ".json" else replace(a, b)
    )
    with pytest.raises(OSError, match="disk full"):
        save_networks(*pair, saved)
    with pytest.raises(ValueError, match="checksum"):
        load_networks(saved)


# --- first weights


def test_new_networks_depend_on_the_seed_alone():
    first, again = new_networks(TINY), new_networks(TINY)
    other = new_networks(dataclasses.replace(TINY, seed=1))
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
    assert networks_path(TINY, tiny_images) == networks_path(TINY, tiny_images.clone())


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
    assert networks_path(other, tiny_images) != networks_path(TINY, tiny_images)


def test_every_setting_was_tried():
    assert len(dataclasses.fields(TrainConfig)) == 8  # in the list above


def test_one_changed_pixel_changes_the_place(tiny_images):
    other = tiny_images.clone()
    other[3, 0, 2, 1] += 1e-6
    assert networks_path(TINY, other) != networks_path(TINY, tiny_images)


def test_other_shape_of_the_same_pixels_changes_the_place(tiny_images):
    other = tiny_images.view(50, 1, 2, 8)
    assert networks_path(TINY, other) != networks_path(TINY, tiny_images)


def test_cache_lies_where_the_environment_variable_says(cache, tiny_images):
    assert networks_path(TINY, tiny_images).parent == cache / "networks"


def test_cache_lies_in_the_cache_folder_by_default(tiny_images, monkeypatch, tmp_path):
    monkeypatch.delenv("GANLIB_CACHE")
    monkeypatch.setattr(storage.pooch, "os_cache", lambda name: tmp_path / name)
    assert networks_path(TINY, tiny_images).parent == tmp_path / "ganlib" / "networks"


# --- load, or train


def test_trains_once_and_loads_from_then_on(cache, trainings, tiny_images):
    first = load_or_train(TINY, tiny_images)
    second = load_or_train(TINY, tiny_images)
    assert len(trainings) == 1
    assert same(first, second)


def test_says_which_it_was(cache, tiny_images, capsys):
    load_or_train(TINY, tiny_images)
    assert capsys.readouterr().out.startswith("No trained networks here yet: training")
    load_or_train(TINY, tiny_images)
    expected = "Loaded the networks that were trained before.\n"
    assert capsys.readouterr().out == expected


def test_result_is_the_average_of_the_training(cache, tiny_images):
    found = load_or_train(TINY, tiny_images)
    G, D = new_networks(TINY, (1, 4, 4))
    *_, last = train(G, D, tiny_images, TINY)
    assert same(found, (last.averaged, D))


def test_result_is_in_eval_mode_and_frozen_both_times(cache, tiny_images):
    for _ in range(2):
        for network in load_or_train(TINY, tiny_images):
            assert not any(module.training for module in network.modules())
            assert not any(p.requires_grad for p in network.parameters())


def test_other_recipe_is_trained_anew(cache, trainings, tiny_images):
    load_or_train(TINY, tiny_images)
    load_or_train(dataclasses.replace(TINY, seed=1), tiny_images)
    assert len(trainings) == 2


def test_damaged_generator_is_trained_anew(cache, trainings, tiny_images, capsys):
    first = load_or_train(TINY, tiny_images)
    path = networks_path(TINY, tiny_images)
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    again = load_or_train(TINY, tiny_images)
    assert "damaged: training anew" in capsys.readouterr().out
    assert len(trainings) == 2
    assert same(first, again)
    assert same(load_networks(path), first)


def test_cache_that_cannot_be_written_does_not_lose_the_result(
    cache, tiny_images, capsys
):
    cache.write_text("a file in the way")
    G, _ = load_or_train(TINY, tiny_images)
    assert "The networks could not be stored for next time" in capsys.readouterr().out
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


def test_the_snippet_in_contributing_draws_the_picture(tmp_path, monkeypatch, digits):
    root = Path(__file__).parents[1]
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setenv("GANLIB_CACHE", str(tmp_path / "cache"))
    config = TrainConfig()
    save_networks(*new_networks(config), networks_path(config, digits.images))
    monkeypatch.setattr("ganlib.data.load_images", lambda name: digits)
    (tmp_path / "notebooks" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    picture = Path("notebooks", "images", "generated_digits.png")
    assert Image.open(picture).size == Image.open(root / picture).size
