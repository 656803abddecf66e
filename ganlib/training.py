"""The two steps of the game, and the loop around them."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganlib.arguments import (
    check_count,
    check_function,
    check_positive,
    check_share,
    wrong,
)
from ganlib.checks import (
    check_graph,
    check_images,
    check_network,
    check_range,
)
from ganlib.data import batch_indices
from ganlib.losses import d_loss, g_loss_non_saturating
from ganlib.records import Meter, Record, Snapshot


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training; the defaults are the recipe of notebook 04.

    Raises ValueError for settings that cannot work.
    """

    steps: int = 5000  # updates of D, and as many of G
    batch_size: int = 64  # real images, and as many fakes, in an update
    lr_g: float = 1e-3  # Adam's learning rate for G
    lr_d: float = 1e-3  # and for D
    betas: tuple[float, float] = (0.0, 0.999)  # Adam's memory of gradient and square
    ema_share: float = 0.1  # of the steps so far, over which G's average reaches back
    record_every: int = 100  # steps between two records
    seed: int = 0  # of the noise and of the order of the images

    def __post_init__(self):
        least = {"steps": 1, "batch_size": 2, "record_every": 1, "seed": 0}
        for name, low in least.items():  # BatchNorm needs 2 images
            check_count(getattr(self, name), name, low)
        for name in ("lr_g", "lr_d"):
            check_positive(getattr(self, name), name, 1e-3)
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            came, mend = f"betas is {self.betas!r}", "write betas=(0.0, 0.999)"
            raise wrong(TypeError, came, "a tuple of two numbers", mend)
        shares = zip(("betas[0]", "betas[1]"), self.betas, (0.0, 0.999), strict=True)
        for name, share, usual in (*shares, ("ema_share", self.ema_share, 0.1)):
            check_share(share, name, usual)


def d_step(
    D: nn.Module,
    opt_d: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    loss_function: Callable = d_loss,
) -> tuple[Tensor, Tensor, Tensor]:
    """Train D once on real and fake images (N, C, H, W); G gets no gradient.

    Both go through D together, so D must not mix the images of a batch (BatchNorm).
    Returns the loss () and D's logits (N,) for the real and the fake images, detached.

    Raises TypeError or ValueError when D is no discriminator or images do not fit it.
    Taught in notebook 04.
    """
    check_network(D, "D")
    check_images(real, D.image_shape, D, "real")
    check_images(fake, D.image_shape, D, "fake")
    both = D(torch.cat([real, fake.detach()]))  # one pass is faster than two
    real_logits, fake_logits = both.split([len(real), len(fake)])
    loss = loss_function(real_logits, fake_logits)
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()
    return loss.detach(), real_logits.detach(), fake_logits.detach()


def g_step(
    D: nn.Module,
    opt_g: torch.optim.Optimizer,
    fake: Tensor,
    loss_function: Callable = g_loss_non_saturating,
) -> Tensor:
    """Train G once through D on fake = G(z), its graph attached; D gets no gradient.

    Returns the loss (), detached.

    Raises TypeError or ValueError when D is no discriminator, or fake does not fit it
    or has no graph.
    Taught in notebook 04.
    """
    check_network(D, "D")
    check_images(fake, D.image_shape, D, "fake")
    check_graph(fake)
    D.requires_grad_(False)
    loss = loss_function(D(fake))
    opt_g.zero_grad()
    loss.backward()
    opt_g.step()
    D.requires_grad_(True)
    return loss.detach()


