"""Where data comes from: MNIST, Fashion-MNIST, the digits, your pictures, toy sets."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate, pad
from tqdm.auto import tqdm

from ganlib.arguments import (
    check_count,
    check_generator,
    check_modes,
    check_sizes,
    wrong,
)
from ganlib.download import DATASETS, MissingDataError, datasets, ensure_files


class LabeledImages(NamedTuple):
    """Images (N, C, H, W), float32 in [-1, 1]; labels (N,), int64 from 0.

    ``source`` says in one word where they came from: cache, download, embedded, folder.
    """

    images: Tensor
    labels: Tensor
    name: str
    source: str


def load_images(
    name: str,
    split: str = "train",
    *,
    root: str | Path | None = None,
    offline: bool | None = None,
    fallback: str | None = None,
) -> LabeledImages:
    """Return a data set as one tensor: "mnist", "fashion-mnist" or "digits".

    ``split`` is "train" or "test". MNIST's files are used where they lie under
    ``root`` (default: the environment variable GANLIB_DATA, else your cache folder) in
    torchvision's layout and their checksums are right; otherwise they are fetched,
    unless ``offline`` (default: the variable GANLIB_OFFLINE) forbids it. "digits" are
    1,797 real handwritten digits that come with scikit-learn.

    With ``fallback="digits"`` missing data costs one line of notice instead of an
    error; a network that is silent is given up after 2.5 seconds.

    Raises ValueError for an unknown name or split, MissingDataError for missing data.
    Taught in notebook 01.
    """
    _check_choice("name", name, (*DATASETS, "digits"))
    _check_choice("split", split, ("train", "test"))
    if fallback is not None:
        _check_choice("fallback", fallback, ("digits",))
    if name == "digits":
        return _load_digits(split)
    if offline is None:
        offline = os.environ.get("GANLIB_OFFLINE", "0") not in ("", "0")
    root = Path(root or data_folder())
    folder = root / DATASETS[name].__name__ / "raw"
    try:
        # With a fallback the learner should not wait: the digits need 2 seconds, too.
        patience = 15.0 if fallback is None else 2.5
        source = ensure_files(name, folder, offline, patience)
    except MissingDataError as error:
        if fallback is None:
            raise
        print(f"Using the embedded digits in place of {name}: {error.short}.")
        return _load_digits(split)
    # torchvision's own readers, called on the checked files: its MNIST class would
    # rather load a processed/*.pt of an old release, which nobody checked.
    stem = "train" if split == "train" else "t10k"
    pixels = datasets.mnist.read_image_file(str(folder / f"{stem}-images-idx3-ubyte"))
    labels = datasets.mnist.read_label_file(str(folder / f"{stem}-labels-idx1-ubyte"))
    images = pixels.unsqueeze(1).float() / 127.5 - 1
    return LabeledImages(images, labels, name, source)


def load_folder(path: str | Path, image_shape: tuple = (1, 28, 28)) -> LabeledImages:
    """Return the pictures in a folder as images (N, C, H, W) of ``image_shape``.

    C is 1 (gray) or 3 (color). Each picture that Pillow can read is turned upright, put
    on white where it is transparent, cut to the proportions of H and W around its
    center, and resized. Sub-folders are classes: labels count them in the order of
    their names, which is printed, and pictures beside them do not count. Without
    sub-folders every label is 0. Files that cannot be read are named in one printed
    sentence and left out, hidden ones silently.

    Raises FileNotFoundError or NotADirectoryError for a wrong path, ValueError for a
    wrong image_shape or when there is no picture at all.
    """
    check_sizes(image_shape)
    if image_shape[0] not in (1, 3):
        raise ValueError(
            f"image_shape is {tuple(image_shape)}, expected 1 (gray) or 3 (color) "
            f"channels: write image_shape=(3, {image_shape[1]}, {image_shape[2]})."
        )
    folder = Path(path).expanduser()
    if not folder.exists():
        raise FileNotFoundError(
            f"there is no folder {folder}: pass the folder that holds your pictures."
        )
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is a file, expected a folder: pass {folder.parent}."
        )
    classes = [place for place in _visible(folder) if place.is_dir()]
    files = [
        (file, label)
        for label, place in enumerate(classes or [folder])
        for file in _visible(place)
        if file.is_file()
    ]
    images, labels, unreadable = [], [], []
    for file, label in tqdm(files, desc=folder.name, disable=len(files) < 1000):
        try:
            images.append(_read_picture(file, tuple(image_shape)))
            labels.append(label)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            unreadable.append(file.name)
    if unreadable:
        print(
            f"Left out, since they could not be read as pictures: {_few(unreadable)}."
        )
    if not images:
        raise ValueError(
            f"there is no readable picture in {folder}: pass a folder that holds "
            "pictures, or sub-folders of pictures, one for each class."
        )
    if classes:
        names = [f"{label} {place.name}" for label, place in enumerate(classes)]
        print(f"The labels are: {', '.join(names)}.")
    return LabeledImages(
        torch.stack(images), torch.tensor(labels), folder.name, "folder"
    )


class Modes(NamedTuple):
    """Equal bumps in the plane: centers (K, 2), and the standard deviation of each."""

    centers: Tensor
    sigma: float


# The toy sets by which cures for mode collapse are compared, as in PacGAN's code.
_angles = torch.arange(8) * (2 * math.pi / 8)
RING = Modes(torch.stack([_angles.cos(), _angles.sin()], 1), 0.01)
GRID = Modes(torch.cartesian_prod(*[torch.arange(-4.0, 5.0, 2.0)] * 2), 0.05)


def sample_points(modes: Modes, count: int, *, seed: int) -> Tensor:
    """Return points (count, 2) of RING or GRID: a mode by chance, and noise around it.

    RING has 8 modes on a circle of radius 1, with standard deviation 0.01; GRID has 25
    at {-4, -2, 0, 2, 4}², with 0.05.

    Raises TypeError or ValueError for what are no modes, a count below 1, a seed below
    0.
    Source: Lin et al. 2018 (PacGAN), section 4.1. Taught in notebook 07.
    """
    check_modes(modes)
    check_count(count, "count")
    check_count(seed, "seed", 0)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(modes.centers), (count,), generator=generator)
    noise = torch.randn(count, 2, generator=generator)
    return modes.centers[chosen] + modes.sigma * noise


def data_folder() -> Path:
    """Return where data sets are kept: GANLIB_DATA, or else your cache folder."""
    return Path(os.environ.get("GANLIB_DATA") or pooch.os_cache("ganlib"))


def batch_indices(
    count: int, batch_size: int, *, generator: torch.Generator, drop_last: bool = False
) -> Iterator[Tensor]:
    """Yield index tensors (batch_size,): one pass over ``count`` images, shuffled.

    ``images[indices]`` is then the batch. The odd last batch is shorter, or left out
    with ``drop_last=True``.

    Raises TypeError or ValueError for a count or size below 1, or no generator.
    Taught in notebook 01.
    """
    check_count(count, "count")
    check_count(batch_size, "batch_size")
    check_generator(generator)
    order = torch.randperm(count, generator=generator, device=generator.device)
    for indices in order.split(batch_size):
        if len(indices) == batch_size or not drop_last:
            yield indices


def _visible(folder: Path) -> list[Path]:
    hidden = ("thumbs.db", "desktop.ini")
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in hidden
    )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _read_picture(file: Path, image_shape: tuple) -> Tensor:
    """Return one picture (C, H, W), float32 in [-1, 1]."""
    channels, height, width = image_shape
    with Image.open(file) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith(("I", "F")):  # 16 bits and more: Pillow would clip
            values = np.asarray(picture, dtype="float32")
            top = 65535 if picture.mode.startswith("I") else max(1.0, values.max())
            picture = Image.fromarray((values / top * 255).round().astype("uint8"))
        if picture.has_transparency_data:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        picture = picture.convert("L" if channels == 1 else "RGB")
        fitted = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(fitted)).view(height, width, channels)
    return pixels.permute(2, 0, 1).float() / 127.5 - 1


def _check_choice(argument: str, value: str, allowed: tuple) -> None:
    if value not in allowed:
        words = ", ".join(f'"{word}"' for word in allowed)
        came, mend = f"{argument} is {value!r}", f'write {argument}="{allowed[0]}"'
        raise wrong(ValueError, came, f"one of {words}", mend)


def _load_digits(split: str) -> LabeledImages:
    """Return scikit-learn's 8×8 digits, framed and stretched to look like MNIST."""
    from sklearn.datasets import load_digits  # slow to import, seldom needed
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    large = interpolate(small, size=(20, 20), mode="bicubic", align_corners=False)
    # Resampling blurs, MNIST's strokes are nearly black and white: stretch.
    stretched = ((large - 0.3) / 0.55).clamp(0, 1)
    padded = pad(stretched, [4, 4, 4, 4])
    framed = torch.stack([_center_of_mass_to_middle(picture) for picture in padded])
    labels = torch.tensor(digits.target)
    train, test = train_test_split(
        range(len(labels)), test_size=360, random_state=0, stratify=digits.target
    )
    chosen = torch.tensor(train if split == "train" else test)
    return LabeledImages(framed[chosen] * 2 - 1, labels[chosen], "digits", "embedded")


def _center_of_mass_to_middle(picture: Tensor) -> Tensor:
    """Shift a picture (1, 28, 28) by whole pixels, as MNIST's authors did."""
    mass = picture[0] / picture.sum()
    places = torch.arange(28.0)
    down = 13.5 - (mass.sum(1) * places).sum()
    right = 13.5 - (mass.sum(0) * places).sum()
    return picture.roll((round(down.item()), round(right.item())), dims=(1, 2))
