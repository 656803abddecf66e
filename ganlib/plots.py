"""Plots: functions that take data and an Axes, plot, and return the Axes; and films."""

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from ganlib.toys import Modes
from ganlib.training import Record

REAL, FAKE = "#0072B2", "#D55E00"  # blue and orange, distinct to color-blind eyes, too
FIELD = LinearSegmentedColormap.from_list("field", ["#EFC1A6", "white", "#A6CDE3"])


def tile_images(images: Tensor, columns: int = 0) -> Tensor:
    """Lay images (N, C, H, W) in [-1, 1] out as one image, (H, W) or (H, W, 3).

    Its values are in [0, 1], with a white pixel between neighbors; ``columns=0`` means
    about √N. Empty places at the end stay white. Values beyond the range are clipped.
    """
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = torch.ones(rows * columns, channels, height + 1, width + 1)
    tiles[:count, :, :height, :width] = (images.detach().cpu() + 1) / 2
    grid = tiles.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * (height + 1), columns * (width + 1), channels)
    return grid[:-1, :-1].squeeze(2).clamp(0, 1)


def show_images(
    images: Tensor, *, columns: int = 0, title: str = "", ax: Axes | None = None
) -> Axes:
    """Show images (N, C, H, W) in [-1, 1] as a grid without axes."""
    grid = tile_images(images, columns)
    if ax is None:
        width = min(7.0, max(2.5, grid.shape[1] / 40))
        height = width * grid.shape[0] / grid.shape[1] + (0.3 if title else 0)
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.imshow(grid.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=10)
    return ax


def show_curves(records: Sequence[Record], ax: Axes | None = None) -> Axes:
    """Plot both losses against the images seen, and log 2, the loss of a guessing D.

    For objectives whose records have no probabilities, there is no such line and no
    unit, and losses may be below 0.
    """
    ax = ax or plt.subplots(figsize=(6, 3), layout="constrained")[1]
    seen = [record.images_seen / 1000 for record in records]
    ax.plot(seen, [record.d_loss for record in records], color=REAL, label="loss of D")
    ax.plot(seen, [record.g_loss for record in records], color=FAKE, label="loss of G")
    ax.set(xlabel="real images seen (thousands)", ylabel="loss")
    if any(math.isfinite(record.d_real) for record in records):
        ax.axhline(math.log(2), color="gray", linestyle="--", linewidth=1)
        right = ax.get_yaxis_transform()  # x as a fraction of the width, y in data
        ax.text(0.99, math.log(2), "log 2", transform=right, ha="right", va="bottom")
        ax.set(ylabel="loss (nats)")
    ax.legend(frameon=False)
    return ax


def show_points(
    points: Tensor, modes: Modes, *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Plot points (N, 2) over circles around the ``modes`` of a toy set."""
    ax = ax or plt.subplots(figsize=(3.2, 3.2), layout="constrained")[1]
    reach = 1.3 * modes.centers.abs().max().item()
    ax.plot(*modes.centers.T, "o", color=REAL, markersize=14, fillstyle="none")
    ax.plot(*points.detach().cpu().T, ".", color=FAKE, markersize=2, alpha=0.4)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xticks=[], yticks=[])
    if title:
        ax.set_title(title, fontsize=10)
    return ax


@torch.no_grad()
def show_field(D: nn.Module, reach: float, ax: Axes | None = None) -> Axes:
    """Show D's probability of "real" in the plane: blue is 1, white ½, orange 0.

    D: points (N, 2) → logits (N,). ``reach`` is half the width of the plot.
    """
    ax = ax or plt.subplots(figsize=(3.2, 3.2), layout="constrained")[1]
    ticks = torch.linspace(-reach, reach, 80)
    field = D(torch.cartesian_prod(ticks, ticks)).sigmoid().view(80, 80).T  # (y, x)
    place = {"origin": "lower", "extent": 2 * (-reach, reach), "vmin": 0, "vmax": 1}
    ax.imshow(field.numpy(), cmap=FIELD, **place)
    ax.set(xticks=[], yticks=[])
    return ax


@torch.no_grad()
def show_sheet(G: nn.Module, ax: Axes, reach: float = 2.0, lines: int = 17) -> Axes:
    """Draw a square grid of noise z, from -reach to reach, where G takes it.

    G: z (N, 2) → points (N, 2).
    """
    ticks = torch.linspace(-reach, reach, lines)
    fine = torch.linspace(-reach, reach, 200)
    for a, b in ((ticks, fine), (fine, ticks)):
        sheet = G(torch.cartesian_prod(a, b)).view(len(a), len(b), 2)
        for line in sheet if len(a) == lines else sheet.transpose(0, 1):
            ax.plot(*line.T, color="black", linewidth=0.5)
    return ax


def figure_image(figure: Figure) -> Tensor:
    """Return a figure as an image (1, 3, H, W) in [-1, 1], one frame of a film.

    If it was made with ``Figure(figsize=…)``, it is not also displayed by itself, and
    need not be closed.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return pixels.permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


def png_bytes(images: Tensor, *, columns: int = 0, zoom: int = 1) -> bytes:
    """Return the grid of ``tile_images`` as a PNG file, each pixel ``zoom`` wide."""
    buffer = io.BytesIO()
    _to_pillow(images, columns, zoom).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


@dataclass(frozen=True)
class Film:
    """A moving image for notebooks, and a still for places that show only stills."""

    gif: bytes = field(repr=False)
    still: bytes = field(repr=False)  # a PNG file: the last frame
    alt: str
    width: int  # on the screen, in pixels

    def _repr_mimebundle_(self, **_kwargs) -> dict[str, str]:
        gif, png = (base64.b64encode(file).decode() for file in (self.gif, self.still))
        source = f'src="data:image/gif;base64,{gif}"'
        image = f'<img {source} alt="{html.escape(self.alt)}" width="{self.width}">'
        return {"text/html": image, "image/png": png, "text/plain": repr(self)}


def film(
    frames: Sequence[Tensor],
    *,
    columns: int = 0,
    seconds: float = 4.0,
    zoom: int = 1,
    alt: str,
    width: int | None = None,
) -> Film:
    """Return an endless GIF that shows each batch of images (N, C, H, W) as one grid.

    ``seconds`` is the length of one round; the last frame stays for one more second.
    ``alt`` describes it in words. A large ``zoom`` makes a large file; ``width``, in
    pixels, only enlarges it on the screen.
    """
    first, *rest = [_to_pillow(images, columns, zoom).quantize(16) for images in frames]
    times = [max(20, round(1000 * seconds / len(frames)))] * len(frames)
    times[-1] += 1000
    gif, options = io.BytesIO(), {"duration": times, "loop": 0}
    first.save(gif, "gif", save_all=True, append_images=rest, **options)
    still = png_bytes(frames[-1], columns=columns, zoom=zoom)
    return Film(gif.getvalue(), still, alt, width or first.width)


def _to_pillow(images: Tensor, columns: int, zoom: int) -> Image.Image:
    pixels = (tile_images(images, columns) * 255).round().byte().numpy()
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.NEAREST)
