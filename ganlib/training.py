"""The training run: its settings (hyperparameters), its records, and the loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from numbers import Integral, Real

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlib.checks import check_images, check_range, check_separate, wrong
from ganlib.data import batch_indices
from ganlib.latent import new_noise, stream
from ganlib.parallel import connect, own_rows
from ganlib.steps import Moved, classic_update, constant_rate
from ganlib.storage import Folder, KeptRun, undisturbed


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run; the defaults are the recipe of notebook 04.

    Raises ValueError for counts that cannot work.
    """

    steps: int = 5000  # updates of D, and as many of G
    batch_size: int = 64  # real images, and as many fakes, in an update
    lr_g: float = 1e-3  # Adam's learning rate for G
    lr_d: float = 1e-3  # and for D
    betas: tuple[float, float] = (0.0, 0.999)  # Adam's memory of gradient and square
    ema_share: float = 0.1  # fraction of the steps so far in G's running average (EMA)
    record_every: int = 100  # steps between two records
    seed: int = 0  # of the noise and of the order of the images

    def __post_init__(self):
        for name, low in {"steps": 1, "batch_size": 2, "record_every": 1}.items():
            value = getattr(self, name)  # BatchNorm needs 2 images
            if not isinstance(value, Integral) or value < low:
                near = max(low, round(value)) if isinstance(value, Real) else low
                expected, fix = f"a whole number from {low} on", f"write {name}={near}"
                raise wrong(ValueError, f"{name} is {value!r}", expected, fix)
        for setting in fields(self):  # Python's own numbers, even if NumPy's are given
            kind = type(setting.default)
            value = getattr(self, setting.name)
            plain = tuple(map(float, value)) if kind is tuple else kind(value)
            object.__setattr__(self, setting.name, plain)


@dataclass(frozen=True)
class Record:
    """The statistics of a run at one step; means are over the steps since the last one.

    ``d_real``, ``d_fake`` and ``d_accuracy`` are NaN for updates in which D's output is
    not a log-odds: hinge, Wasserstein and pairs.
    """

    step: int
    images_seen: int  # real ones
    seconds: float  # spent in steps, not in what the notebook does in between
    d_loss: float  # without penalties; in nats for the classic losses
    g_loss: float
    d_real: float  # mean D(x), a probability
    d_fake: float  # mean D(G(z)), before G's update
    d_accuracy: float  # fraction of real and fake images that D gets right
    averaged: nn.Module = field(repr=False)  # G's running average: always one network


def train(
    G: nn.Module,
    D: nn.Module,
    images: Tensor,
    config: TrainConfig,
    update: Callable = classic_update,
    rate: Callable[[float], float] = constant_rate,
    run: Folder | None = None,
) -> Iterator[Record]:
    """Train G and D in place on images (N, C, H, W) in [-1, 1]; yield records.

    The loop is yours: ``for record in train(G, D, images, config): ...``. Leaving it
    ends the run, and so does Ctrl-C, which yields a last record. ``record.averaged`` is
    the running average of G (EMA), in eval mode and frozen. It is one network that
    keeps changing: to keep an early one, write ``copy.deepcopy(record.averaged)``.
    Networks without an ``image_shape``, such as those for points, take data of any
    shape and range.
    With ``run``, a folder, the run is saved there: at the first record after 30
    seconds, and so on, and when the loop ends or is left. The same call goes on from
    there: it yields the records that are missing, or else the last one again.
    ``ganlib.storage.load_run`` returns those from before. G, D and all else become what
    they were at that record, so the outcome is, bit for bit, that of a run that was
    never stopped (on CPUs, with as many threads). What an update remembers by itself,
    and layers that draw from torch's global random state (Dropout), are not saved. Only
    ``steps`` may change: learning rates and penalties that follow the progress then go
    on as if there had been that many from the start.
    ``update`` moves both players once, in place of ``classic_update``, and ``rate``
    gives the factor on both learning rates after a fraction of the steps.
    The same seed, machine and number of threads give the same weights, bit for bit.

    Raises TypeError or ValueError for images that do not fit, for a frozen network, for
    a D with BatchNorm, and if gradients are switched off; FloatingPointError when a
    loss or a weight becomes NaN or infinite: G, D and the average then have the weights
    of the last good record. With ``run``, also OSError for a folder that cannot be
    written, and ValueError for one with another or a damaged run: it stays as it is.
    Taught in notebook 04.
    """
    check_start(G, D, images, config)
    noise = stream("noise", config.seed, images.device)
    parts = {"G": G, "D": D, "noise": noise}
    saved = KeptRun(run, config, [update, rate], [images], parts=parts)
    batches = endless_batches(images, config.batch_size, config.seed, saved.step)

    def move(opt_d: Optimizer, opt_g: Optimizer, progress: float) -> Moved:
        real = own_rows(next(batches))
        z = own_rows(new_noise(config.batch_size, G.latent_dim, noise))
        return update(D, opt_d, opt_g, real, G(z), progress)  # one batch of fakes

    return loop(G, D, config, move, rate, saved)


