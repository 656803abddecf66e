"""Dense and convolutional networks for the same seconds, on MNIST.

Seconds are those on two cores that nothing else uses: the script first times the steps
of these variants in turn, and multiplies the medians by the number of steps. The runs
themselves go two at a time, on one thread each. Runs that are in the CSV already are
left out.

    python benchmarks/convolutions.py [--only NAME ...]    # hours
"""

from bench import options, save, show  # before torch: see there

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import runs
import torch
from plateau import MinibatchStd
from torch import Tensor, nn

from ganlib.convolutional import ConvDiscriminator, ConvGenerator
from ganlib.models import Discriminator, Generator, block, init_orthogonal_
from ganlib.steps import classic_update, r1_update
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
    """D of notebook 04 with twice the units, and minibatch standard deviation.

    Its groups of 64 are the 64 real images and the 64 fakes of a step.
    """

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 1024),
            nn.LeakyReLU(0.2),
            nn.Linear(1024, 512),
            nn.LeakyReLU(0.2),
            MinibatchStd(64),
            nn.Linear(513, 1),
        )


@dataclass(frozen=True)
class Variant:
    """Two networks, and what differs from the recipe of notebook 04."""

    G: Callable = ConvGenerator
    D: Callable = ConvDiscriminator
    lr_d: float = 1e-3
    ema_share: float = 0.1
    update: Callable = classic_update
    seconds: int = 120
    seeds: int = 3


# what lifts the dense pair in notebook 08
LARGE = {"D": LargeDiscriminator, "lr_d": 5e-4, "ema_share": 0.05, "seconds": 900}
VARIANTS = {
    "dense, dense": Variant(Generator, Discriminator),
    "dense, conv": Variant(Generator),
    "conv, dense": Variant(D=Discriminator),
    "conv, conv": Variant(),
    "textbook G, conv": Variant(textbook_generator),
    "resized, dense": Variant(resizing_generator, Discriminator),
    "conv, conv, lr_d / 4": Variant(lr_d=2.5e-4),
    "conv, conv, R1": Variant(
        lr_d=5e-4, ema_share=0.05, update=partial(r1_update, gamma=0.1), seeds=1
    ),
    "dense, large dense": Variant(Generator, **LARGE),
    "conv, large dense": Variant(**LARGE),
}


def networks(name: str, seed: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(seed)
    variant = VARIANTS[name]
    return variant.G().apply(init_orthogonal_), variant.D().apply(init_orthogonal_)


def records(name: str, images: Tensor, steps: int, every: int = 0, seed: int = 0):
    v = VARIANTS[name]
    changed = {"lr_d": v.lr_d, "ema_share": v.ema_share, "seed": seed}
    config = TrainConfig(steps, record_every=every or steps, **changed)
    return train(*networks(name, seed), images, config, v.update)


def run(job: tuple[str, int, float]) -> list[dict]:
    """Train a variant with one seed; return a row each time that it is judged."""
    name, seed, ms = job
    unit = round(1000 * JUDGED[0] / ms)  # steps
    steps = unit * VARIANTS[name].seconds // JUDGED[0]
    facts = {"variant": name, "seed": seed, "ms_a_step": round(ms, 1)}
    for player, network in zip("GD", networks(name, seed), strict=True):
        facts[f"parameters_{player}"] = sum(w.numel() for w in network.parameters())
    rows = []
    for record in records(name, runs.images, steps, unit, seed):
        seconds = JUDGED[0] * record.step // unit
        if seconds in JUDGED:
            row = facts | {"seconds": seconds, "step": record.step}
            row["accuracy"] = round(record.d_accuracy, 3)
            rows.append(row | runs.describe(record.averaged))
            print(*rows[-1].values(), flush=True)
    return rows


def main():
    chosen = options(__doc__, "--only", nargs="+", default=list(VARIANTS)).only
    rows = runs.stored("convolutions")
    done = {(row["variant"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in chosen for seed in range(VARIANTS[name].seeds)]
    jobs = [job for job in jobs if job not in done]
    images, order = torch.rand(1000, 1, 28, 28) * 2 - 1, list(VARIANTS)
    ms = runs.step_ms({name: partial(records, name, images) for name in dict(jobs)})
    for found in runs.two_at_a_time(run, [(*job, ms[job[0]]) for job in jobs]):
        rows += found
        rows.sort(key=lambda r: (order.index(r["variant"]), r["seed"], r["seconds"]))
        save("convolutions", rows)
    save("convolutions", rows)  # if there was nothing left to run
    show("Networks for the same seconds", rows)


if __name__ == "__main__":
    main()
