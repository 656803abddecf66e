"""The files of MNIST and Fashion-MNIST: checked, and fetched when missing."""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pooch
import torch

from ganlib.mirrors import (
    CHUNK,
    LARGEST,
    MIRRORS,
    NoMirrorError,
    Patience,
    answering,
    download,
)

try:
    from torchvision import datasets
except (ImportError, RuntimeError, OSError) as error:
    raise ImportError(
        f"torchvision does not fit the torch {torch.__version__} beside it ({error}): "
        "reinstall both together and from one index, with pip install --force-reinstall"
        " torch torchvision, or for the CPU-only builds with the lines in README.md."
    ) from None


class MissingDataError(RuntimeError):
    """A data set is neither on this machine nor to be had from the network."""

    def __init__(self, sentence: str, short: str):
        super().__init__(sentence)
        self.short = short  # the cause in few words, without paths


DATASETS = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}

MNIST_SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


class _File(NamedTuple):
    gz: Path
    md5: str  # of the .gz file
    sha256: str | None  # of the unpacked file, where it is published

    @property
    def unpacked(self) -> Path:
        return self.gz.with_suffix("")


def ensure_files(name: str, folder: Path, offline: bool, patience: float) -> str:
    """See to it that the four files lie in ``folder``, checked; return the source.

    ``patience`` is how many seconds may pass in all in which no mirror sends anything.

    Raises MissingDataError.
    """
    sha256 = MNIST_SHA256 if name == "mnist" else {}
    files = [
        _File(folder / gz, md5, sha256.get(gz.removesuffix(".gz")))
        for gz, md5 in DATASETS[name].resources
    ]
    state = "not on this machine"
    try:
        wrong = [file for file in files if not _is_right(file)]
        damaged = [file.unpacked.name for file in wrong if file.unpacked.exists()]
        if damaged:
            state = f"{' and '.join(damaged)} damaged"
        for file in wrong:
            if _has_md5(file.gz, file.md5):
                _unpack(file)
        absent = [file for file in wrong if not _is_right(file)]
        if not absent:
            return "cache"
        _fetch(absent, [] if offline else MIRRORS[name], Patience(patience))
    except NoMirrorError as error:
        cause = "the network is switched off" if offline else str(error)
        raise MissingDataError(
            f"{name} is {state} (looked in {folder}) and {cause}: load it once with a "
            'network, copy the files there, or pass fallback="digits".',
            f"it is {state} and {cause}",
        ) from None
    except OSError as error:
        raise MissingDataError(
            f"{name} could not be read from or stored in {folder} ({error}): make room "
            "there, or set GANLIB_DATA to a folder that you can read and write, or "
            'pass fallback="digits".',
            f"it is {state} and storing it failed",
        ) from None
    return "download"


def _fetch(files: list[_File], mirrors: list[str], patience: Patience) -> None:
    bases = answering(mirrors, files[0].gz.name, patience)
    if not bases:
        raise NoMirrorError("no mirror answered")
    for file in files:
        file.gz.parent.mkdir(parents=True, exist_ok=True)
        download(file.gz, file.md5, bases, patience)
        _unpack(file)


def _is_right(file: _File) -> bool:
    """Tell whether the unpacked file holds what it should."""
    if not file.unpacked.is_file():
        return False
    expected = file.sha256
    if expected is None:  # then the .gz vouches for its contents
        if not _has_md5(file.gz, file.md5):
            return False
        digest = hashlib.sha256()
        with gzip.open(file.gz) as stream:
            for chunk in _chunks(stream):
                digest.update(chunk)
        expected = digest.hexdigest()
    with file.unpacked.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == expected


def _has_md5(path: Path, md5: str) -> bool:
    return path.is_file() and pooch.file_hash(str(path), alg="md5") == md5


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a packed file holds, up to what one of ours can hold."""
    total = 0
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        if total > LARGEST:
            raise OSError("a packed file holds far more than it should")
        yield chunk


def _unpack(file: _File) -> None:
    """Write the unpacked file under a temporary name first, then move it in place."""
    handle, temporary = tempfile.mkstemp(dir=file.gz.parent, prefix=file.unpacked.name)
    try:
        with gzip.open(file.gz) as packed, os.fdopen(handle, "wb") as unpacked:
            for chunk in _chunks(packed):
                unpacked.write(chunk)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file.unpacked)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if not _is_right(file):
        raise OSError(f"{file.gz.name} did not unpack to what it should be")
