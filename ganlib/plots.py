"""Pictures: functions that take data and an Axes, draw, and return the Axes.

Data that cannot be drawn, and sizes below 1, raise TypeError or ValueError.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlib.arguments import (
    check_count,
    check_modes,
    check_path,
    check_positive,
    wrong,
)
from ganlib.checks import check_images, check_points, check_range
from ganlib.data import Modes
from ganlib.records import Record

REAL, FAKE = "#0072B2", "#D55E00"  # blue and orange, told apart by everybody


def tile_images(images: Tensor, columns: int | None = None) -> Tensor:
    """Lay images (N, C, H, W) in [-1, 1] out as one picture, (H, W) or (H, W, 3).

    Values in [0, 1], a white pixel between neighbors; ``columns`` defaults to about
    √N. Empty places at the end stay white. Small overshoots are cut.
    """
    check_images(images)
    if columns is not None:
        check_count(columns, "columns")
    count, channels, height, width = images.shape
    if channels not in (1, 3):
        came, last = f"images have {channels} channels", width in (1, 3)
        mend = f"write images{'.permute(0, 3, 1, 2)' if last else '[:, :1]'}"
        raise wrong(ValueError, came, "1 (gray) or 3 (color)", mend)
    if not images.max() <= 100:  # bytes as floats, or NaN; [0, 1] may be meant
        check_range(images)
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    picture = torch.ones(channels, rows * (height + 1) - 1, columns * (width + 1) - 1)
    for i, image in enumerate(images.detach().cpu()):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        picture[:, top : top + height, left : left + width] = (image + 1) / 2
    return picture.permute(1, 2, 0).squeeze(2).clamp(0, 1)


def show_images(
    images: Tensor,
    *,
    columns: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw images (N, C, H, W) in [-1, 1] as a grid without axes."""
    _check_axes(ax)
    picture = tile_images(images, columns)
    if ax is None:
        height, width = picture.shape[:2]
        size = min(7.0, max(2.5, width / 40))
        extra = 0.3 if title else 0
        _, ax = plt.subplots(
            figsize=(size, size * height / width + extra), layout="constrained"
        )
    ax.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=10)
    return ax


def show_curves(records: Sequence[Record], ax: Axes | None = None) -> Axes:
    """Draw both losses over the images seen, with log 2, the loss of a guessing D."""
    _check_axes(ax)
    listed = isinstance(records, Sequence)  # a single record is not, nor is train(...)
    if not listed or not all(hasattr(record, "d_loss") for record in records):
        came, mend = type(records).__name__, "write list(train(G, D, images, config))"
        raise wrong(TypeError, f"records came as {came}", "a list of records", mend)
    ax = ax or plt.subplots(figsize=(6, 3), layout="constrained")[1]
    seen = [record.images_seen / 1000 for record in records]
    ax.plot(seen, [record.d_loss for record in records], color=REAL, label="loss of D")
    ax.plot(seen, [record.g_loss for record in records], color=FAKE, label="loss of G")
    ax.axhline(math.log(2), color="gray", linestyle="--", linewidth=1)
    right_end = ax.get_yaxis_transform()  # x in shares of the width, y in data
    ax.text(0.99, math.log(2), "log 2", transform=right_end, ha="right", va="bottom")
    ax.set(xlabel="real images seen (thousands)", ylabel="loss (nats)")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def show_points(
    points: Tensor, modes: Modes, *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw points (N, 2) over circles around the ``modes`` of a toy set."""
    check_modes(modes)
    check_points(points)
    _check_axes(ax)
    ax = ax or plt.subplots(figsize=(3.2, 3.2), layout="constrained")[1]
    reach = 1.3 * modes.centers.abs().max().item()
    ax.plot(*modes.centers.T, "o", color=REAL, markersize=14, fillstyle="none")
    ax.plot(*points.detach().cpu().T, ".", color=FAKE, markersize=2, alpha=0.4)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xticks=[], yticks=[])
    if title:
        ax.set_title(title, fontsize=10)
    return ax


def figure_image(figure: Figure) -> Tensor:
    """Return a figure as an image (1, 3, H, W) in [-1, 1], one frame of a film.

    Made with ``Figure(figsize=…)``, it is not shown besides, and needs no closing.
    """
    if not isinstance(figure, Figure):
        came, mend = f"figure came as {type(figure).__name__}", "pass plt.gcf()"
        raise wrong(TypeError, came, "a Figure of matplotlib", mend)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return pixels.permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


def png_bytes(images: Tensor, *, columns: int | None = None, zoom: int = 1) -> bytes:
    """Return the grid of ``tile_images`` as a PNG file, each pixel ``zoom`` wide."""
    buffer = io.BytesIO()
    _to_pillow(images, columns, zoom).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def save_animation(
    frames: Sequence[Tensor],
    path: str | Path,
    *,
    columns: int | None = None,
    seconds: float = 4.0,
    zoom: int = 1,
) -> Path:
    """Write an endless GIF that shows each batch of images (N, C, H, W) as one grid.

    ``seconds`` is the length of one round; the last frame stays for one more second.
    A large ``zoom`` makes a large file: rather show a small one enlarged.

    Raises ValueError when the path has another ending than .gif.
    """
    if not isinstance(frames, Sequence) or len(frames) == 0:
        came, mend = f"frames came as {type(frames).__name__}", "write list(frames)"
        if isinstance(frames, Tensor):
            mend = "write frames.split(1)"
        if isinstance(frames, Sequence):
            came, mend = "there are no frames in this list", "pass [images]"
        raise wrong(ValueError, came, "a list of batches of images (N, C, H, W)", mend)
    check_positive(seconds, "seconds", 4.0)
    check_path(path, ".gif")
    pictures = [_to_pillow(images, columns, zoom).quantize(16) for images in frames]
    if len({picture.size for picture in pictures}) > 1:
        came, mend = "frames come in several sizes", "write images[:16] in each frame"
        raise wrong(ValueError, came, "grids of one size", mend)
    times = [max(20, round(1000 * seconds / len(frames)))] * len(frames)
    times[-1] += 1000
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=times, loop=0
    )
    return Path(path)


def _check_axes(ax: Axes | None) -> None:
    if not (ax is None or isinstance(ax, Axes)):
        came, mend = f"ax came as {type(ax).__name__}", "pass plt.gca()"
        raise wrong(TypeError, came, "one Axes", mend)


def _to_pillow(images: Tensor, columns: int | None, zoom: int) -> Image.Image:
    check_count(zoom, "zoom")
    pixels = (tile_images(images, columns) * 255).round().byte().numpy()
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.NEAREST)
