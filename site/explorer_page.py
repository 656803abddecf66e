"""The latent explorer as one HTML file: the template, filled with generators.

The page holds the weights and generates images with them in JavaScript, so it needs
neither Python nor a network.
"""

import base64
import copy
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from live_page import write_live_page
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.fusion import fuse_linear_bn_eval

from ganlib.conditional import AskedFor
from ganlib.latent import draw, principal_directions, sample_noise

DIRECTIONS = 8


def write_explorer(
    generators: Sequence[nn.Module], path: str | Path, *, data_name: str
) -> Path:
    """Write the explorer of these generators as one HTML file that needs no server.

    Each is a generator of fully connected layers, z (N, latent_dim) → images (N, 1 or
    3, H, W) in [-1, 1], as in ``ganlib.models``, or a ``ConditionalGenerator``; it is
    used in eval mode, and stays as it is. ``data_name`` tells the reader what they were
    trained on. For the sizes of ``ganlib.models.Generator()``, each takes below 4 MB.

    Raises ValueError for a G whose images the page cannot draw.
    """
    facts = {"data_name": data_name, "models": [facts_of(G) for G in generators]}
    model = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    return write_live_page(path, "explorer.html.j2", model=model)


def facts_of(G: nn.Module) -> dict:
    """Return what the page has to know of G, for JSON."""
    net, plain, codes = G, G, []
    if hasattr(G, "classes"):  # net's input is z and the code of a label
        net, plain, codes = G.inner, AskedFor(G, 0), G.embedding.weight.tolist()
    layers, slopes = fold(net), slopes_of(net)
    check_same_images(net, layers, slopes)
    directions, shares = principal_directions(plain, min(DIRECTIONS, G.latent_dim))
    return {
        "latent_dim": G.latent_dim,
        "image_shape": list(G.image_shape),
        "shares": shares.tolist(),
        "directions": directions.tolist(),
        "codes": codes,
        "slopes": slopes,
        "layers": [{"weight": _half(w), "bias": _half(b)} for w, b in layers],
    }


def fold(G: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return G's layers as (weight, bias) in float64, with BatchNorm folded in.

    In eval mode, BatchNorm is the fixed map y = γ (x - μ) / √(σ² + ε) + β of each unit,
    so that one Linear layer can do its work as well: with s = γ / √(σ² + ε), it has the
    weight s W and the bias s (b - μ) + β. Shapes: (out, in) and (out,) for each Linear
    layer of G, on the CPU.
    """
    folded = []
    for layer in copy.deepcopy(G).cpu().double().eval().modules():
        if isinstance(layer, nn.Linear):
            folded.append(layer)
        elif isinstance(layer, nn.BatchNorm1d):
            folded.append(fuse_linear_bn_eval(folded.pop(), layer))
    return [(layer.weight.detach(), layer.bias.detach()) for layer in folded]


def slopes_of(G: nn.Module) -> list[float]:
    """Return the slope below 0 of each LeakyReLU of G, one after the other."""
    return [m.negative_slope for m in G.modules() if isinstance(m, nn.LeakyReLU)]


def check_same_images(
    G: nn.Module, layers: list[tuple[Tensor, Tensor]], slopes: list[float]
) -> None:
    """Raise an error unless the page's arithmetic gives G's images.

    The page computes Linear and LeakyReLU in turn, with Tanh at the end, and holds the
    weights in half precision: finite numbers up to 65,504.
    """
    z = sample_noise(8, G.latent_dim, seed=0)
    x = z.double()
    halves = [(w.half().double(), b.half().double()) for w, b in layers]
    try:
        for (weight, bias), slope in zip(halves[:-1], slopes, strict=True):
            x = leaky_relu(x @ weight.T + bias, slope)
        weight, bias = halves[-1]
        images = torch.tanh(x @ weight.T + bias).view(8, *G.image_shape)
        same = torch.allclose(images, draw(G, z).cpu().double(), atol=0.02)
        same &= all(values.isfinite().all() for pair in halves for values in pair)
    except (RuntimeError, ValueError):  # sizes or numbers of layers that do not fit
        same = False
    if not same or G.image_shape[0] not in (1, 3):
        raise ValueError(
            "the page would draw other images than G, expected Linear, BatchNorm1d and "
            "LeakyReLU in turn, Linear and Tanh at the end, weights up to 65,504 and 1 "
            "or 3 channels: pass ganlib's Generator, and one that holds no NaN."
        )


def _half(values: Tensor) -> str:
    """Return the bytes of values in half precision, little-endian, deflated."""
    content = zlib.compress(values.numpy().astype("<f2").tobytes(), 9)
    return base64.b64encode(content).decode()
