"""Sentences instead of tracebacks: what came, what was expected, how to mend it.

Each check raises TypeError for a wrong kind of thing and ValueError for a wrong shape,
device or value. All but those that look at every value (``check_range``,
``check_image_sets``, ``check_features``) cost microseconds and may stand in a loop.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlib.arguments import wrong

SOME_IMAGES = 'load_images("digits").images'
SOME_POINTS = "sample_points(GRID, 1000, seed=0)"


def check_images(
    images: Tensor,
    image_shape: Sequence[int] | None = None,
    network: nn.Module | None = None,
    name: str = "images",
) -> None:
    """Refuse what is not a batch of floating-point images of shape (N, C, H, W).

    With ``image_shape`` (C, H, W) the size must fit as well, with ``network`` the dtype
    and the device of its weights. With ``image_shape`` (d,), points (N, d) are wanted.
    """
    shape, wanted = tuple(getattr(images, "shape", ())), tuple(image_shape or ())
    if len(wanted) == 1:
        check_points(images, *wanted, network, name)
        return
    _check_floats(images, name, SOME_IMAGES, " / 127.5 - 1", network)
    came = f"{name} have shape {shape}"
    if len(shape) != 4:
        raise wrong(ValueError, came, "(N, C, H, W)", _to_batch(name, shape, wanted))
    if 0 in shape:
        came = f"there are no {name} at all, their shape is {shape}"
        raise wrong(ValueError, came, "sizes of 1 or more", f"pass {SOME_IMAGES}")
    if not wanted or shape[1:] == wanted:
        return
    mends = [f"build it with image_shape={shape[1:]}"]
    if network is not None and not hasattr(network, "image_shape") and wanted[0] == 1:
        mends = []  # a judge knows one size only
    if (shape[3], *shape[1:3]) == wanted:
        mends = [f"move the channels with {name}.permute(0, 3, 1, 2)"]
    elif shape[1] == wanted[0]:
        to_size = f"torch.nn.functional.interpolate({name}, size={wanted[1:]})"
        mends.append(f"resize with {to_size}")
    elif wanted[0] == 1:
        mends.append(f"make them gray with {name}.mean(1, keepdim=True)")
    came, built = (
        f"{c} channel{'s' * (c > 1)} of {h}×{w} pixels"
        for c, h, w in (shape[1:], wanted)
    )
    raise ValueError(
        f"{name} have {came}, this network was built for {built}: {' or '.join(mends)}."
    )


def check_points(
    points: Tensor,
    size: int = 2,
    network: nn.Module | None = None,
    name: str = "points",
) -> None:
    """Refuse what is not a batch of floating-point points of shape (N, size)."""
    some = f"torch.randn(n, {size})" if size != 2 else SOME_POINTS
    _check_floats(points, name, some, "", network)
    shape = tuple(points.shape)
    if len(shape) == 2 and shape[1] == size and shape[0] > 0:
        return
    mend = f"pass {some}"
    if shape == (size,):
        mend = f"write {name}.unsqueeze(0)"
    elif len(shape) == 4:
        mend = "for images, pass Discriminator() and Generator()"
    came, expected = f"{name} have shape {shape}", f"(N, {size}) with N of 1 or more"
    raise wrong(ValueError, came, expected, mend)


def check_pairs(**batches: Tensor) -> None:
    """Refuse a real and a fake batch that differ in number."""
    (first, real), (second, fake) = batches.items()
    if len(real) != len(fake):
        came = f"there are {len(real)} {first} and {len(fake)} {second}"
        longer = first if len(real) > len(fake) else second
        mend = f"write {longer}[:{min(len(real), len(fake))}]"
        raise wrong(ValueError, came, "as many of both", mend)


def check_graph(fake: Tensor) -> None:
    """Refuse fakes that gradients cannot follow back to G."""
    if not fake.requires_grad:
        mend = "pass G(z) itself, without detach() and outside of torch.no_grad()"
        raise wrong(ValueError, "fake came without its graph", "G's own images", mend)


def check_range(images: Tensor, name: str = "images") -> None:
    """Refuse images with values outside [-1, 1], or that seem to lie in [0, 1].

    Looks at every pixel, so it belongs at the start of a training, not in its loop.
    """
    low, high = (end.item() for end in images.detach().aminmax())
    if not math.isfinite(high - low):
        raise ValueError(
            f"{name} hold NaN or infinite values, expected [-1, 1]: look for a "
            "division by zero, or train their generator again with a lower lr_g."
        )
    came = f"{name} reach from {low:.3g} to {high:.3g}"
    if low < -1.001 or high > 1.001:
        if low >= 0 and high > 100:
            mend = f"{name} / 127.5 - 1"  # bytes
        elif low == high or (low >= -1.1 and high <= 1.1):
            mend = f"{name}.clamp(-1, 1)"  # overshoot of a resizing, say
        else:
            mend = f"2 * ({name} - {name}.min()) / ({name}.max() - {name}.min()) - 1"
        raise wrong(ValueError, came, "[-1, 1], the range of tanh", f"write {mend}")
    if 0 <= low < 0.1 and high > 0.5:  # plain gray passes, and so does nearly white
        raise ValueError(
            f"{came}, which looks like [0, 1], but tanh draws in [-1, 1]: "
            f"write {name} * 2 - 1."
        )


def check_noise(z: Tensor, latent_dim: int, network: nn.Module | None = None) -> None:
    """Refuse what is not a batch of noise vectors of shape (N, latent_dim).

    With ``network``, dtype and device must be those of its weights, and N at least 2
    where BatchNorm is in train mode.
    """
    draw = f"torch.randn(n, {latent_dim})"
    _check_floats(z, "z", draw, "", network)
    came, mend = f"z has shape {tuple(z.shape)}", f"draw it with {draw}"
    if z.ndim != 2 or z.shape[1] != latent_dim or z.shape[0] == 0:
        if z.ndim == 4:
            came, mend = f"{came}, which looks like images", f"{mend}, or try D(images)"
        elif z.shape == (latent_dim,):
            mend = "write z.unsqueeze(0)"
        some = "" if z.shape[:1] != (0,) else " with N of 1 or more"
        raise wrong(ValueError, came, f"(N, {latent_dim}){some}", mend)
    layers = network.modules() if network is not None and z.shape[0] == 1 else ()
    if any(isinstance(layer, _BatchNorm) and layer.training for layer in layers):
        expected, mend = "2 or more for BatchNorm in train mode", "call G.eval() first"
        raise wrong(ValueError, "z holds one vector", expected, mend)


def check_vectors(source: str, **vectors: Tensor) -> None:
    """Refuse what are not float vectors (N,), all of one dtype and on one device.

    ``source`` is a call that returns the right thing.
    """
    (first, like), *_ = vectors.items()
    for name, values in vectors.items():
        _check_floats(values, name, source, "")
        if values.ndim != 1 or len(values) == 0:
            came = f"{name} came with shape {tuple(values.shape)}"
            flat = max(values.shape, default=1) == values.numel() > 0  # (N, 1), say
            mend = f"write {name}.flatten()" if flat else f"pass {source}"
            raise wrong(ValueError, came, "(N,) with N of 1 or more", mend)
        if (values.dtype, values.device) != (like.dtype, like.device):
            came = f"{name} came as {values.dtype} on {values.device}"
            expected = f"{like.dtype} on {like.device}, as {first}"
            raise wrong(ValueError, came, expected, f"write {name}.to({first})")


def check_walk(start: Tensor, end: Tensor, t: Tensor, *, arc: bool = False) -> None:
    """Refuse ends and shares t that give no line, or no ``arc``."""
    check_vectors("sample_noise(1, 100, seed=0)[0]", start=start, end=end)
    check_vectors("torch.linspace(0, 1, 9)", start=start, t=t)
    count = len(start)
    mend = f"draw it with sample_noise(1, {count}, seed=0)[0]"
    if len(end) != count:
        came = f"end holds {len(end)} numbers"
        raise wrong(ValueError, came, f"{count}, as many as start", mend)
    for name, vector in (("start", start), ("end", end)) if arc else ():
        if not 1e-6 < vector.norm().item() < math.inf:
            came = f"{name} has length {vector.norm():.3g}"
            raise wrong(ValueError, came, "one that points somewhere", mend)


def check_network(network: nn.Module, name: str) -> None:
    """Refuse what is no generator "G", discriminator "D" or "judge", by its attributes.

    A number may follow, as in "G2". Networks of your own pass when they have these.
    """
    needs, expected, example = {
        "G": ("latent_dim and image_shape", "a generator", "Generator()"),
        "D": ("image_shape", "a discriminator", "Discriminator()"),
        "judge": ("num_features", "a judge", "train_judge(images, labels)"),
    }[name.rstrip("12")]
    telling = ("latent_dim", "image_shape", "num_features")
    has = " and ".join(word for word in telling if hasattr(network, word))
    if not isinstance(network, nn.Module) or has != needs:
        came, mend = type(network).__name__, f"pass {example}, for example"
        expected = f"{expected} with {needs}"
        raise wrong(TypeError, f"{name} came as {came}", expected, mend)


def check_image_sets(network: nn.Module | None = None, **sets: Tensor) -> None:
    """Refuse sets of images in [-1, 1] that differ in size or device.

    With a judge as ``network``, all must fit it.
    """
    (first, like), *_ = sets.items()
    image_shape = None if network is None else (1, 28, 28)
    for name, images in sets.items():
        check_images(images, image_shape, network, name)
        here = (images.shape[1:], images.dtype, images.device)
        if here != (like.shape[1:], like.dtype, like.device):
            came = f"{name} are {_describe(images)}"
            mend = f"load both in one way, or write {name}.to({first})"
            if images.shape[1:] != like.shape[1:]:
                size = tuple(like.shape[2:])
                resize = f"torch.nn.functional.interpolate({name}, size={size})"
                mend = f"load both in one way, or resize with {resize}"
            raise wrong(ValueError, came, f"{_describe(like)}, as {first}", mend)
    for name, images in sets.items():
        check_range(images, name)


def check_features(**sets: Tensor) -> None:
    """Refuse what are not finite features (N, d), all of one d and on one device."""
    (first, like), *_ = sets.items()
    for name, values in sets.items():
        _check_floats(values, name, "judge_features(judge, images)", "")
        if values.ndim != 2 or 0 in values.shape:
            came = f"{name} have shape {tuple(values.shape)}"
            mend = f"write judge_features(judge, {name})"  # most likely images
            raise wrong(ValueError, came, "(N, d) with N and d of 1 or more", mend)
        here = (values.shape[1], values.dtype, values.device)
        if here != (like.shape[1], like.dtype, like.device):
            came = f"{name} are {_describe(values)}"
            mend = "compute both with the same judge"
            raise wrong(ValueError, came, f"{_describe(like)}, as {first}", mend)
        if not values.isfinite().all():
            mend = "look for a division by zero in what drew the images"
            raise wrong(ValueError, f"{name} hold NaN or infinity", "numbers", mend)


def check_enough(values: Tensor, least: int, name: str, purpose: str) -> None:
    """Refuse fewer than ``least`` of something; ``purpose`` says what needs them."""
    if len(values) < least:
        came = f"there are {len(values)} {name}, too few for {purpose}"
        raise ValueError(f"{came}: use at least {max(least, 1000):,}.")


def check_shares(shares: Tensor) -> None:
    """Refuse what are not shares (K,): 0 or more each, and 1 together."""
    check_vectors("class_balance(judge, images).shares", shares=shares)
    total = shares.sum().item()
    if shares.min() < 0 or not abs(total - 1) < 1e-3:
        came, mend = f"shares sum to {total:.3g}", "write shares / shares.sum()"
        raise wrong(ValueError, came, "1, and none below 0", mend)


def _check_floats(
    values: Tensor, name: str, source: str, scale: str, network: nn.Module | None = None
) -> None:
    if not isinstance(values, Tensor):
        came, mend = type(values).__name__, f"pass {source}"
        if hasattr(values, "images"):  # what load_images returns
            mend = "take its field .images"
        elif isinstance(values, list) and values and isinstance(values[0], Tensor):
            mend = f"write torch.{'cat' if values[0].ndim == 4 else 'stack'}({name})"
        elif hasattr(values, "__array__") or isinstance(values, list):
            mend = f"write torch.as_tensor({name})"
        raise wrong(TypeError, f"{name} came as {came}", "a torch tensor", mend)
    weight = None if network is None else next(network.parameters(), None)
    wanted = torch.get_default_dtype() if weight is None else weight.dtype
    if values.dtype != wanted and not _fits(values, weight):
        mend = f"{name}.float()" if wanted == torch.float32 else f"{name}.to({wanted})"
        if not values.is_floating_point():
            mend = f"{name}.{'real' if values.is_complex() else f'float(){scale}'}"
        came = f"{name} came as {values.dtype}"
        raise wrong(TypeError, came, f"{wanted}"[6:], f"write {mend}")
    if weight is not None and values.device != weight.device:
        came = f"{name} came on {values.device}"
        mend = f'write {name}.to("{weight.device}")'
        raise wrong(ValueError, came, f"{weight.device}, where the network is", mend)


def _describe(values: Tensor) -> str:
    sizes = ", ".join(map(str, ("N", *values.shape[1:])))
    return f"({sizes}) of {str(values.dtype)[6:]} on {values.device}"


def _fits(values: Tensor, weight: Tensor | None) -> bool:
    """Tell whether another dtype than expected does no harm: half, under autocast."""
    common = values.dtype in (torch.float32, torch.float16, torch.bfloat16)
    kind = values.device.type
    casts = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return common and (weight is None or casts)


def _to_batch(name: str, shape: tuple, wanted: tuple) -> str:
    sizes = wanted or (1, 28, 28)
    if shape[-1:] == (math.prod(sizes),) or (1, *shape) == sizes:
        return f"try {name}.view(-1, {', '.join(map(str, sizes))})"
    if len(shape) == 3:
        single = shape == wanted or (not wanted and shape[0] == 3)  # in color
        return f"try {name}.unsqueeze({0 if single else 1})"
    if len(shape) == 2:
        return f"this looks like noise, try G({name})"
    return f"try {name}.flatten(0, 1)" if len(shape) == 5 else f"try {SOME_IMAGES}"
