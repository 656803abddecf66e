"""Where images come from: MNIST, Fashion-MNIST, the digits, your own; and batches."""

import hashlib
import os
import re
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate, pad
from tqdm.auto import tqdm

from ganlib.checks import wrong
from ganlib.download import DATASETS, MissingDataError, datasets, ensure_files


class LabeledImages(NamedTuple):
    """Images (N, C, H, W), float32 in [-1, 1]; labels (N,), int64 from 0.

    ``source`` says in one word where they come from: cache, download, embedded, folder.
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
    """Return a dataset as one tensor: "mnist", "fashion-mnist" or "digits".

    ``split`` is "train" or "test". MNIST's files are used if they are under ``root``
    (default: the environment variable GANLIB_DATA, else your cache folder) in
    torchvision's layout and their checksums are right; otherwise they are downloaded,
    unless ``offline`` (default: the variable GANLIB_OFFLINE) forbids it. "digits" are
    1,797 real handwritten digits that come with scikit-learn.

    With ``fallback="digits"``, missing data leads to one printed line instead of an
    error, and a mirror that does not answer is given up after 2.5 seconds, not 15.

    Raises ValueError for an unknown name or split, MissingDataError for missing data.
    Taught in notebook 01.
    """
    for argument, value, allowed in (
        ("name", name, (*DATASETS, "digits")),
        ("split", split, ("train", "test")),
        ("fallback", fallback, ("digits", None)),
    ):
        if value not in allowed:
            got, fix = f"{argument} is {value!r}", f"write {argument}={allowed[0]!r}"
            expected = f"one of {', '.join(map(repr, allowed))}"
            raise wrong(ValueError, got, expected, fix)
    if name == "digits":
        return _load_digits(split)
    if offline is None:
        online = ("", "0", "false", "no", "off")
        offline = os.environ.get("GANLIB_OFFLINE", "").strip().lower() not in online
    folder = Path(root or data_folder()).expanduser() / DATASETS[name].__name__ / "raw"
    try:
        # With a fallback, the learner should not wait: the digits take 2 seconds, too.
        wait = 15.0 if fallback is None else 2.5
        source = ensure_files(name, folder, offline=offline, wait=wait)
    except MissingDataError as error:
        if fallback is None:
            raise
        print(f"Using the embedded digits in place of {name}: {error.short}.")
        return _load_digits(split)
    # torchvision's own readers, called on the checked files: its MNIST class would
    # rather load a processed/*.pt of an old release, which no one checked.
    stem = "train" if split == "train" else "t10k"
    pixels = datasets.mnist.read_image_file(str(folder / f"{stem}-images-idx3-ubyte"))
    labels = datasets.mnist.read_label_file(str(folder / f"{stem}-labels-idx1-ubyte"))
    images = pixels.unsqueeze(1).float() / 127.5 - 1
    return LabeledImages(images, labels, name, source)


def load_folder(path: str | Path, image_shape: tuple = (1, 28, 28)) -> LabeledImages:
    """Return the images in a folder as one tensor (N, C, H, W) of ``image_shape``.

    C is 1 (gray) or 3 (color). Each file that Pillow can read is turned upright, put on
    white where it is transparent, cropped around its center to the proportions of H and
    W, and resized; an animation gives its first frame. Subfolders are classes, with all
    that is in them: labels number them in natural order (2 before 10), as a printed
    line shows. Without subfolders, every label is 0. What is left out is named in one
    printed sentence, with the reason; hidden files and folders are skipped.

    Gray images of more than 8 bits (16-bit, floats) are left out: the file does not
    say which values are black and white. Of 16-bit colors, Pillow reads the upper 8
    bits.

    Raises FileNotFoundError or NotADirectoryError for a wrong path, ValueError for a
    wrong image_shape or if there is no image at all.
    """
    if len(image_shape) != 3 or image_shape[0] not in (1, 3) or min(image_shape) < 1:
        expected = "(C, H, W) with C = 1 (gray) or 3 (color)"
        fix = "write image_shape=(3, 32, 32), for example"
        raise wrong(ValueError, f"image_shape is {image_shape}", expected, fix)
    folder = Path(path).expanduser()
    if not folder.is_dir():
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        fix = "correct the path"
        raise wrong(kind, f"{folder} is not a folder", "one that holds images", fix)
    files, classes, beside = _find_files(folder)
    left_out = [f"{file} (next to subfolders)" for file in beside]
    images, labels = [], []
    for file in tqdm(files, desc=folder.name, delay=3):
        try:
            image = _read_image(folder / file, image_shape)
        except MemoryError:
            raise
        except Exception:  # decoders raise errors of all kinds for damaged files
            left_out.append(f"{file} (unreadable)")
            continue
        if image is None:
            left_out.append(f"{file} (more than 8 bits: save it with 8)")
        else:
            images.append(image)
            labels.append(classes.index(file.parts[0]) if classes else 0)
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        print(f"Left out: {', '.join(left_out[:5])}{more}.")
    if not images:
        got, fix = f"there is no readable image in {folder}", "pass another folder"
        raise wrong(ValueError, got, "images, or subfolders of images", fix)
    if classes:
        names = [f"{i} {name} ({labels.count(i)})" for i, name in enumerate(classes)]
        print(f"The labels, and how many images have them: {', '.join(names)}.")
    scaled = torch.stack(images).float().div_(127.5).sub_(1)
    return LabeledImages(scaled, torch.tensor(labels), folder.name, "folder")


def data_folder() -> Path:
    """Return where datasets are kept: GANLIB_DATA, or else your cache folder."""
    return Path(os.environ.get("GANLIB_DATA") or pooch.os_cache("ganlib")).expanduser()


def batch_indices(
    count: int, batch_size: int, *, generator: torch.Generator, drop_last: bool = False
) -> Iterator[Tensor]:
    """Yield index tensors (batch_size,): one pass over ``count`` images, shuffled.

    ``images[indices]`` is then the batch. The last batch may be shorter; with
    ``drop_last=True``, it is then left out. Taught in notebook 01.
    """
    order = torch.randperm(count, generator=generator, device=generator.device)
    for indices in order.split(batch_size):
        if len(indices) == batch_size or not drop_last:
            yield indices


def fingerprint(*tensors: Tensor) -> str:
    """Return the SHA-256 (hex) of the dtype, the shape and the bytes of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = torch.cat([tensor.detach().flatten().cpu()])  # with its own memory
        digest.update(flat.view(torch.uint8).numpy())  # NumPy has no bfloat16
    return digest.hexdigest()


