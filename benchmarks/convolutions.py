"""Dense and convolutional networks for the same seconds, on MNIST.

Seconds are those on two cores that nothing else uses: the script first times the steps
of these variants in turn, and multiplies the medians by the number of steps. The runs
themselves go two at a time, on one thread each. Runs that are in the CSV already are
left out.

    python benchmarks/convolutions.py [--only NAME ...]    # hours
"""

from bench import options, save, show  # before torch: see there

# isort: split
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import runs
import torch
from torch import nn

from ganlib.convolutional import ConvDiscriminator, ConvGenerator
from ganlib.models import Discriminator, Generator, block, init_orthogonal_
from ganlib.steps import classic_update, pairing_update, r1_update
from ganlib.training import TrainConfig, train

JUDGED = (15, 30, 60, 120, 240, 480, 900)  # seconds


def textbook_generator() -> ConvGenerator:
    """One dense layer, then transposed convolutions, as in DCGAN."""
    G = ConvGenerator()
    G.net = nn.Sequential(*block(100, 3136), nn.Unflatten(1, (64, 7, 7)), *G.net[-5:])
    return G


def resizing_generator() -> ConvGenerator:
    """Pixels are repeated and convolved in place of transposed convolutions."""
    G = ConvGenerator()
    layers = []
    for layer in G.net:
        if isinstance(layer, nn.ConvTranspose2d):
            layers.append(nn.Upsample(scale_factor=2))
            layer = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
        layers.append(layer)
    G.net = nn.Sequential(*layers)
    return G


class LargeDiscriminator(Discriminator):
    """D of notebook 04 with twice the units."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 1024),
            nn.LeakyReLU(0.2),
            nn.Linear(1024, 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 1),
        )


@dataclass(frozen=True)
class Variant:
    """Two networks, and what differs from the recipe of notebook 04."""

    G: Callable = ConvGenerator
    D: Callable = ConvDiscriminator
    lr_d: float = 1e-3
    batch: int = 64
    ema_share: float = 0.1
    update: Callable = classic_update
    seconds: int = 120
    seeds: int = 1


SLOW_D = {"lr_d": 5e-4, "ema_share": 0.05}  # what lifts the dense pair (notebook 08)
VARIANTS = {
    "dense, dense": Variant(Generator, Discriminator, seeds=3),
    "dense, conv": Variant(Generator, ConvDiscriminator, seeds=3),
    "conv, dense": Variant(ConvGenerator, Discriminator, seeds=3),
    "conv, conv": Variant(seeds=3),
    "textbook G, conv": Variant(textbook_generator, seeds=3),
    "dense, large dense, slow D": Variant(Generator, LargeDiscriminator, **SLOW_D),
    "conv, large dense, slow D": Variant(D=LargeDiscriminator, **SLOW_D),
    "conv, conv, slow D": Variant(**SLOW_D),
    "conv, conv, slow D, R1": Variant(update=partial(r1_update, gamma=0.1), **SLOW_D),
    "resized, large dense, slow D": Variant(
        resizing_generator, LargeDiscriminator, **SLOW_D
    ),
    "conv, conv, pairs": Variant(update=partial(pairing_update, gamma=0.1), **SLOW_D),
}


def networks(name: str, seed: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(seed)
    variant = VARIANTS[name]
    return variant.G().apply(init_orthogonal_), variant.D().apply(init_orthogonal_)


def config_of(name: str, steps: int, seed: int) -> TrainConfig:
    v = VARIANTS[name]
    changed = {"lr_d": v.lr_d, "ema_share": v.ema_share}
    return TrainConfig(steps, v.batch, **changed, record_every=steps, seed=seed)


def step_ms(names: set[str], rounds: int = 5, steps: int = 40) -> dict[str, float]:
    """Return the median milliseconds of a step of each variant, on all cores."""
    times = {name: [] for name in names}
    images = torch.rand(1000, 1, 28, 28) * 2 - 1
    for _ in range(rounds):
        for name in names:
            update, config = VARIANTS[name].update, config_of(name, steps, 0)
            *_, last = train(*networks(name, 0), images, config, update)
            times[name].append(1000 * last.seconds / steps)
    return {name: statistics.median(found) for name, found in times.items()}


def run(job: tuple[str, int, float]) -> list[dict]:
    """Train a variant with one seed; return a row each time that it is judged."""
    name, seed, ms = job
    v, (G, D) = VARIANTS[name], networks(name, seed)
    unit = round(1000 * JUDGED[0] / ms)  # steps
    config = config_of(name, unit * v.seconds // JUDGED[0], seed)
    facts = {"variant": name, "seed": seed, "ms_a_step": round(ms, 1)}
    facts |= {"parameters_G": parameters(G), "parameters_D": parameters(D)}
    rows = []
    config = replace(config, record_every=unit)
    for record in train(G, D, runs.images, config, v.update):
        seconds = JUDGED[0] * record.step // unit
        if seconds in JUDGED:
            row = facts | {"seconds": seconds, "step": record.step}
            row["accuracy"] = round(record.d_accuracy, 3)
            rows.append(row | runs.describe(record.averaged))
            print(*rows[-1].values(), flush=True)
    return rows


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def main():
    chosen = options(__doc__, "--only", nargs="+", default=list(VARIANTS)).only
    rows = runs.stored("convolutions")
    done = {(row["variant"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in chosen for seed in range(VARIANTS[name].seeds)]
    jobs = [job for job in jobs if job not in done]
    ms, order = step_ms({name for name, _ in jobs}), list(VARIANTS)
    for found in runs.two_at_a_time(run, [(*job, ms[job[0]]) for job in jobs]):
        rows += found
        rows.sort(key=lambda r: (order.index(r["variant"]), r["seed"], r["seconds"]))
        save("convolutions", rows)
    save("convolutions", rows)  # if there was nothing left to run
    show("Networks for the same seconds", rows)


if __name__ == "__main__":
    main()
