"""What each choice of the recipe is worth: one setting changed, all else as in ganlib.

Every run has as many steps as TrainConfig says and three seeds, and is judged twice: G
itself, and its running average. The quality is the Fréchet distance of 10,000 samples
to the test images in the features of the course's judge. The rows of "ladder" lead from
a well-known tutorial (with BatchNorm's eps fixed) to the rows that begin with ours. Two
runs at a time, one thread each. Runs that are in the CSV already are left out.

    python benchmarks/choices.py     # took half an hour; nothing else should run
"""

from bench import options, save, show  # before torch: see there

# isort: split
import statistics
from dataclasses import dataclass, replace

import runs
import torch

from ganlib.losses import g_loss_saturating
from ganlib.models import (
    Discriminator,
    Generator,
    init_kaiming_,
    init_normal_,
    init_orthogonal_,
    init_xavier_,
)
from ganlib.steps import classic_update, d_step, g_step
from ganlib.training import TrainConfig, train

SEEDS = (0, 1, 2)
OURS = TrainConfig()


def init_too_small_(module):
    init_scaled_(module, 0.001)


def init_too_large_(module):
    init_scaled_(module, 0.3)


def init_scaled_(module, std):
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.normal_(module.weight, 0.0, std)
        torch.nn.init.zeros_(module.bias)


def keep_default_(module):
    pass


def saturating_update(D, opt_d, opt_g, real, fake, progress):
    """Move both players, G with the loss that goes flat where D is sure."""
    moved = d_step(D, opt_d, real, fake)
    return moved, g_step(D, opt_g, fake, g_loss_saturating)


@dataclass(frozen=True)
class Choice:
    """One run: what is changed, and to what."""

    group: str
    name: str
    config: TrainConfig = OURS
    initializer: object = init_orthogonal_
    update: object = classic_update


SLOW = {"lr_g": 2e-4, "lr_d": 2e-4}
TUTORIAL = replace(OURS, betas=(0.5, 0.999))
CHOICES = [
    Choice("all", "ganlib"),
    Choice("initialization", "PyTorch", initializer=keep_default_),
    Choice("initialization", "Xavier", initializer=init_xavier_),
    Choice("initialization", "Kaiming", initializer=init_kaiming_),
    Choice("initialization", "N(0, 0.02)", initializer=init_normal_),
    Choice("initialization", "too small", initializer=init_too_small_),
    Choice("initialization", "too large", initializer=init_too_large_),
    Choice("loss", "saturating", update=saturating_update),
    Choice("momentum", "0.5, rate 1e-3", replace(OURS, betas=(0.5, 0.999))),
    Choice("momentum", "0, rate 2e-4", replace(OURS, **SLOW)),
    Choice("momentum", "0.5, rate 2e-4", replace(OURS, betas=(0.5, 0.999), **SLOW)),
    Choice("ladder", "tutorial", replace(TUTORIAL, **SLOW), keep_default_),
    Choice("ladder", "tutorial, rate 1e-3", TUTORIAL, keep_default_),
]


def run(job: tuple[Choice, int]) -> dict:
    """Train one choice with one seed; return its row."""
    choice, seed = job
    torch.manual_seed(seed)
    G = Generator().apply(choice.initializer)
    D = Discriminator().apply(choice.initializer)
    config = replace(choice.config, seed=seed)
    *_, last = train(G, D, runs.images, config, choice.update)
    row = {
        "group": choice.group,
        "choice": choice.name,
        "seed": seed,
        "distance_G": runs.distance(G),
        "distance": runs.distance(last.averaged),
    }
    print(*row.values(), flush=True)
    return row


def main():
    fresh = options(__doc__, "--fresh", action="store_true").fresh
    rows = [] if fresh else runs.stored("choices")
    done = {(row["choice"], row["seed"]) for row in rows}
    jobs = [(choice, seed) for choice in CHOICES for seed in SEEDS]
    jobs = [job for job in jobs if (job[0].name, job[1]) not in done]
    order = [choice.name for choice in CHOICES]
    for row in runs.two_at_a_time(run, jobs):
        rows.append(row)
        rows.sort(key=lambda row: (order.index(row["choice"]), row["seed"]))
        save("choices", rows)
    medians = []
    for name in order:
        found = [row for row in rows if row["choice"] == name]
        medians.append(
            {"choice": name}
            | {
                key: statistics.median(row[key] for row in found)
                for key in ("distance_G", "distance")
            }
        )
    show("One choice changed, median distances of three seeds", medians)


if __name__ == "__main__":
    main()
