"""Drawings: the game as boxes and arrows, and networks to scale."""

import itertools
import math

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import Tensor, nn

from ganlib.latent import eval_mode
from ganlib.plots import FAKE, REAL

PLACES = {"noise z": (0, 1), "G": (1, 1), "fake": (2, 1)}
PLACES |= {"real": (2, 0), "D": (3, 0.5), "loss": (4, 0.5)}
WAYS = ["noise z → G", "G → fake", "fake → D", "D → loss"]
BACK = {"linestyle": (0, (3, 2)), "connectionstyle": "arc3,rad=0.4"}


def draw_box(ax: Axes, place: tuple[float, float], words: str, color="white") -> Text:
    """Draw words in a box around a place (x, y); ``draw_arrow`` joins two boxes."""
    look = {"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": "gray"}
    return ax.text(*place, words, ha="center", va="center", bbox=look, fontsize=10)


def draw_arrow(start: Text, end: Text, color: str = "gray", **look) -> None:
    """Draw an arrow from box to box; ``look`` is for matplotlib's FancyArrowPatch."""
    look = {"arrowstyle": "->", "color": color, "shrinkA": 1, "shrinkB": 1} | look
    ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    places = end.get_position(), start.get_position()
    start.axes.annotate("", *places, arrowprops=look | ends)


def draw_game(ax: Axes, moving: str = "", *, labels: bool = False) -> Axes:
    """Draw the game, and the step of one player.

    ``moving`` is the player, "D" or "G", that gets its color and a gradient, along the
    dashed arrows; in D's step, ``detach`` keeps the gradient from the fakes, and G's
    needs no real images. With ``labels``, both players also get a label, as in notebook
    10. Used in notebook 00.
    """
    places, ways = dict(PLACES), [*WAYS, "real → D"]
    if moving == "G":
        del places["real"], ways[-1]
    if labels:
        places["label"] = (2, 1.9)
        ways += ["label → G", "label → D"]
    boxes = {name: draw_box(ax, place, name) for name, place in places.items()}
    for way in ways:
        draw_arrow(*(boxes[name] for name in way.split(" → ")))
    for player in "GD":
        boxes[player].get_bbox_patch().set_facecolor("lightgray")
    if moving:
        color = {"D": REAL, "G": FAKE}[moving]
        boxes[moving].set_color("white")
        boxes[moving].get_bbox_patch().set_facecolor(color)
        way = ["loss", "D", "fake", "G"]
        for start, end in itertools.pairwise(way[: way.index(moving) + 1]):
            draw_arrow(boxes[start], boxes[end], color, **BACK)
    if moving == "D":
        bar = {"arrowstyle": "|-|, widthB=0", "color": color, "relpos": (0.5, 0)}
        bar |= BACK | {"connectionstyle": "arc3,rad=-0.2", "shrinkA": 9}
        bar["patchB"] = boxes["D"].get_bbox_patch()
        ax.annotate("detach", PLACES["D"], (2.4, 1.25), color=color, arrowprops=bar)
    ax.set(xlim=(-0.5, 4.4), ylim=(-0.3, 2.2 if labels else 1.5))
    ax.set_axis_off()
    return ax


def draw_network(net: nn.Module, x: Tensor, ax: Axes, color: str = REAL) -> Axes:
    """Draw what each layer with weights makes of x (N, …), to scale.

    A vector is a bar as high as the root of its length, and a feature map (C, H, W) a
    box as high as H and as wide as √C, so that an image and its flat form are alike.
    Below are the layers and their numbers of weights; BatchNorm's are added to those of
    the layer before. Used in notebook 02.
    """
    left, before = 0.0, None
    for name, shape, count in layers_of(net, x):
        flat = 1, math.prod(shape) ** 0.5
        channels, height = shape[:2] if len(shape) == 3 else flat
        width = 1.5 * channels**0.5
        if before:
            right, low = before
            corners = [-low, -height / 2, height / 2, low]
            ax.fill([right, left, left, right], corners, color=color, alpha=0.15, lw=0)
        ax.add_patch(Rectangle((left, -height / 2), width, height, color=color, lw=0))
        words = {"ha": "center", "fontsize": 8}
        size = "×".join(map(str, shape)) or "1"
        ax.text(left + width / 2, height / 2 + 1, size, **words)
        below = f"{name}\n{count:,}" if count else name
        ax.text(left - 12, 0, below, **words, transform=ax.get_xaxis_transform())
        before, left = (left + width, height / 2), left + width + 24
    top = ax.dataLim.y1
    ax.set(xlim=(-6, left - 18), ylim=(-top - 12, top + 6), aspect="equal")
    ax.set_axis_off()
    return ax


@torch.no_grad()
def layers_of(net: nn.Module, x: Tensor) -> list[list]:
    """Return name, shape of one output, and number of weights: input and layers."""
    found = [["", tuple(x.shape[1:]), 0]]

    def note(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        count = sum(w.numel() for w in layer.parameters())
        shape = tuple(output.shape[1:])
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            found[-1][2] += count
        elif count:
            found.append([type(layer).__name__, shape, count])
        elif len(shape) == 3 and shape != found[-1][1]:  # Unflatten, PixelShuffle
            found.append(["", shape, 0])

    leaves = [layer for layer in net.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    try:
        with eval_mode(net):
            output = net(x)
    finally:
        for hook in hooks:
            hook.remove()
    if output.dim() == 4 and output.shape[1:] != found[-1][1]:  # reshaped to an image
        found.append(["", tuple(output.shape[1:]), 0])
    return found
