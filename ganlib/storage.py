"""What ganlib keeps on disk: where it lies, and how it gets there whole."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor, nn

from ganlib.arguments import wrong


def cache_folder(kind: str) -> Path:
    """Return the folder for "networks" or "judges": in GANLIB_CACHE, or your cache."""
    return Path(os.environ.get("GANLIB_CACHE") or pooch.os_cache("ganlib")) / kind


def tensor_bytes(values: Tensor) -> np.ndarray:
    """Return the numbers of a tensor as bytes, to make a checksum of."""
    flat = values.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy()  # NumPy has no bfloat16


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half-written; make its folder when needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_weights(network: nn.Module, like: nn.Module, name: str) -> None:
    """Refuse weights that do not fit a network ``like`` this one, or are no numbers."""
    weights = network.state_dict()
    states = (weights, like.state_dict())
    shapes = [{k: v.shape for k, v in state.items()} for state in states]
    if shapes[0] != shapes[1]:
        came = f"{name} came as {type(network).__name__} with other layers"
        mend = f"write torch.save({name}.state_dict(), path)"
        raise wrong(TypeError, came, f"ganlib's {type(like).__name__}", mend)
    if not all(values.isfinite().all() for values in weights.values()):
        came, mend = "holds NaN or infinite weights", "train it again with a lower lr"
        raise wrong(ValueError, f"{name} {came}", "numbers", mend)
