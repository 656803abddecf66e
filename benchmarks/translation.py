"""Digits and their outlines without pairs: what decides whether the digit is kept?

Runs go two at a time, on one thread each; those that are in the CSV already are left
out. The first seed of some variants also leaves a picture.

    python benchmarks/translation.py [--only NAME ...]    # half an hour
"""

from bench import RESULTS, options, save, show  # before torch: see there

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import runs
import torch
from torch import Tensor, nn

from ganlib.data import load_images
from ganlib.judge import Judge, judge_features, judge_predictions, train_judge
from ganlib.losses import (
    cycle_loss,
    d_loss_least_squares,
    g_loss_least_squares,
    g_loss_non_saturating,
)
from ganlib.metrics import frechet_distance
from ganlib.models import (
    Discriminator,
    block,
    init_orthogonal_,
    init_orthogonal_leaky_,
)
from ganlib.plots import png_bytes
from ganlib.steps import Moved, d_step, take_step
from ganlib.training import TrainConfig
from ganlib.translation import (
    BothWays,
    PatchDiscriminator,
    Translator,
    cycle_step,
    cycle_update,
    on_paper,
    outlines,
    train_translation,
)

SHAPE = (1, 28, 28)
SPLITS = ("train", "test")


class DenseTranslator(nn.Module):
    """A translator in which each pixel can depend on all others."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            *(*block(784, 512), *block(512, 256), *block(256, 512)),
            *(nn.Linear(512, 784), nn.Tanh(), nn.Unflatten(1, SHAPE)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


def least_squares_update(G, D, opt_d, opt_g, a, b, pools, progress, **weights) -> Moved:
    """Do as ``cycle_update``, with the losses of the CycleGAN paper."""
    g_loss, *fakes = cycle_step(
        G, *D, opt_g, a, b, loss_function=g_loss_least_squares, **weights
    )
    sides = zip(D, (a, b), pools, fakes, strict=True)
    losses = [
        d_step(D_x, opt_d, real, pool.exchange(fake), d_loss_least_squares)[0]
        for D_x, real, pool, fake in sides
    ]
    return (sum(losses), None, None), g_loss


class NoPool:
    def exchange(self, fakes: Tensor) -> Tensor:
        return fakes


def fresh_update(G, D, opt_d, opt_g, a, b, pools, progress, **weights) -> Moved:
    """Do as ``cycle_update``, without the pools."""
    pools = NoPool(), NoPool()
    return cycle_update(G, D, opt_d, opt_g, a, b, pools, progress, **weights)


def one_sided_update(
    G, D, opt_d, opt_g, a, b, pools, progress, *, cycle_weight, identity_weight
) -> Moved:
    """Leave out D_a: only D_b asks whether an image is real."""
    fake_b = G.to_b(a)
    cycle = cycle_loss(a, G.to_a(fake_b)) + cycle_loss(b, G.to_b(G.to_a(b)))
    g_loss = g_loss_non_saturating(D[1](fake_b))
    take_step(opt_g, g_loss + cycle_weight * cycle)
    return d_step(D[1], opt_d, b, pools[1].exchange(fake_b)), g_loss.detach()


@dataclass(frozen=True)
class Variant:
    """The networks, their losses, the second domain, and how long."""

    cycle_weight: float = 1.0
    identity_weight: float = 0.0
    update: Callable = cycle_update
    change: Callable = outlines
    G: Callable = Translator
    D: Callable = PatchDiscriminator
    init_: Callable = init_orthogonal_leaky_
    batch_size: int = 16
    steps: int = 2000
    seeds: int = 3


DENSE = {
    "G": DenseTranslator,
    "D": Discriminator,
    "init_": init_orthogonal_,  # BatchNorm keeps the size of signals
    "batch_size": 64,
    "steps": 1500,
}
VARIANTS = {
    "cycle 0": Variant(0.0),
    "cycle 1": Variant(),
    "cycle 10": Variant(10.0),
    "dense, cycle 0": Variant(0.0, **DENSE),
    "dense, cycle 1": Variant(1.0, **DENSE),
    "dense, cycle 10": Variant(10.0, **DENSE),
    "dense G only, cycle 10": Variant(10.0, **(DENSE | {"D": PatchDiscriminator})),
    "dense D only, cycle 1": Variant(D=Discriminator),
    "identity 0.5": Variant(identity_weight=0.5),
    "least squares": Variant(update=least_squares_update),
    "no pool": Variant(update=fresh_update),
    "no D_a": Variant(update=one_sided_update),
    "three times as long": Variant(steps=6000),
    **{
        f"on paper, identity {weight:g}": Variant(
            identity_weight=weight, change=on_paper, steps=1000
        )
        for weight in (0.0, 3.0, 30.0, 300.0)
    },
}
SHOWN = ("cycle 0", "cycle 10", "dense, cycle 0", "dense, cycle 10")


@cache
def domains(change: Callable) -> tuple:
    """Return images of A and of B, and pairs, digits and judges to measure with."""
    data, test = (load_images("mnist", split, offline=True) for split in SPLITS)
    half = len(data.images) // 2
    judges = [train_judge(x, data.labels) for x in (data.images, change(data.images))]
    pairs = test.images, change(test.images)
    return data.images[:half], change(data.images[half:]), pairs, test.labels, judges


def networks(name: str, seed: int) -> tuple[BothWays, nn.ModuleList]:
    v = VARIANTS[name]
    torch.manual_seed(seed)
    G = BothWays(v.G(), v.G())
    return G.apply(v.init_), nn.ModuleList(v.D() for _ in "ab").apply(v.init_)


def records(name: str, images_a: Tensor, images_b: Tensor, steps: int, seed: int = 0):
    v = VARIANTS[name]
    config = TrainConfig(steps, v.batch_size, record_every=steps, seed=seed)
    weights = {"cycle_weight": v.cycle_weight, "identity_weight": v.identity_weight}
    update = partial(v.update, **weights)
    return train_translation(*networks(name, seed), images_a, images_b, config, update)


def run(job: tuple[str, int]) -> dict:
    """Train a variant with one seed; return its row, and maybe leave a picture."""
    name, seed = job
    v = VARIANTS[name]
    images_a, images_b, pairs, labels, judges = domains(v.change)
    *_, last = records(name, images_a, images_b, v.steps, seed)
    row = {"variant": name, "seed": seed, "steps": v.steps}
    row |= describe(last.averaged, pairs, labels, judges)
    if name in SHOWN and seed == 0:
        leave_picture(name, last.averaged, pairs[0], labels)
    print(*row.values(), flush=True)
    return row


@torch.no_grad()
def describe(
    G: BothWays, pairs: tuple[Tensor, Tensor], labels: Tensor, judges: list[Judge]
) -> dict[str, float]:
    """Return numbers for both ways: nearness to the truth, digits, domain, cycle."""
    ways, row = (G.to_a, G.to_b), {}
    for i, into in enumerate("ab"):
        truth, judge = pairs[i], judges[i]
        x = pairs[1 - i]
        fake = in_parts(ways[i], x)
        read, _ = judge_predictions(judge, fake)
        features = [judge_features(judge, images) for images in (truth, fake)]
        together = torch.corrcoef(torch.stack([truth.flatten(), fake.flatten()]))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        noisy = (fake + 0.1 * noise).clamp(-1, 1)
        back, back_noisy = (in_parts(ways[1 - i], f) for f in (fake, noisy))
        again, _ = judge_predictions(judges[1 - i], back)
        row |= {
            f"error_{into}": (fake - truth).abs().mean(),
            f"kept_{into}": (read == labels).float().mean(),
            f"distance_{into}": frechet_distance(*features),
            f"correlation_{into}": together[0, 1],
            f"changed_{into}": (fake - x).abs().mean(),
            f"cycle_{'ab'[1 - i]}": (back - x).abs().mean(),
            f"noisy_cycle_{'ab'[1 - i]}": (back_noisy - x).abs().mean(),
            f"kept_by_cycle_{'ab'[1 - i]}": (again == labels).float().mean(),
        }
    return {name: round(float(value), 4) for name, value in row.items()}


def in_parts(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(part) for part in images.split(1000)])


@torch.no_grad()
def leave_picture(name: str, G: BothWays, images: Tensor, labels: Tensor) -> None:
    """Store the first image of each digit, their translations, and images again."""
    first = images[[(labels == digit).nonzero()[0].item() for digit in range(10)]]
    there = G.to_b(first)
    shown = torch.cat([first, there, G.to_a(there)])
    file = f"translation_{name.replace(', ', '_').replace(' ', '_')}.png"
    (RESULTS / file).write_bytes(png_bytes(shown, columns=10))


def main():
    chosen = options(__doc__, "--only", nargs="+", default=list(VARIANTS)).only
    rows, order = runs.stored("translation"), list(VARIANTS)
    done = {(row["variant"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in chosen for seed in range(VARIANTS[name].seeds)]
    jobs = [job for job in jobs if job not in done]
    for row in runs.two_at_a_time(run, jobs, runs.one_thread):
        rows.append(row)
        rows.sort(key=lambda row: (order.index(row["variant"]), row["seed"]))
        save("translation", rows)
    save("translation", rows)  # if there was nothing left to run
    show("Digits and outlines, without pairs", rows)


if __name__ == "__main__":
    main()
