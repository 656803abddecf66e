"""Images from MNIST's real files and from scikit-learn; batches; fingerprints."""

import hashlib
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate, pad

from ganlib.data import batch_indices, fingerprint, load_images

WRONG = {"name": "cifar", "split": "valid", "fallback": "noise"}


@pytest.mark.parametrize(("argument", "word"), WRONG.items())
def test_unknown_words_are_refused(argument, word):
    sentence = rf"{argument} is '{word}', expected one of .*: write {argument}='"
    with pytest.raises(ValueError, match=sentence):
        load_images(**{"name": "mnist", argument: word})


TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], (0.1307, 0.3081)
TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], (0.1325, 0.3105)


@pytest.mark.parametrize(("split", "known"), [("train", TRAIN), ("test", TEST)])
def test_real_mnist_is_what_was_published(mnist_root, split, known):
    images, labels, _, source = load_images("mnist", split, root=mnist_root)
    assert (source, labels.bincount().tolist()) == ("cache", known[0])
    assert (images.shape, images.dtype) == ((len(labels), 1, 28, 28), torch.float32)
    moments = images.mean().item() / 2 + 0.5, images.std().item() / 2
    assert moments == pytest.approx(known[1], abs=1e-4)


# --- the embedded digits


def test_digits_look_like_mnist_to_a_network(digits, unseen):
    assert (digits.name, digits.source) == ("digits", "embedded")
    for (images, labels, *_), count in ((digits, 1437), (unseen, 360)):
        assert (images.shape, images.dtype) == ((count, 1, 28, 28), torch.float32)
        assert (labels.dtype, images.min(), images.max()) == (torch.int64, -1, 1)


def test_digits_are_the_same_every_time(digits, unchanged_global_random_state):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002, the state to protect
    assert fingerprint(*load_images("digits")[:2]) == fingerprint(*digits[:2])
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_both_splits_together_are_scikit_learns_digits(digits, unseen):
    originals, targets = load_digits().images, torch.tensor(load_digits().target)
    images = torch.cat([digits.images, unseen.images]).flatten(1)
    labels = torch.cat([digits.labels, unseen.labels])
    assert len(images.unique(dim=0)) == 1797
    assert torch.equal(labels.bincount(), targets.bincount())
    shares = targets.bincount() * 360 / 1797
    assert (unseen.labels.bincount() - shares).abs().max() <= 1
    # Enlarged by other means and not centered, each is most like one of its own kind.
    small = torch.tensor(originals).float().unsqueeze(1) / 8 - 1
    large = pad(interpolate(small, (20, 20), mode="bicubic"), [4] * 4, value=-1)
    nearest = torch.cdist(large.flatten(1), images).argmin(1)
    assert (labels[nearest] == targets).float().mean() > 0.9


def test_digits_are_framed_as_mnist_is(digits):
    images = (digits.images[:, 0] + 1) / 2
    for axis in (1, 2):
        center = images.sum(axis) @ torch.arange(28.0) / images.sum((1, 2))
        assert (center - 13.5).abs().max() <= 0.501
    moments = images.mean().item(), images.std().item()  # found, not published
    assert moments == pytest.approx((0.14038, 0.31150), abs=1e-4)
    images[:, 1:-1, 1:-1] = 0
    assert (images == 0).all()  # a black border


# --- batches and fingerprints


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 60), st.integers(1, 70), st.booleans())
def test_batches_hold_every_index_once(count, size, drop_last):
    batches = list(batch_indices(count, size, generator=seeded(), drop_last=drop_last))
    full, rest = divmod(count, size)
    last = [rest] if rest and not drop_last else []
    assert [len(batch) for batch in batches] == [size] * full + last
    indices = {i for batch in batches for i in batch.tolist()}
    assert len(indices & {*range(count)}) == size * full + sum(last)


def test_order_is_that_of_the_generator(unchanged_global_random_state):
    (first,), (again,) = (batch_indices(50, 50, generator=seeded(3)) for _ in "ab")
    assert torch.equal(first, again)
    assert not torch.equal(first, first.sort().values)


def test_fingerprint_is_the_hash_of_type_shape_and_bytes():
    content = b"torch.float32 (1, 2)" + struct.pack("<2f", 1, 2) + b"torch.int64 ()"
    expected = hashlib.sha256(content + struct.pack("<q", 5)).hexdigest()
    wide = torch.tensor([[1.0, 9.0, 2.0]], requires_grad=True)[:, ::2]
    assert fingerprint(wide, torch.tensor(5)) == expected
    zeros = torch.zeros(2, 2, dtype=torch.bfloat16)
    others = [zeros, zeros.half(), zeros.view(4), zeros + 1, zeros[:0], zeros[0, ::2]]
    assert len({fingerprint(other) for other in others}) == len(others)


# --- a torchvision that was built for another torch


def test_torchvision_that_does_not_fit_ends_in_one_sentence(tmp_path):
    (tmp_path / "torch.py").write_text('__version__ = "2.99"')  # quicker than the real
    broken = 'raise RuntimeError("operator torchvision::nms does not exist")'
    (tmp_path / "torchvision.py").write_text(broken)
    path = [str(tmp_path), *sys.path]
    code = f"import sys; sys.path[:0] = {path}; import ganlib.download"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert answer.stderr.count("Traceback") == 1  # the first cause is not shown as well
    last = answer.stderr.splitlines()[-1]
    assert (
        "ImportError: torchvision does not fit the installed torch 2.99 (oper" in last
    )
    assert "torchvision::nms does not exist): reinstall both together" in last