def check_start(G: nn.Module, D: nn.Module, images: Tensor, config: TrainConfig):
    """Raise an error unless a run can start from these."""
    if not torch.is_grad_enabled():
        fix = "call train outside of torch.no_grad()"
        raise wrong(ValueError, "gradients are switched off", "them to be on", fix)
    check_separate(D)
    if hasattr(D, "image_shape"):  # points have no range to keep
        check_images(images, D.image_shape)
        check_range(images)
    for name, network in (("G", G), ("D", D)):
        weights = list(network.parameters())
        if not any(weight.requires_grad for weight in weights):
            fix = f"write {name}.requires_grad_(True)"
            raise wrong(ValueError, f"{name} is frozen", "weights to train", fix)
        if weights[0].device != images.device:
            got, fix = f"{name} is on {weights[0].device}", f"{name}.to(images.device)"
            raise wrong(ValueError, got, f"{images.device}, as images", f"write {fix}")
    if len(images) < config.batch_size:
        fix = f"pass more{f', or write batch_size={len(images)}' * (len(images) > 1)}"
        got, expected = f"images has length {len(images)}", f"{config.batch_size}"
        raise wrong(ValueError, got, f"a batch of {expected} or more", fix)


def loop(
    G: nn.Module,
    D: nn.Module,
    config: TrainConfig,
    move: Callable[[Optimizer, Optimizer, float], Moved],
    rate: Callable[[float], float],
    saved: KeptRun | None = None,
) -> Iterator[Record]:
    """Call ``move(opt_d, opt_g, progress)`` for each step; yield records.

    This is what all kinds of training share: optimizers, rates, average, records, guard
    against NaN, Ctrl-C, and saving. ``move`` moves both players once.
    """
    torch.set_flush_denormal(True)  # tiny numbers near 1e-40 slow CPUs down
    # fused: one pass over the weights instead of a Python loop
    opt_g = torch.optim.Adam(G.parameters(), config.lr_g, config.betas, fused=True)
    opt_d = torch.optim.Adam(D.parameters(), config.lr_d, config.betas, fused=True)
    connect(G, opt_g)
    connect(D, opt_d)
    G.train()
    D.train()
    averaged = copy.deepcopy(G).requires_grad_(False).eval()
    saved = saved or KeptRun(parts={"G": G, "D": D})
    saved.start(averaged=averaged, opt_g=opt_g, opt_d=opt_d)
    meter = Meter(config, averaged, saved)
    record = seen = None
    if saved.history:
        record = Record(**vars(saved.history[-1]), averaged=averaged)
    try:
        for step in range(saved.step, config.steps):
            progress = step / config.steps
            opt_g.param_groups[0]["lr"] = config.lr_g * rate(progress)
            opt_d.param_groups[0]["lr"] = config.lr_d * rate(progress)
            moved = move(opt_d, opt_g, progress)
            move_average(averaged, G, config.ema_share * step)
            meter.add(moved)
            if meter.steps % config.record_every == 0 or meter.steps == config.steps:
                with undisturbed():  # measured and kept, or neither
                    record = meter.record()
                    saved.keep(record)
                yield record
                seen = record
                saved.save()
                meter.go_on()
    except KeyboardInterrupt:
        print(f"Stopped after {meter.steps} of {config.steps} steps; weights are kept.")
        if meter.kept or record is None:
            record = meter.record()
    finally:
        saved.save(last=True)
    if record is not seen:  # stopped, or there was nothing left to do
        yield record


