"""Tensors and facts in one file: written whole or not at all, checked when read."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganlib.data import fingerprint

# What a damaged file can cause, when it is read and when its content is used.
DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, RuntimeError)


def write(path: Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write the file under a temporary name, then move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        store(Path(folder) / path.name, tensors, facts)
        os.replace(Path(folder) / path.name, path)
    sync(path.parent)


def store(path: Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write tensors, facts and a checksum to ``path``, and wait until the disk has it.

    Facts are what JSON knows. If the computer stops meanwhile, half a file is there.
    """
    tensors = {name: values.cpu().contiguous() for name, values in tensors.items()}
    words = json.dumps(facts, allow_nan=False)
    content = save(tensors, {"facts": words, "sha256": checksum(words, tensors)})
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Wait until the disk has the names in a folder, where the system allows it."""
    with suppress(OSError):  # Windows does not
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and the facts; a damaged file raises one of ``DAMAGE``."""
    with safe_open(path, "pt") as file:
        words, right = (file.metadata()[key] for key in ("facts", "sha256"))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if checksum(words, tensors) != right:
        raise ValueError("the checksum is wrong")
    return tensors, json.loads(words)


def checksum(words: str, tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of everything that a file holds."""
    values = fingerprint(*(tensors[name] for name in sorted(tensors)))
    return hashlib.sha256(f"{words} {sorted(tensors)} {values}".encode()).hexdigest()
