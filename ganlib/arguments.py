"""Sentences for wrong arguments that are no tensors: counts, sizes, paths, functions.

Each check raises TypeError for a wrong kind of thing and ValueError for a wrong value.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from os import PathLike
from pathlib import Path

import torch
from torch import nn


def wrong(kind: type[Exception], came: str, expected: str, mend: str) -> Exception:
    """Return the error to raise: one sentence of these three parts."""
    return kind(f"{came}, expected {expected}: {mend}.")


def check_count(value: int, name: str, least: int = 1, most: float = math.inf) -> None:
    """Refuse what is not a whole number from ``least`` on: a count, a size, a seed."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least:
        known = isinstance(value, int | float | str)
        came = f"{name} is {repr(value) if known else type(value).__name__}"
        kind, mend = ValueError if whole else TypeError, f"write {name}={least}"
        raise wrong(kind, came, f"a whole number of {least} or more", mend)
    if value > most:
        came, expected = f"{name} is {value}", f"at most {most}"
        raise wrong(ValueError, came, expected, f"write {name}={most}")


def check_generator(generator: torch.Generator) -> None:
    """Refuse what is no torch.Generator, a seed for example."""
    if not isinstance(generator, torch.Generator):
        came = f"generator came as {type(generator).__name__}"
        seed = generator if isinstance(generator, Integral) else 0
        mend = f"write torch.Generator().manual_seed({seed})"
        raise wrong(TypeError, came, "a torch.Generator", mend)


def check_positive(value: float, name: str, usual: float) -> None:
    """Refuse what is not a finite number above 0; ``usual`` is an example."""
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        mend = f"write {name}={usual}"
        raise wrong(ValueError, f"{name} is {value!r}", "a number above 0", mend)


def check_share(value: float, name: str, usual: float) -> None:
    """Refuse what is not a number from 0 to below 1; ``usual`` is an example."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        mend = f"write {usual} there"
        raise wrong(ValueError, f"{name} is {value!r}", "0 to below 1", mend)


def check_sizes(image_shape: Sequence[int], latent_dim: int = 1) -> None:
    """Refuse sizes that no network has; image_shape is (C, H, W), each 1 or more."""
    check_count(latent_dim, "latent_dim")
    sizes = image_shape if isinstance(image_shape, tuple | list) else ()
    whole = [s for s in sizes if isinstance(s, Integral) and s > 0 and s is not True]
    if not len(sizes) == len(whole) == 3:
        came = f"image_shape is {' '.join(repr(image_shape).split())[:50]}"
        mend = "write image_shape=(1, 28, 28), for example"
        raise wrong(ValueError, came, "three sizes (C, H, W) of 1 or more", mend)


def check_modes(modes: tuple) -> None:
    """Refuse what are no ``Modes``, points for example."""
    if not hasattr(modes, "centers") or not hasattr(modes, "sigma"):
        came, mend = f"modes came as {type(modes).__name__}", "pass RING or GRID"
        raise wrong(TypeError, came, "centers and a sigma", mend)


def check_function(function: Callable, name: str) -> None:
    """Refuse what cannot be called: a name, or what a call has returned."""
    if not callable(function):
        came = f"{name} came as {type(function).__name__}"
        mend = "pass the function itself, without quotes or brackets"
        raise wrong(TypeError, came, "a function", mend)


def check_layer(module: nn.Module) -> None:
    """Refuse what ``network.apply`` does not hand over, weights for example."""
    if not isinstance(module, nn.Module):
        came, mend = type(module).__name__, "write G.apply(init_orthogonal_)"
        raise wrong(TypeError, f"module came as {came}", "a layer", mend)


def check_path(path: str | PathLike, suffix: str) -> None:
    """Refuse what is not the path of a file whose name ends in ``suffix``."""
    known = Path(path) if isinstance(path, str | PathLike) else None
    if known is None or known.suffix != suffix:
        came = f"the file is called {known and known.name!r}"
        mend = f'write "{(known and known.stem) or "generator"}{suffix}"'
        raise wrong(ValueError, came, f"a name that ends in {suffix}", mend)
