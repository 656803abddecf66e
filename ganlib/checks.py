"""One sentence for a mistake that torch would let pass or explain badly.

It says what the function got, what it expected, and how to fix it. Only the front
doors call these checks: a network's ``forward``, ``train``, ``evaluate`` and the
explorer. They raise TypeError for the wrong type and ValueError for a wrong value.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def wrong(kind: type[Exception], got: str, expected: str, fix: str) -> Exception:
    """Return the error to raise: one sentence made of these three parts."""
    return kind(f"{got}, expected {expected}: {fix}.")


def check_images(
    images: Tensor, image_shape: Sequence[int] | None = None, name: str = "images"
) -> None:
    """Raise an error unless ``images`` are a batch of floats of shape (N, C, H, W).

    With ``image_shape``, (C, H, W) must be that shape. It takes microseconds.
    """
    check_floats(images, name, f"{name}.float() / 127.5 - 1")
    shape, sizes = tuple(images.shape), tuple(image_shape or images.shape[1:])
    if images.ndim == 4 and shape[1:] == sizes and len(images) > 0:
        return
    fix = 'pass load_images("digits").images, for example'
    if images.numel() == 0:
        fix = "pass at least one image"
    elif image_shape and (*shape[3:], *shape[1:3]) == sizes:
        fix = f"write {name}.permute(0, 3, 1, 2), which puts the channels first"
    elif image_shape and math.prod(sizes) in (images.numel(), math.prod(shape[1:])):
        fix = f"write {name}.view(-1, {', '.join(map(str, sizes))})"
    elif images.ndim == 3:
        fix = f"write {name}.unsqueeze({int(shape[0] > 3)})"
    elif images.ndim == 4 and len(images) > 0:
        fix = f"pass other images, or build the network with image_shape={shape[1:]}"
    expected = f"(N, {', '.join(map(str, sizes))})" if image_shape else "(N, C, H, W)"
    raise wrong(ValueError, f"{name} have shape {shape}", expected, fix)


def check_noise(z: Tensor, latent_dim: int) -> None:
    """Raise an error unless ``z`` is a batch of floats of shape (N, latent_dim)."""
    check_floats(z, "z", "z.float()")
    if z.ndim != 2 or z.shape[1] != latent_dim:
        fix = f"write torch.randn(n, {latent_dim})"
        if z.shape == (latent_dim,):
            fix = "write z.unsqueeze(0)"
        elif z.ndim == 4:
            fix += ", or D(images) if these are images"
        got = f"z has shape {tuple(z.shape)}"
        raise wrong(ValueError, got, f"(N, {latent_dim})", fix)


def check_floats(values: Tensor, name: str, fix: str) -> None:
    """Raise an error unless ``values`` is a tensor of floats; ``fix`` makes it one."""
    if not isinstance(values, Tensor):
        got = f"{name} is a {type(values).__name__}"
        fix = f"write torch.as_tensor({name})"
        if isinstance(values, list) and values and isinstance(values[0], Tensor):
            fix = f"write torch.{'cat' if values[0].ndim == 4 else 'stack'}({name})"
        if hasattr(values, "images"):  # what load_images returns
            fix = f"write {name}.images"
        raise wrong(TypeError, got, "a torch tensor", fix)
    if not values.is_floating_point():
        got = f"the dtype of {name} is {values.dtype}"
        raise wrong(TypeError, got, "floats", f"write {fix}")


def check_range(images: Tensor, name: str = "images") -> None:
    """Raise an error unless images are finite and fill [-1, 1], the range of tanh.

    It looks at every pixel, so it belongs at the start of a run, not in its loop.
    """
    low, high = (end.item() for end in images.detach().aminmax())
    got = f"{name} reach from {low:.3g} to {high:.3g}"
    if not math.isfinite(high - low):
        fix = "look for a division by zero, or train their generator with a lower lr_g"
        raise wrong(ValueError, f"{name} hold NaN or infinity", "[-1, 1]", fix)
    if low < -1.001 or high > 1.001:
        fix = f"2 * ({name} - {name}.min()) / ({name}.max() - {name}.min()) - 1"
        if low >= 0 and high > 100:  # bytes
            fix = f"{name} / 127.5 - 1"
        elif low == high or (low >= -1.1 and high <= 1.1):  # a resize overshoots
            fix = f"{name}.clamp(-1, 1)"
        raise wrong(ValueError, got, "[-1, 1], the range of tanh", f"write {fix}")
    if 0 <= low < 0.1 and high > 0.5:  # plain gray passes, and so does nearly white
        expected = "[-1, 1], the range of tanh, and this looks like [0, 1]"
        raise wrong(ValueError, got, expected, f"write {name} * 2 - 1")


def check_separate(D: nn.Module) -> None:
    """Raise an error if D mixes the images of a batch, as BatchNorm does.

    Real and fake images would then share statistics, and a gradient with respect to
    one image would be a gradient of all logits.
    """
    if any(isinstance(layer, _BatchNorm) for layer in D.modules()):
        got, expected = "D has BatchNorm", "a D that sees each image alone"
        raise wrong(ValueError, got, expected, "leave it out of D, or use GroupNorm")


def check_pairs(real_logits: Tensor, fake_logits: Tensor) -> None:
    """Raise an error unless both have one shape, so that each has just one partner."""
    real, fake = tuple(real_logits.shape), tuple(fake_logits.shape)
    if real != fake:
        fix = "write .squeeze(1) after (N, 1), and make as many fakes as real images"
        got = f"real logits have shape {real}, fake ones {fake}"
        raise wrong(ValueError, got, "one shape (N,) for both", fix)
