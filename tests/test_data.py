"""Images from MNIST's real files, from scikit-learn, from a folder; and batches."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from ganlib import data
from ganlib.data import batch_indices, load_images

# --- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"name": "cifar"},
            'name is \'cifar\', expected one of "mnist", "fashion-mnist"',
        ),
        ({"name": "mnist", "split": "valid"}, 'split is \'valid\'.*"train", "test"'),
        ({"name": "mnist", "fallback": "noise"}, "fallback is 'noise'.*\"digits\""),
    ],
)
def test_unknown_words_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_images(**arguments)


# --- the real files


@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_real_mnist_is_what_was_published(mnist_root, split, counts):
    images, labels, name, source = load_images("mnist", split, root=mnist_root)
    assert (name, source) == ("mnist", "cache")
    assert labels.bincount().tolist() == counts
    assert images.shape == (sum(counts), 1, 28, 28)
    assert (images.dtype, images.min(), images.max()) == (torch.float32, -1, 1)


def test_real_mnist_has_the_published_mean_and_spread(mnist_root):
    images = (load_images("mnist", root=mnist_root).images + 1) / 2
    moments = images.mean().item(), images.std().item()
    assert moments == pytest.approx((0.1307, 0.3081), abs=1e-4)


# --- the embedded digits


@pytest.fixture(scope="module")
def digits_test():
    return load_images("digits", "test")


@pytest.fixture(scope="module")
def all_digits(digits, digits_test):
    both = torch.cat([digits.images, digits_test.images])
    return both, torch.cat([digits.labels, digits_test.labels])


def test_digits_are_1437_for_training_and_360_for_testing(digits, digits_test):
    assert (len(digits.images), len(digits_test.images)) == (1437, 360)


def test_digits_look_like_mnist_to_a_network(digits):
    assert digits.images.shape[1:] == (1, 28, 28)
    assert (digits.images.dtype, digits.labels.dtype) == (torch.float32, torch.int64)


def test_digits_fill_the_range(digits):
    assert (digits.images.min(), digits.images.max()) == (-1, 1)


def test_digits_are_embedded(digits):
    assert (digits.name, digits.source) == ("digits", "embedded")


def test_digits_are_the_same_every_time(digits):
    again = load_images("digits")
    assert torch.equal(again.images, digits.images)
    assert torch.equal(again.labels, digits.labels)


def test_digits_leave_the_global_random_states_alone(unchanged_global_random_state):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002, the state to protect
    load_images("digits")
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_no_digit_is_in_both_splits(digits, digits_test):
    train = {image.numpy().tobytes() for image in digits.images}
    assert not any(image.numpy().tobytes() in train for image in digits_test.images)


def test_digits_are_all_of_scikit_learns(all_digits):
    images, labels = all_digits
    assert len({image.numpy().tobytes() for image in images}) == 1797
    assert labels.bincount().tolist() == np.bincount(load_digits().target).tolist()


def test_every_digit_has_its_share_of_the_test_images(all_digits, digits_test):
    share = all_digits[1].bincount() * 360 / 1797
    assert (digits_test.labels.bincount() - share).abs().max() <= 1


def test_digits_bear_the_labels_of_the_pictures_that_they_were_made_from(all_digits):
    """Enlarge the originals by other means, and look for each one's next of kin."""
    images, labels = all_digits
    originals = load_digits()
    enlarged = []
    for small in originals.images[:300]:
        picture = Image.fromarray((small * 255 / 16).astype("u1"))
        large = torch.tensor(np.array(picture.resize((20, 20), Image.BICUBIC)) / 255.0)
        framed = torch.zeros(28, 28)
        framed[4:24, 4:24] = ((large - 0.3) / 0.55).clamp(0, 1)
        rows, columns = center_of_mass(framed[None])
        shift = round(13.5 - rows.item()), round(13.5 - columns.item())
        enlarged.append(framed.roll(shift, (0, 1)))
    made = ((images + 1) / 2).flatten(1)
    distance, kin = torch.cdist(torch.stack(enlarged).flatten(1), made).min(1)
    assert labels[kin].tolist() == originals.target[:300].tolist()
    assert distance.median() < 0.7  # different pictures lie about 9 apart


def center_of_mass(pictures):
    """The mean row and column (N,) of pictures (N, 28, 28) with values in [0, 1]."""
    mass, places = pictures.sum((1, 2)), torch.arange(28.0)
    rows, columns = pictures.sum(2), pictures.sum(1)
    return (rows * places).sum(1) / mass, (columns * places).sum(1) / mass


def test_digits_have_their_center_of_mass_in_the_middle(all_digits):
    rows, columns = center_of_mass((all_digits[0][:, 0] + 1) / 2)
    assert (rows - 13.5).abs().max() <= 0.501
    assert (columns - 13.5).abs().max() <= 0.501


def test_digits_have_a_black_border(all_digits):
    border = torch.ones(28, 28, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert (all_digits[0][:, 0, border] == -1).all()


def test_digits_are_nearly_black_and_white_as_mnist_is(all_digits):
    assert (all_digits[0].abs() > 0.9).float().mean() > 0.8


# --- batches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 60), st.integers(1, 70))
def test_batches_hold_every_index_once(count, batch_size):
    batches = list(batch_indices(count, batch_size, generator=generator()))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))


@given(st.integers(1, 60), st.integers(1, 70))
def test_all_batches_but_the_last_are_full(count, batch_size):
    lengths = [len(b) for b in batch_indices(count, batch_size, generator=generator())]
    assert lengths == [batch_size] * (count // batch_size) + [count % batch_size] * (
        count % batch_size > 0
    )


@given(st.integers(1, 60), st.integers(1, 70))
def test_odd_last_batch_is_left_out_when_told(count, batch_size):
    batches = batch_indices(count, batch_size, generator=generator(), drop_last=True)
    assert [len(b) for b in batches] == [batch_size] * (count // batch_size)


def test_batches_are_shuffled():
    (batch,) = batch_indices(100, 100, generator=generator())
    assert batch.tolist() != list(range(100))


def test_same_generator_gives_the_same_batches():
    first, second = (
        torch.cat(list(batch_indices(50, 8, generator=generator(3)))) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_next_pass_has_another_order():
    goes_on = generator()
    first, second = (next(batch_indices(50, 50, generator=goes_on)) for _ in range(2))
    assert not torch.equal(first, second)


def test_batches_leave_the_global_random_state_alone(unchanged_global_random_state):
    list(batch_indices(50, 8, generator=generator()))


@pytest.mark.parametrize(("count", "batch_size"), [(0, 8), (50, 0), (50, -1)])
def test_batches_of_nothing_are_refused(count, batch_size):
    with pytest.raises(ValueError, match=r"(count|batch_size) is (0|-1), expected"):
        next(batch_indices(count, batch_size, generator=generator()))


# --- a torchvision that was built for another torch


def test_torchvision_that_does_not_fit_ends_in_one_sentence(tmp_path):
    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text(
        'raise RuntimeError("operator torchvision::nms does not exist")'
    )
    path = os.pathsep.join([str(tmp_path), str(Path(data.__file__).parents[1])])
    answer = subprocess.run(
        [sys.executable, "-c", "import ganlib.data"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    last = answer.stderr.strip().splitlines()[-1]
    assert answer.stderr.count("Traceback") == 1  # the first cause is not shown as well
    assert last.startswith("ImportError: torchvision does not fit the torch")
    assert "operator torchvision::nms does not exist" in last
    assert "pip install --force-reinstall torch torchvision" in last
    assert "CPU-only builds with the lines in README.md" in last
