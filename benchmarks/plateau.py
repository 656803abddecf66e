"""Why the recipe of notebook 04 stops at a distance of about 6, and what goes below it.

Each variant is a change of the recipe. Its run is judged several times on the way, by
10,000 samples of G's running average. "gap" is by how much D's mean logit for training
images exceeds the one for test images, which D never saw. Two runs at a time, one
thread each. Runs that are in the CSV already are left out.

    python benchmarks/plateau.py [--only NAME ...]    # hours; nothing else should run
"""

from bench import options, save, show  # before torch: see there

# isort: split
import copy
import itertools
import time
from dataclasses import dataclass

import runs
import torch
from torch import Tensor, nn

from ganlib.data import load_images
from ganlib.latent import stream
from ganlib.losses import d_loss, logits_and_gradient
from ganlib.models import Generator, init_orthogonal_
from ganlib.steps import cosine_rate, g_step, take_step
from ganlib.training import endless_batches, move_average

JUDGED = (1_250, 2_500, 5_000, 10_000, 20_000, 30_000)  # steps
BLACK = -1.0


@dataclass(frozen=True)
class Variant:
    """The recipe of ganlib, with whatever is changed."""

    steps: int = 10_000
    batch: int = 64
    growth: tuple = ()  # (step, batch) pairs: from this step on, this many images
    lr_g: float = 1e-3
    lr_d: float = 1e-3
    betas: tuple = (0.0, 0.999)
    ema_share: float = 0.1
    decay_g: bool = False  # of G's rate, half a cosine
    decay_d: bool = False
    d_units: tuple = (512, 256)
    group: int = 0  # of minibatch standard deviation in D, 0 without
    shift: int = 0  # of real and fake images before D, at most so many pixels
    gamma: float = 0.0  # of R1 and R2


LARGE = {"d_units": (1024, 512)}
HALF = {**LARGE, "lr_d": 5e-4}
VARIANTS = {
    "recipe": Variant(),
    "recipe, long": Variant(20_000),
    "average 0.05": Variant(ema_share=0.05),
    "minibatch std": Variant(group=64),
    "shifts by 1": Variant(shift=1),
    "batch 64 to 256": Variant(growth=((3_000, 128), (6_000, 256))),
    "decay": Variant(decay_g=True, decay_d=True),
    "R1 + R2, 0.003": Variant(gamma=0.003),
    "D 1024-512": Variant(**LARGE),
    "D 1024-512, R1 + R2, 0.003": Variant(**LARGE, gamma=0.003),
    "D 1024-512, R1 + R2, 0.01": Variant(**LARGE, gamma=0.01),
    "D 1024-512, decay": Variant(**LARGE, decay_g=True, decay_d=True),
    "D 1024-512, beta2 0.99": Variant(**LARGE, betas=(0.0, 0.99)),
    "D 1024-512, rates 5e-4": Variant(**LARGE, lr_g=5e-4, lr_d=5e-4),
    "D 1024-512, lr_d 5e-4": Variant(30_000, **HALF),
    "D 1024-512, lr_d 5e-4, average 0.05": Variant(**HALF, ema_share=0.05),
    "D 1024-512, lr_d 5e-4, std": Variant(20_000, **HALF, group=64),
    "D 1024-512, lr_d 5e-4, std, average 0.05": Variant(
        **HALF, group=64, ema_share=0.05
    ),
    "D 1024-512, lr_d 5e-4, decay": Variant(20_000, **HALF, decay_g=True, decay_d=True),
    "D 1024-512, lr_d 5e-4, decay in 10,000": Variant(
        **HALF, decay_g=True, decay_d=True
    ),
    "D 1024-512, lr_d 5e-4, decay of lr_d": Variant(20_000, **HALF, decay_d=True),
    "D 1024-512, lr_d 5e-4, std, decay of lr_d": Variant(
        20_000, **HALF, group=64, decay_d=True
    ),
    "D 1024-512, lr_d 2.5e-4": Variant(20_000, **LARGE, lr_d=2.5e-4),
}
CLAIMED = (  # with three seeds, all else with one
    "recipe",
    "D 1024-512, lr_d 5e-4",
    "D 1024-512, lr_d 5e-4, average 0.05",
    "D 1024-512, lr_d 5e-4, std, average 0.05",
)


def seeds(name: str) -> range:
    return range(3 if name in CLAIMED else 1)


class MinibatchStd(nn.Module):
    """Append to features (N, d) their mean standard deviation within groups.

    Shape: (N, d + 1). Source: Karras et al. 2018, section 3.
    """

    def __init__(self, group: int):
        super().__init__()
        self.group = group

    def forward(self, features: Tensor) -> Tensor:
        groups = features.view(-1, min(self.group, len(features)), features.shape[1])
        spread = (groups.var(1, correction=0) + 1e-8).sqrt().mean(1, keepdim=True)
        spread = spread.repeat_interleave(groups.shape[1], 0)
        return torch.cat([features, spread], 1)