def endless_batches(
    images: Tensor, batch_size: int, seed: int, skip: int = 0
) -> Iterator[Tensor]:
    """Yield batches of images without end, in a new order on each pass.

    The first ``skip`` batches are left out.
    """
    order = stream("order", seed, images.device)
    count = len(images)
    while True:
        for chosen in batch_indices(count, batch_size, generator=order, drop_last=True):
            skip -= 1
            if skip < 0:
                yield images[chosen]


@torch.no_grad()
def move_average(averaged: nn.Module, G: nn.Module, reach: float) -> None:
    """Move the average, which reaches back over ``reach`` steps, toward G in place.

    This is an exponential moving average (EMA) whose memory grows with the run, so the
    untrained weights are soon forgotten.

    Source: Karras et al. 2024, section 3.1 (the power function EMA).
    """
    states = averaged.state_dict().values(), G.state_dict().values()
    for old, new in zip(*states, strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 / (1 + reach))
        else:  # BatchNorm's count of batches
            old.copy_(new)


class Meter:
    """Collect what updates return and make records of it; guard against NaN.

    No step waits for a number to reach Python: means are taken at a record.
    """

    def __init__(self, config: TrainConfig, averaged: nn.Module, saved: KeptRun):
        self.config, self.averaged, self.saved = config, averaged, saved
        self.kept: list[Moved] = []
        self.steps = saved.step
        self.seconds = saved.history[-1].seconds if saved.history else 0.0
        self.go_on()

    def go_on(self) -> None:
        """Start the clock again."""
        self.started = time.perf_counter()

    def add(self, moved: Moved) -> None:
        self.kept.append(moved)
        self.steps += 1

    def record(self) -> Record:
        """Return the means since the last record, or raise FloatingPointError."""
        means = _means(self.kept)
        self.seconds += time.perf_counter() - self.started
        if self.kept:
            self._stop_unless_finite(sum(means[:2]))
        self.kept.clear()
        seen = self.steps * self.config.batch_size
        return Record(self.steps, seen, self.seconds, *means, self.averaged)

    def _stop_unless_finite(self, losses: float) -> None:
        parts = self.saved.parts.values()
        networks = [part for part in parts if isinstance(part, nn.Module)]
        states = [network.state_dict().values() for network in networks]
        sums = [values.float().sum() for state in states for values in state]
        if math.isfinite(losses + torch.stack(sums).sum().item()):
            return
        self.saved.go_back()
        good = self.saved.step
        raise FloatingPointError(
            f"a loss or a weight became NaN or infinite between step {good} "
            f"and step {self.steps}; G and D are back at step {good}: lower "
            f"lr_g and lr_d (now {self.config.lr_g:g} and {self.config.lr_d:g}), or "
            "start from smaller weights."
        )


def _means(kept: list[Moved]) -> list[float]:
    """Return mean losses, mean probabilities and accuracy, NaN where undefined."""
    if not kept:
        return [math.nan] * 5
    of_d, g_losses = zip(*kept, strict=True)
    d_losses, real_logits, fake_logits = zip(*of_d, strict=True)
    means = [torch.stack(losses).mean() for losses in (d_losses, g_losses)]
    if real_logits[0] is None:
        return [*torch.stack(means).tolist(), math.nan, math.nan, math.nan]
    real, fake = torch.stack(real_logits), torch.stack(fake_logits)
    right = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
    means += [real.sigmoid().mean(), fake.sigmoid().mean(), right]
    return torch.stack(means).tolist()
