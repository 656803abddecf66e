"""Penalties and pairs against the classic losses, on the digits, for the same seconds.

Networks, learning rates, batches and average are those of notebook 04. The script
first times steps of all objectives in turn, on one thread. An objective with slower
steps then gets fewer of them, in proportion. Each has three seeds; two runs go at a
time, on one thread each. Each result is stored as soon as it is there; a benchmark that
is stopped resumes where it was, with the same numbers of steps.

    python benchmarks/digit_objectives.py          # about 12 minutes on two cores
    python benchmarks/digit_objectives.py --fresh  # forget what is stored
"""

from bench import options, save, show  # before torch: see there

# isort: split
import itertools
from dataclasses import replace
from functools import partial

import runs
import torch

from ganlib.metrics import frechet_distance, precision_recall
from ganlib.models import new_networks
from ganlib.steps import classic_update, pairing_update, r1_update
from ganlib.training import TrainConfig, train

SEEDS = (0, 1, 2)
OBJECTIVES = {
    "classic": classic_update,
    "R1": partial(r1_update, gamma=1.0),
    "RpGAN + R1 + R2": partial(pairing_update, gamma=1.0),
}


def step_ms(rounds: int = 60) -> dict[str, float]:
    real = torch.rand(64, 1, 28, 28) * 2 - 1
    return runs.update_ms(OBJECTIVES, *new_networks(), real, rounds)


def jobs(ms: dict[str, float], rows: list[dict]) -> list[tuple]:
    """Return the runs without a row: objective, settings, seconds when alone."""
    classic, todo = TrainConfig(), []
    known = {row["objective"]: (row["steps"], row["seconds"]) for row in rows}
    for name, seed in itertools.product(OBJECTIVES, SEEDS):
        fewer = round(classic.steps * ms["classic"] / ms[name])
        steps, seconds = known.get(name, (fewer, round(fewer * ms[name] / 1000)))
        if (name, seed) not in {(row["objective"], row["seed"]) for row in rows}:
            todo.append((name, replace(classic, seed=seed, steps=steps), seconds))
    return todo


def train_digits(job: tuple[str, TrainConfig, int]) -> dict:
    """Train one objective with one seed; return its row."""
    name, config, seconds = job
    networks = new_networks(config.seed)
    *_, last = train(*networks, runs.images, config, OBJECTIVES[name])
    fake = runs.features_of(last.averaged)
    near, wide = (precision_recall(runs.features, fake, k=k) for k in (3, 5))
    row = {
        "objective": name,
        "seed": config.seed,
        "steps": config.steps,
        "seconds": seconds,
        "frechet": round(frechet_distance(runs.features, fake), 2),
        "precision": round(near.precision, 3),
        "recall": round(near.recall, 3),
        "coverage": round(wide.coverage, 3),
    }
    print(*row.values(), flush=True)
    return row


def main():
    fresh = options(__doc__, "--fresh", action="store_true").fresh
    rows = [] if fresh else runs.stored("digit_objectives")
    names = list(OBJECTIVES)
    for found in runs.two_at_a_time(train_digits, jobs(step_ms(), rows)):
        rows.append(found)
        rows.sort(key=lambda row: (names.index(row["objective"]), row["seed"]))
        save("digit_objectives", rows)
    show("The same seconds on MNIST", rows)


if __name__ == "__main__":
    main()
