"""Sentences instead of tracebacks: what came, what was expected, how to mend it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_images(images: Tensor, image_shape: Sequence[int] | None = None) -> None:
    """Refuse what is not a batch of floating-point images of shape (N, C, H, W).

    Compares shapes and dtypes only, so it costs microseconds and may stand in a
    network's ``forward``. With ``image_shape`` (C, H, W) the size must fit as well.

    Raises TypeError (not a tensor, wrong dtype) or ValueError (wrong shape).
    """
    _check_floats(images, "images", "images.float() / 127.5 - 1")
    shape = tuple(images.shape)
    if len(shape) != 4:
        hint = {2: "images.view(-1, 1, 28, 28)", 3: "images.unsqueeze(1)"}
        raise ValueError(
            f"images have shape {shape}, expected (N, C, H, W): "
            f"try {hint.get(len(shape), 'images.view(-1, 1, 28, 28)')}."
        )
    if image_shape is None or shape[1:] == tuple(image_shape):
        return
    wanted = tuple(image_shape)
    if shape[1] != wanted[0]:
        to_gray = " or make them gray with images.mean(1, keepdim=True)"
        raise ValueError(
            f"images have {shape[1]} channels, this network was built for {wanted[0]}: "
            f"build it with image_shape={shape[1:]}"
            f"{to_gray if wanted[0] == 1 else ''}."
        )
    raise ValueError(
        f"images are {shape[2]}×{shape[3]} pixels, this network was built for "
        f"{wanted[1]}×{wanted[2]}: build it with image_shape={shape[1:]} or resize "
        f"with torch.nn.functional.interpolate(images, size={wanted[1:]})."
    )


def check_range(images: Tensor) -> None:
    """Refuse images with values outside [-1, 1], or that never go below 0.

    Looks at every pixel, so it belongs at the start of a training, not in its loop.

    Raises ValueError.
    """
    if images.numel() == 0:
        raise ValueError(
            "there are no images at all (an empty tensor): pass at least one batch."
        )
    low, high = images.min().item(), images.max().item()
    if math.isnan(low):
        raise ValueError("the images hold NaN values: look for a division by zero.")
    if low < -1.001 or high > 1.001:
        if low >= 0 and high > 100:
            mend = "images / 127.5 - 1"  # bytes
        elif low >= -1.1 and high <= 1.1:
            mend = "images.clamp(-1, 1)"  # overshoot of a resizing, say
        else:
            mend = "2 * (images - images.min()) / (images.max() - images.min()) - 1"
        raise ValueError(
            f"images reach from {low:.3g} to {high:.3g}, expected [-1, 1], "
            f"the range of tanh: write {mend}."
        )
    if low >= 0:
        raise ValueError(
            f"images reach from {low:.3g} to {high:.3g}, which looks like [0, 1], "
            "but tanh draws in [-1, 1]: write images * 2 - 1."
        )


def check_noise(z: Tensor, latent_dim: int) -> None:
    """Refuse what is not a batch of noise vectors of shape (N, latent_dim).

    Raises TypeError (not a tensor, wrong dtype) or ValueError (wrong shape).
    """
    _check_floats(z, "z", "z.float()")
    if z.ndim != 2 or z.shape[1] != latent_dim:
        raise ValueError(
            f"z has shape {tuple(z.shape)}, expected (N, {latent_dim}): "
            f"draw it with torch.randn(n, {latent_dim})."
        )


def _check_floats(values: Tensor, name: str, mend_integers: str) -> None:
    if not isinstance(values, Tensor):
        raise TypeError(
            f"{name} came as {type(values).__name__}, expected a torch tensor: "
            "try torch.as_tensor(...)."
        )
    if not values.is_floating_point():
        raise TypeError(
            f"{name} are {values.dtype}, expected float32: write {mend_integers}."
        )
    if values.dtype == torch.float64 != torch.get_default_dtype():
        raise TypeError(
            f"{name} are torch.float64, expected float32: write {name}.float()."
        )
