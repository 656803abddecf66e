"""The latent explorer as one HTML file: the template, filled with a generator.

The page holds the weights and draws with them in JavaScript, so whoever has the file
needs neither Python nor a network.
"""

import base64
import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib.arguments import check_path, wrong
from ganlib.checks import check_network
from ganlib.latent import draw, principal_directions, sample_noise
from ganlib.storage import write_atomically

TEMPLATE = Path(__file__).with_name("explorer.html")
EMPTY = '<script type="application/json" id="model">null</script>'
DIRECTIONS = 8

# What the page can compute: Linear, maybe BatchNorm1d, then LeakyReLU; Tanh at the end.
KINDS = (nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Tanh)
STACK = "Linear, BatchNorm1d and LeakyReLU in turn, and Linear and Tanh at the end"
OWN = 'pass ganlib\'s Generator, or one whose layers are like its "net"'


def write_explorer(G: nn.Module, path: str | Path, *, data_name: str) -> Path:
    """Write the explorer of G as one HTML file that works without a server.

    G is a generator of fully connected layers, z (N, latent_dim) → images (N, 1 or 3,
    H, W) in [-1, 1], as in ``ganlib.models``; it is used in eval mode, and goes back to
    the mode that it had. ``data_name`` says in the page what G was trained on. The file
    takes the place of an older one when it is whole; its folder is made. For the sizes
    of ``ganlib.models.Generator()`` it has 4 MB.

    Raises TypeError when G is no such generator or data_name no text, ValueError for
    weights that are not finite or exceed 65,504 (the largest number in half precision),
    for images with other channels, and for a path that does not end in .html.
    """
    check_path(path, ".html")
    if not isinstance(data_name, str) or not data_name.strip():
        came, mend = f"data_name is {data_name!r}", 'write data_name="MNIST"'
        raise wrong(TypeError, came, "the name of the training data", mend)
    facts = {"data_name": data_name.strip(), **_model_facts(G)}
    model = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    template = TEMPLATE.read_text(encoding="utf-8")
    if template.count(EMPTY) != 1:
        raise ValueError(f"{TEMPLATE.name} has no place for the model: restore it.")
    page = template.replace(EMPTY, EMPTY.replace("null", model))
    write_atomically(Path(path), page.encode())
    return Path(path)


