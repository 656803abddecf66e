"""Translation of images between two domains, learned without pairs (CycleGAN).

The domains are called A and B. Test sets have pairs, so that a translation can be
compared with the truth; training sets have none.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torch.optim import Optimizer

from ganlib.checks import check_images
from ganlib.latent import stream
from ganlib.losses import cycle_loss, g_loss_non_saturating, identity_loss
from ganlib.parallel import own_rows
from ganlib.steps import Moved, constant_rate, d_step, take_step
from ganlib.storage import Folder, KeptRun
from ganlib.training import Record, TrainConfig, check_start, endless_batches, loop


class Residual(nn.Module):
    """x + two 3×3 convolutions of x, the shape (N, channels, H, W) unchanged.

    Source: He et al. 2016. Taught in notebook 11.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class Translator(nn.Module):
    """G: images (N, *image_shape) → images of the same shape, in [-1, 1].

    A convolution (4×4, stride 2) halves the size, and ``PixelShuffle`` doubles it, so
    height and width are even. Between are ``channels`` and twice as many channels. An
    output pixel depends on 20 × 20 input pixels.

    Raises TypeError or ValueError for images that are not floats (N, *image_shape).
    Taught in notebook 11.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28), channels: int = 16):
        super().__init__()
        self.image_shape = tuple(image_shape)
        colors = image_shape[0]
        self.net = nn.Sequential(
            nn.Conv2d(colors, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            Residual(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 4 * colors, 3, padding=1),
            nn.PixelShuffle(2),  # (N, 4 C, H/2, W/2) → (N, C, H, W)
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        return self.net(images)


class PatchDiscriminator(nn.Module):
    """D: images (N, C, H, W) → logits (N, H/4, W/4), one for each patch of 18 × 18.

    Source: Isola et al. 2017, section 3.2.2. Taught in notebook 11.
    """

    def __init__(self, image_shape: tuple = (1, 28, 28), channels: int = 32):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.net = nn.Sequential(
            nn.Conv2d(image_shape[0], channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        return self.net(images).squeeze(1)


class BothWays(nn.Module):
    """The translators of both directions, ``to_b`` and ``to_a``, as one network."""

    def __init__(self, to_b: nn.Module, to_a: nn.Module):
        super().__init__()
        self.to_b, self.to_a = to_b, to_a


class ImagePool:
    """The last fakes, which D sees again, so that G cannot return to old mistakes.

    Source: Shrivastava et al. 2017, section 2.3. Taught in notebook 11.
    """

    def __init__(self, size: int, generator: torch.Generator):
        self.size, self.generator = size, generator
        self.images = torch.empty(0, device=generator.device)

    def exchange(self, fakes: Tensor) -> Tensor:
        """Return as many fakes (N, C, H, W), about half of them from earlier calls.

        Each of those leaves the pool, and the new one that it replaces takes its place.
        The first ``size`` fakes fill the pool, and come back as they are.
        """
        fakes = fakes.detach()
        if len(self.images) < self.size:
            self.images = torch.cat([self.images, fakes])[: self.size]
            return fakes
        random = {"generator": self.generator, "device": self.generator.device}
        places = torch.randperm(self.size, **random)[: len(fakes)]
        swap = torch.rand(len(places), 1, 1, 1, **random) < 0.5
        old, new = self.images[places], fakes[: len(places)]
        self.images[places] = torch.where(swap, new, old)
        return torch.cat([torch.where(swap, old, new), fakes[len(places) :]])


def cycle_step(
    G: BothWays,
    D_a: nn.Module,
    D_b: nn.Module,
    opt_g: Optimizer,
    a: Tensor,
    b: Tensor,
    cycle_weight: float = 1.0,
    identity_weight: float = 0.0,
    loss_function: Callable = g_loss_non_saturating,
) -> tuple[Tensor, Tensor, Tensor]:
    """Train both translators once on images a and b (N, C, H, W); no D gets a gradient.

    Returns the loss () without cycle and identity, and the fakes of A and of B, all
    detached. Source: Zhu et al. 2017, equation 3. Taught in notebook 11.
    """
    fake_b, fake_a = G.to_b(a), G.to_a(b)
    loss = loss_function(D_a(fake_a)) + loss_function(D_b(fake_b))
    cycle = cycle_loss(a, G.to_a(fake_b)) + cycle_loss(b, G.to_b(fake_a))
    total = loss + cycle_weight * cycle
    if identity_weight:  # two more passes
        same = identity_loss(G.to_b, b) + identity_loss(G.to_a, a)
        total = total + identity_weight * same
    take_step(opt_g, total)
    return loss.detach(), fake_a.detach(), fake_b.detach()


def cycle_update(
    G: BothWays,
    D: nn.ModuleList,
    opt_d: Optimizer,
    opt_g: Optimizer,
    a: Tensor,
    b: Tensor,
    pools: tuple[ImagePool, ImagePool],
    progress: float,
    *,
    cycle_weight: float = 1.0,
    identity_weight: float = 0.0,
) -> Moved:
    """Move both translators, then each D, with the losses of notebook 04.

    Used in notebook 11.
    """
    weights = cycle_weight, identity_weight
    g_loss, *fakes = cycle_step(G, *D, opt_g, a, b, *weights)
    moved = [
        d_step(D_x, opt_d, real, pool.exchange(fake))
        for D_x, real, pool, fake in zip(D, (a, b), pools, fakes, strict=True)
    ]
    losses, real_logits, fake_logits = zip(*moved, strict=True)
    d_loss = torch.stack(losses).sum()
    return (d_loss, torch.cat(real_logits), torch.cat(fake_logits)), g_loss


def train_translation(
    G: BothWays,
    D: nn.ModuleList,
    images_a: Tensor,
    images_b: Tensor,
    config: TrainConfig,
    update: Callable = cycle_update,
    rate: Callable[[float], float] = constant_rate,
    run: Folder | None = None,
) -> Iterator[Record]:
    """Train both translators and D = [D_a, D_b] on images of A and B; yield records.

    Images (N, C, H, W) of the two domains need no order and no equal number. The losses
    in a record are sums over both directions, without cycle and identity, and
    ``record.averaged`` is the average of both translators. For all else, see ``train``,
    whose loop this is.

    Raises what ``train`` raises. Used in notebook 11.
    """
    check_start(G.to_a, D[0], images_a, config)
    check_start(G.to_b, D[1], images_b, config)
    pools = [
        ImagePool(50, stream(f"pool {name}", config.seed, images_a.device))
        for name in "ab"
    ]
    parts = {"G": G, "D": D, "pool a": pools[0], "pool b": pools[1]}
    data = images_a, images_b
    saved = KeptRun(run, config, [update, rate], data, parts=parts)
    # each domain has its own order
    batches = [
        endless_batches(images, config.batch_size, config.seed + i, saved.step)
        for i, images in enumerate(data)
    ]

    def move(opt_d: Optimizer, opt_g: Optimizer, progress: float) -> Moved:
        a, b = (own_rows(next(images)) for images in batches)
        return update(G, D, opt_d, opt_g, a, b, pools, progress)

    return loop(G, D, config, move, rate, saved)


# Two second domains, made from images (N, 1, H, W) of light strokes on black. Each
# value stays in [-1, 1].


def outlines(images: Tensor) -> Tensor:
    """Return the pixels around the strokes: the 3×3 maximum minus the image."""
    return max_pool2d(images, 3, stride=1, padding=1) - images - 1


def on_paper(images: Tensor) -> Tensor:
    """Return dark strokes on paper whose gray goes from 0 on the left to 1."""
    paper = torch.linspace(0, 1, images.shape[-1], device=images.device)
    return torch.minimum(-images, paper)