def discriminator(variant: Variant) -> nn.Sequential:
    sizes = itertools.pairwise((784, *variant.d_units))
    layers = [x for a, b in sizes for x in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    if variant.group:
        layers.append(MinibatchStd(variant.group))
    last = nn.Linear(variant.d_units[-1] + bool(variant.group), 1)
    layers = [nn.Flatten(), *layers, last, nn.Flatten(0)]
    return nn.Sequential(*layers).apply(init_orthogonal_)


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return each image moved by up to ``most`` pixels; edges are black."""
    padded = nn.functional.pad(images, (most,) * 4, value=BLACK)
    rows, columns = torch.randint(
        2 * most + 1, (2, len(images), 1), generator=generator
    ) + torch.arange(28)
    which = torch.arange(len(images))[:, None, None]
    return padded[which, 0, rows[:, :, None], columns[:, None, :]][:, None]


def d_move(D, opt_d, real, fake, variant: Variant) -> Tensor:
    """Train D once; return its accuracy ()."""
    fake, penalty = fake.detach(), 0.0
    if variant.gamma:
        logits, gradient = logits_and_gradient(D, torch.cat([real, fake]))
        real_logits, fake_logits = logits.split(len(real))
        penalty = variant.gamma * gradient.square().sum(1).mean()
    elif variant.group:  # which must not mix real images and fakes
        real_logits, fake_logits = D(real), D(fake)
    else:
        real_logits, fake_logits = D(torch.cat([real, fake])).split(len(real))
    take_step(opt_d, d_loss(real_logits, fake_logits) + penalty)
    right = torch.cat([real_logits > 0, fake_logits < 0])
    return right.float().mean()


def run(job: tuple[str, int]) -> list[dict]:
    """Train a variant with one seed; return a row each time that it is judged."""
    name, seed = job
    v = VARIANTS[name]
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    G, D = Generator().apply(init_orthogonal_), discriminator(v)
    opt_g = torch.optim.Adam(G.parameters(), v.lr_g, v.betas, fused=True)
    opt_d = torch.optim.Adam(D.parameters(), v.lr_d, v.betas, fused=True)
    averaged = copy.deepcopy(G).requires_grad_(False).eval()
    noise, moves = stream("noise", seed), stream("shifts", seed)
    batches, sizes = endless_batches(runs.images, v.batch, seed), dict(v.growth)
    rows, right, seen, seconds = [], [], 0, 0.0
    for step in range(v.steps):
        started = time.perf_counter()
        if step in sizes:
            batches = endless_batches(runs.images, sizes[step], seed + step)
        if v.decay_g:
            opt_g.param_groups[0]["lr"] = v.lr_g * cosine_rate(step / v.steps)
        if v.decay_d:
            opt_d.param_groups[0]["lr"] = v.lr_d * cosine_rate(step / v.steps)
        real = next(batches)
        fake = G(torch.randn(len(real), G.latent_dim, generator=noise))
        if v.shift:
            real, fake = (shifted(x, v.shift, moves) for x in (real, fake))
        right.append(d_move(D, opt_d, real, fake, v))
        g_step(D, opt_g, fake)
        move_average(averaged, G, v.ema_share * step)
        seconds, seen = seconds + time.perf_counter() - started, seen + len(real)
        if step + 1 in JUDGED:
            row = {"variant": name, "seed": seed, "step": step + 1, "images": seen}
            row["ms_a_step"] = round(1000 * seconds / (step + 1), 1)
            row["accuracy"] = round(torch.stack(right).mean().item(), 3)
            rows.append(row | judged(averaged, D))
            print(*rows[-1].values(), flush=True)
            right.clear()
    return rows


def judged(averaged: nn.Module, D: nn.Module) -> dict[str, float]:
    """Return what is known of 10,000 samples, and D's gap."""
    with torch.no_grad():
        known, unseen = (D(x[:6_400]).mean().item() for x in (runs.images, test))
    return runs.describe(averaged) | {"gap": round(known - unseen, 3)}


def prepare():
    global test
    runs.prepare()
    test = load_images("mnist", "test", offline=True).images


def main():
    chosen = options(__doc__, "--only", nargs="+", default=list(VARIANTS)).only
    rows = runs.stored("plateau")
    done = {(row["variant"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in chosen for seed in seeds(name)]
    order = list(VARIANTS)
    for found in runs.two_at_a_time(
        run, [job for job in jobs if job not in done], prepare
    ):
        rows += found
        rows.sort(key=lambda r: (order.index(r["variant"]), r["seed"], r["step"]))
        save("plateau", rows)
    save("plateau", rows)  # if there was nothing left to run, for the command in it
    show("Variants of the recipe", rows)


if __name__ == "__main__":
    main()