def _find_files(folder: Path) -> tuple[list[Path], list[str], list[Path]]:
    """Return the files that count, the classes, and the files next to these."""

    def natural(path: str) -> tuple[str, str]:  # 2 before 10
        return re.sub(r"\d+", lambda number: number[0].zfill(20), path), path

    # Names that begin with a dot are left out by glob.
    found = map(Path, sorted(glob("**", root_dir=folder, recursive=True), key=natural))
    hidden = {"__MACOSX", "Thumbs.db", "desktop.ini"}
    paths = [path for path in found if not hidden.intersection(path.parts)]
    files = [path for path in paths if (folder / path).is_file()]
    nested = [path for path in files if len(path.parts) > 1]
    top = [path for path in paths if len(path.parts) == 1 and nested]
    classes = [path.name for path in top if (folder / path).is_dir()]
    return nested or files, classes, [path for path in top if path.name not in classes]


def _read_image(file: Path, image_shape: tuple) -> Tensor | None:
    """Return one image (C, H, W), from 0 to 255, or None if it has more than 8 bits."""
    channels, height, width = image_shape
    with Image.open(file) as opened:
        if opened.mode[0] in "IF":  # whole numbers or floats, which Pillow would clip
            return None
        opened.draft(None, (2 * max(height, width),) * 2)  # large JPEGs: decode less
        image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        image = image.convert("L" if channels == 1 else "RGB")
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return torch.tensor(np.asarray(fitted)).view(height, width, -1).permute(2, 0, 1)


def _load_digits(split: str) -> LabeledImages:
    """Return scikit-learn's 8×8 digits, framed and stretched to look like MNIST."""
    from sklearn.datasets import load_digits  # slow to import, seldom needed
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    large = interpolate(small, size=(20, 20), mode="bicubic", align_corners=False)
    # Resampling blurs, but MNIST is nearly black and white: stretch the values.
    padded = pad(((large - 0.3) / 0.55).clamp(0, 1), [4, 4, 4, 4])
    framed = torch.stack([_center_of_mass_to_middle(image) for image in padded])
    labels = torch.tensor(digits.target)
    train, test = train_test_split(
        range(len(labels)), test_size=360, random_state=0, stratify=digits.target
    )
    chosen = torch.tensor(train if split == "train" else test)
    return LabeledImages(framed[chosen] * 2 - 1, labels[chosen], "digits", "embedded")


def _center_of_mass_to_middle(picture: Tensor) -> Tensor:
    """Shift an image (1, 28, 28) by whole pixels, as MNIST's authors did."""
    mass = picture[0] / picture.sum()
    places = torch.arange(28.0)
    down = 13.5 - (mass.sum(1) * places).sum()
    right = 13.5 - (mass.sum(0) * places).sum()
    return picture.roll((round(down.item()), round(right.item())), dims=(1, 2))