def fold(G: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return G's layers as (weight, bias) in float64, with BatchNorm folded in.

    In eval mode BatchNorm is the fixed map y = γ (x - μ) / √(σ² + ε) + β of each unit,
    so that one Linear layer can do its work as well: with s = γ / √(σ² + ε) it has the
    weight s W and the bias s (b - μ) + β. Shapes: (out, in) and (out,) for each Linear
    layer of G, on the CPU.

    Raises TypeError when G is no stack of Linear, BatchNorm1d, LeakyReLU and Tanh.
    """
    return [_folded(linear, norm) for linear, norm, _ in _blocks(G)]


def _model_facts(G: nn.Module) -> dict:
    """Return what the page has to know, as JSON can hold it."""
    check_network(G, "G")
    channels = G.image_shape[0]
    if channels not in (1, 3):
        came = f"G draws images with {channels} channels"
        raise wrong(ValueError, came, "1 (gray) or 3 (color)", "train G on such images")
    slopes = [slope for *_, slope in _blocks(G)][:-1]
    layers = fold(G)
    _check_numbers(layers)
    _check_same_images(G, layers, slopes)
    directions, shares = principal_directions(
        G, min(DIRECTIONS, G.latent_dim), samples=max(10_000, G.latent_dim)
    )
    moving = directions.isfinite().all(1) & shares.isfinite()  # a constant layer: none
    return {
        "latent_dim": G.latent_dim,
        "image_shape": list(G.image_shape),
        "shares": shares[moving].tolist(),
        "directions": directions[moving].tolist(),
        "slopes": slopes,
        "layers": [{"weight": _half(w), "bias": _half(b)} for w, b in layers],
    }


def _blocks(G: nn.Module) -> list[tuple[nn.Linear, nn.BatchNorm1d | None, float]]:
    """Return each Linear layer with its BatchNorm and the slope of its LeakyReLU.

    The last one has a Tanh instead, and the slope NaN.
    """
    check_network(G, "G")
    rest = [layer for layer in G.modules() if not any(layer.children())]
    for layer in rest:
        if not isinstance(layer, KINDS):
            came = f"G has a layer {type(layer).__name__}"
            raise wrong(TypeError, came, STACK, OWN)
    rest, blocks = rest[::-1], []
    while rest:
        linear = rest.pop()
        norm = rest.pop() if rest and isinstance(rest[-1], nn.BatchNorm1d) else None
        bend = rest.pop() if rest else None
        ends = not rest
        if not isinstance(linear, nn.Linear) or (
            not isinstance(bend, nn.Tanh if ends else nn.LeakyReLU)
        ):
            names = " and ".join(type(m).__name__ for m in (linear, norm, bend) if m)
            raise wrong(TypeError, f"G has {names} in a row", STACK, OWN)
        if norm is not None and norm.running_mean is None:
            came, mend = "G has a BatchNorm1d without statistics", "keep them in it"
            raise wrong(TypeError, came, "track_running_stats=True", mend)
        blocks.append((linear, norm, math.nan if ends else bend.negative_slope))
    if not blocks:
        raise wrong(TypeError, "G has no layers", STACK, OWN)
    return blocks


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> tuple[Tensor, Tensor]:
    def exact(values: Tensor | None, otherwise: float) -> Tensor:
        if values is None:  # a Linear without bias, a BatchNorm without gain
            return torch.full((linear.out_features,), otherwise, dtype=torch.float64)
        return values.detach().cpu().double()

    weight, bias = exact(linear.weight, 0.0), exact(linear.bias, 0.0)
    if norm is None:
        return weight, bias
    spread = torch.sqrt(exact(norm.running_var, 1.0) + norm.eps)
    scale = exact(norm.weight, 1.0) / spread
    shift = exact(norm.bias, 0.0)
    return (
        scale[:, None] * weight,
        scale * (bias - exact(norm.running_mean, 0.0)) + shift,
    )


def _check_numbers(layers: list[tuple[Tensor, Tensor]]) -> None:
    """Refuse weights that half precision cannot hold."""
    largest = torch.finfo(torch.float16).max
    for values in (values for pair in layers for values in pair):
        if not values.isfinite().all():
            mend = "train it again with a lower lr_g and lr_d"
            raise wrong(ValueError, "G holds NaN or infinite weights", "numbers", mend)
        if values.abs().max() > largest:
            came = f"G holds a weight of {values.abs().max():.3g}, BatchNorm folded in"
            mend = "train it again with a lower lr_g, or look for a unit that is dead"
            raise wrong(ValueError, came, f"at most {largest:,.0f}", mend)


def _check_same_images(
    G: nn.Module, layers: list[tuple[Tensor, Tensor]], slopes: list[float]
) -> None:
    """Refuse a G whose forward does something else than its layers in turn."""
    z = sample_noise(8, G.latent_dim, seed=0)
    x = z.double()
    try:
        for (weight, bias), slope in zip(layers[:-1], slopes, strict=True):
            x = nn.functional.leaky_relu(x @ weight.T + bias, slope)
        weight, bias = layers[-1]
        images = torch.tanh(x @ weight.T + bias).view(8, *G.image_shape)
        same = torch.allclose(images, draw(G, z).cpu().double(), atol=0.01)
    except RuntimeError:  # the sizes do not fit one another
        same = False
    if not same:
        came = "G's images are not what its layers give one after the other"
        raise wrong(TypeError, came, STACK, OWN)


def _half(values: Tensor) -> str:
    """Return the bytes of values in half precision, little-endian, rows one by one."""
    return base64.b64encode(values.numpy().astype("<f2").tobytes()).decode()