def classic_update(
    D: nn.Module,
    opt_d: torch.optim.Optimizer,
    opt_g: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    progress: float,
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Train D once, then G once, on fake = G(z) with its graph: what ``train`` repeats.

    ``progress`` is the share of the steps done, for updates that change on the way.
    Returns what ``d_step`` and ``g_step`` return. The updates of notebook 08 are in
    ``ganlib.updates``.
    """
    return d_step(D, opt_d, real, fake), g_step(D, opt_g, fake)


def constant_rate(progress: float) -> float:
    """Return 1: the learning rates stay as they are. See ``ganlib.updates``."""
    return 1.0


def pick_device() -> torch.device:
    """Return the fastest device that this machine has: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def train(
    G: nn.Module,
    D: nn.Module,
    images: Tensor,
    config: TrainConfig,
    update: Callable = classic_update,
    rate: Callable[[float], float] = constant_rate,
) -> Iterator[Record]:
    """Train G and D in place on images (N, C, H, W) in [-1, 1]; yield records.

    The loop is yours: ``for record in train(G, D, images, config): ...``. Leaving it
    ends the training, and so does Ctrl-C, which yields a last record. ``averaged`` in
    each record is the running average of G, in eval mode. Networks for points take
    points (N, 2) of any range in place of images.
    ``update`` moves both players once, in place of ``classic_update``, and ``rate``
    gives the factor on both learning rates for a share of the steps done.
    Same seed, machine and number of threads: the same weights, bit for bit.

    Raises TypeError or ValueError for networks, images or a config that do not fit,
    and FloatingPointError when a loss or a weight becomes NaN or infinite; G, D and
    the average then have the weights of the last good record. Taught in notebook 04.
    """
    check_network(G, "G")
    check_network(D, "D")
    check_config(config)
    device, other = (next(network.parameters()).device for network in (G, D))
    if device != other:
        mend = f'write D.to("{device}")'
        raise wrong(ValueError, f"D is on {other}", f"{device}, where G is", mend)
    for network in (D, G):
        check_images(images, network.image_shape, network)
    if images.ndim == 4:  # points have no range to keep
        check_range(images)
    if len(images) < config.batch_size:
        came = f"there are {len(images)} images"
        mend = f"pass more images or write batch_size={max(2, len(images))}"
        raise wrong(ValueError, came, f"a batch of {config.batch_size} or more", mend)
    for name, function in (("update", update), ("rate", rate)):
        check_function(function, name)
    return _run(G, D, images, config, update, rate)


def check_config(config: TrainConfig) -> None:
    """Refuse what is no TrainConfig, a dictionary for example."""
    if not isinstance(config, TrainConfig):
        came, mend = type(config).__name__, "write TrainConfig(steps=5000)"
        raise wrong(TypeError, f"config came as {came}", "a TrainConfig", mend)


def _run(
    G: nn.Module,
    D: nn.Module,
    images: Tensor,
    config: TrainConfig,
    update: Callable,
    rate: Callable,
) -> Iterator[Record]:
    torch.set_flush_denormal(True)  # tiny numbers near 1e-40 slow CPUs down
    device = images.device
    noise = torch.Generator(device).manual_seed(config.seed)
    batches = _endless_batches(images, config)
    opt_g, opt_d = _adam(G, config.lr_g, config), _adam(D, config.lr_d, config)
    G.train()
    D.train()
    averaged = copy.deepcopy(G).requires_grad_(False).eval()
    states = [list(network.state_dict().values()) for network in (averaged, G)]
    meter = Meter(config.batch_size, averaged)
    good = Snapshot(0, [G, D, averaged])

    try:
        for step in range(1, config.steps + 1):
            real = next(batches)
            z = torch.randn(len(real), G.latent_dim, generator=noise, device=device)
            fake = G(z)  # one batch of fakes serves both steps
            progress = (step - 1) / config.steps
            for optimizer, lr in ((opt_g, config.lr_g), (opt_d, config.lr_d)):
                optimizer.param_groups[0]["lr"] = lr * rate(progress)
            verdict, loss = update(D, opt_d, opt_g, real, fake, progress)
            _average(*states, config.ema_share * (step - 1))
            meter.add(verdict, loss)
            if step % config.record_every == 0 or step == config.steps:
                record = meter.record(step)
                _stop_unless_finite(record, good, config)
                good = Snapshot(step, good.networks)
                yield record
                meter.go_on()
    except KeyboardInterrupt:
        D.requires_grad_(True)
        step = meter.steps
        print(f"Stopped after {step} of {config.steps} steps; the weights are kept.")
        if step == 0:  # no means to tell, but the networks are there
            yield meter.record(step)
        elif step > meter.steps_before:
            record = meter.record(step)
            _stop_unless_finite(record, good, config)
            yield record


def _endless_batches(images: Tensor, config: TrainConfig) -> Iterator[Tensor]:
    order = torch.Generator(images.device).manual_seed(config.seed + 1)
    while True:
        for indices in batch_indices(
            len(images), config.batch_size, generator=order, drop_last=True
        ):
            yield images[indices]


def _adam(network: nn.Module, lr: float, config: TrainConfig) -> torch.optim.Adam:
    # fused: one pass over the weights instead of a Python loop
    return torch.optim.Adam(network.parameters(), lr, config.betas, fused=True)


def _average(averaged: list[Tensor], current: list[Tensor], reach: float) -> None:
    """Move the average, which reaches back over ``reach`` steps, towards G in place.

    The memory grows with the training, so the untrained weights are soon forgotten
    (power function EMA: Karras et al. 2024, section 3.1).
    """
    for old, new in zip(averaged, current, strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 / (1 + reach))
        else:  # BatchNorm's count of batches
            old.copy_(new)


def _stop_unless_finite(record: Record, good: Snapshot, config: TrainConfig) -> None:
    states = [network.state_dict().values() for network in good.networks]
    sums = [values.float().sum() for state in states for values in state]
    if math.isfinite(record.d_loss + record.g_loss + torch.stack(sums).sum().item()):
        return
    good.restore()
    raise FloatingPointError(
        f"a loss or a weight became NaN or infinite between step {good.step} and step "
        f"{record.step}; G and D are back at step {good.step}: lower lr_g and lr_d "
        f"(now {config.lr_g:g} and {config.lr_d:g}), or start from smaller weights."
    )
