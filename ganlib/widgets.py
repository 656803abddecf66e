"""The sliders."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ganlib.arguments import check_count, wrong
from ganlib.checks import (
    check_images,
    check_network,
    check_range,
    check_vectors,
)
from ganlib.explorer import LatentExplorer
from ganlib.latent import principal_directions
from ganlib.panels import Comparison, FlipBook, TimeScrubber
from ganlib.records import Record


def explore_latent(
    G: nn.Module,
    D: nn.Module | None = None,
    *,
    judge: nn.Module | None = None,
    images: Tensor | None = None,
    directions: Mapping[str, Tensor] | None = None,
    zoom: int = 10,
) -> LatentExplorer:
    """Return sliders that move the noise z of G, with the pictures that it draws.

    Large: the z of ``seed``, or of a place on the ``walk`` along arcs through the next
    ten seeds, times ``noise scale``, moved along directions. Small: the same z among
    those of the next 15 seeds, which are scaled and moved in the same way. The
    directions are G's eight principal ones, with their share of the variance in the
    last hidden layer, the first eight numbers of z, and those given: vectors
    (latent_dim,) by name. A slider adds -4 to 4 times its vector.

    With D, the words below give its verdict, with a judge the digit and how sure it is.
    With images (N, C, H, W) in [-1, 1] a box shows the nearest of them. ``zoom`` is the
    width of a pixel of the large picture on the screen. In code, ``explorer.z`` and
    ``explorer.image`` tell what is shown, and can be set.

    Raises TypeError or ValueError for what is no generator, discriminator, judge,
    images, direction or count, or does not fit G. Taught in notebook 05.
    """
    check_network(G, "G")
    check_count(zoom, "zoom")
    if D is not None:
        check_network(D, "D")
        check_images(torch.zeros(1, *G.image_shape), D.image_shape, name="G's images")
    if judge is not None:
        check_network(judge, "judge")
        check_images(torch.zeros(1, *G.image_shape), (1, 28, 28), name="G's images")
    if images is not None:
        check_images(images, G.image_shape)
        check_range(images)
    vectors, shares = principal_directions(G, min(8, G.latent_dim))
    principal = {
        f"direction {i}": (f"direction {i} · {share:.1%}", vector)
        for i, (vector, share) in enumerate(zip(vectors, shares, strict=True), 1)
    }
    axes = enumerate(torch.eye(G.latent_dim)[:8])
    single = {f"z[{i}]": (f"z[{i}]", axis) for i, axis in axes}
    groups = {"principal directions": principal, "single numbers of z": single}
    if directions is not None:
        taken = {name for group in groups.values() for name in group}
        own = _own_directions(directions, G.latent_dim, taken)
        groups = {"own directions": own, **groups}
    return LatentExplorer(G, D, judge, images, groups, zoom)


def compare(
    G1: nn.Module,
    G2: nn.Module,
    *,
    names: Sequence[str] = ("first", "second"),
    zoom: int = 3,
) -> Comparison:
    """Return sliders that send the same 16 z through two generators, side by side.

    Raises TypeError or ValueError for what is no generator, for two with another
    latent_dim, for other than two names, and for a zoom below 1. Used in notebook 03.
    """
    check_network(G1, "G1")
    check_network(G2, "G2")
    check_count(zoom, "zoom")
    if G1.latent_dim != G2.latent_dim:
        came, expected = f"G2 takes {G2.latent_dim} numbers", f"{G1.latent_dim}, as G1"
        mend = f"build it with latent_dim={G1.latent_dim}"
        raise wrong(ValueError, came, expected, mend)
    if not isinstance(names, list | tuple) or len(names) != 2:
        mend = 'write names=("first", "second")'
        raise wrong(ValueError, f"names is {names!r}", "one for each generator", mend)
    return Comparison(G1, G2, names, zoom)


def scrub(history: Sequence[tuple[Record, Tensor]], *, zoom: int = 3) -> TimeScrubber:
    """Return a slider over a training: pictures of the same noise, and the curves.

    ``history`` is a list of (record, images), as collected in the loop around
    ``train``: images (N, C, H, W) in [-1, 1], drawn from the same z each time.

    Raises TypeError or ValueError for another list, for images that cannot be drawn or
    change their shape, and for a zoom below 1. Used in notebook 04.
    """
    check_count(zoom, "zoom")
    pairs = isinstance(history, Sequence) and len(history) > 0
    if not pairs or not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Record)
        for pair in history
    ):
        pair = "(record, sample_images(record.averaged, 16, seed=0))"
        mend = f"write [{pair} for record in train(G, D, images, config)]"
        came = f"history came as {type(history).__name__}"
        raise wrong(TypeError, came, "a list of pairs (record, images)", mend)
    for _, images in history:
        check_images(images)
        if images.shape != history[0][1].shape:
            came = f"history holds images of shape {tuple(images.shape)}"
            expected = f"{tuple(history[0][1].shape)}, as in the first pair"
            raise wrong(ValueError, came, expected, "draw as many each time")
    return TimeScrubber(history, zoom)


def flip(
    frames: Sequence[Tensor], captions: Sequence[str], *, zoom: int = 1
) -> FlipBook:
    """Return a slider, with Play, over frames: batches of images (N, C, H, W).

    Each frame is one grid, as in ``save_animation``; a figure becomes a frame by
    ``figure_image``. ``captions`` names each frame, and all names differ.

    Raises TypeError or ValueError for frames that cannot be drawn or change their
    shape, for captions that do not fit them, and for a zoom below 1. Used in
    notebook 00.
    """
    check_count(zoom, "zoom")
    if not isinstance(frames, Sequence) or len(frames) == 0:
        came, mend = f"frames came as {type(frames).__name__}", "write list(frames)"
        if isinstance(frames, Sequence):
            came, mend = "there are no frames in this list", "pass [images]"
        raise wrong(TypeError, came, "a list of images (N, C, H, W)", mend)
    for frame in frames:
        check_images(frame, name="frames")
        if frame.shape != frames[0].shape:
            came = f"frames come with shape {tuple(frame.shape)}"
            expected = f"{tuple(frames[0].shape)}, as the first"
            raise wrong(ValueError, came, expected, "draw all at one size")
    named = isinstance(captions, list | tuple) and len(set(captions)) == len(captions)
    if not named or len(captions) != len(frames):
        came, mend = f"captions came as {captions!r:.40}", "write list(map(str, range("
        expected = f"{len(frames)} different names, one for each frame"
        raise wrong(ValueError, came, expected, f"{mend}{len(frames)})))")
    return FlipBook(frames, captions, zoom)


def _own_directions(
    directions: Mapping[str, Tensor], latent_dim: int, taken: set[str]
) -> dict[str, tuple[str, Tensor]]:
    """Return the learner's directions with their labels, or refuse them."""
    mend = f'write {{"mine": torch.eye({latent_dim})[0]}}'
    if not isinstance(directions, Mapping) or len(directions) == 0:
        came = f"directions came as {type(directions).__name__}"
        raise wrong(TypeError, came, "a dictionary of vectors by name", mend)
    for name, vector in directions.items():
        check_vectors(f"torch.eye({latent_dim})[0]", **{"a direction": vector})
        if len(vector) != latent_dim or name in taken:
            came = f"direction {name!r} holds {len(vector)} numbers"
            expected = f"{latent_dim} and a name of its own"
            raise wrong(ValueError, came, expected, mend)
    return {name: (name, vector) for name, vector in directions.items()}
