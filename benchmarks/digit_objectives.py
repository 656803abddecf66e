"""Pairs, R1 and R2 against the classic losses, on the digits, for the same seconds.

Networks, learning rates, batches and average are those of notebook 04. The script
first times steps of both objectives in turn on one thread; the costlier one then gets
as many fewer steps as its steps take longer. Three seeds of each, two trainings at a
time, one thread each, and one seed of other weights γ to show why this one was taken.

    python benchmarks/digit_objectives.py  # about 15 minutes on two cores
"""

from bench import save, show  # before torch: see there

# isort: split
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from ganlib.checkpoint import new_networks
from ganlib.data import load_images
from ganlib.evaluation import frechet_distance, precision_recall
from ganlib.judge import judge_features, train_judge
from ganlib.latent import sample_images
from ganlib.training import TrainConfig, classic_update, train
from ganlib.updates import pairing_update

SEEDS = (0, 1, 2)
GAMMA = 1.0
OTHER_GAMMAS = (0.1, 10.0)
PAIRS = "pairs, R1, R2"


def name_of(gamma: float | None) -> str:
    if gamma is None:
        return "classic"
    return PAIRS if gamma == GAMMA else f"{PAIRS}, γ = {gamma:g}"


def update_of(gamma: float | None) -> Callable:
    """Return the function that moves both players once; None is the classic one."""
    return classic_update if gamma is None else partial(pairing_update, gamma=gamma)


def step_ms(rounds: int = 60) -> dict[bool, float]:
    """Return the median ms of a step: False for the classic one, True for ours."""
    torch.set_num_threads(1)
    G, D = new_networks(TrainConfig())
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), fused=True) for n in (G, D))
    real, times = torch.rand(64, 1, 28, 28) * 2 - 1, {False: [], True: []}
    for _ in range(rounds):
        for penalties, found in times.items():
            started = time.perf_counter()
            fake = G(torch.randn(64, 100))
            update_of(GAMMA if penalties else None)(D, opt_d, opt_g, real, fake, 0.0)
            found.append(1000 * (time.perf_counter() - started))
    return {penalties: statistics.median(found) for penalties, found in times.items()}


def prepare() -> None:
    global _images, _test, _judge, _features
    torch.set_num_threads(1)
    data = load_images("mnist", offline=True)
    _images, _test = data.images, load_images("mnist", "test", offline=True).images
    _judge = train_judge(data.images, data.labels)
    _features = judge_features(_judge, _test)


def train_digits(job: tuple[float | None, TrainConfig, float]) -> dict:
    """Train one objective with one seed; return its row."""
    gamma, config, ms = job
    G, D = new_networks(config)
    *_, last = train(G, D, _images, config, update_of(gamma))
    fake = sample_images(last.averaged, 10_000, seed=1234)
    fake_features = judge_features(_judge, fake)
    near, wide = (precision_recall(_features, fake_features, k=k) for k in (3, 5))
    row = {
        "objective": name_of(gamma),
        "seed": config.seed,
        "steps": config.steps,
        "seconds": round(config.steps * ms / 1000),
        "frechet": round(frechet_distance(_judge, _test, fake), 2),
        "precision": round(near.precision, 3),
        "recall": round(near.recall, 3),
        "coverage": round(wide.coverage, 3),
    }
    print(*row.values(), flush=True)
    return row


def jobs(ms: dict[bool, float]) -> list[tuple]:
    """Return all trainings, each with its own number of steps and their cost."""
    classic = TrainConfig()
    fewer = round(classic.steps * ms[False] / ms[True])
    trained = [(gamma, seed) for gamma in (GAMMA, None) for seed in SEEDS]
    trained += [(gamma, SEEDS[0]) for gamma in OTHER_GAMMAS]
    return [
        (
            gamma,
            replace(
                classic, seed=seed, steps=classic.steps if gamma is None else fewer
            ),
            ms[gamma is not None],
        )
        for gamma, seed in trained
    ]


def main():
    todo = jobs(step_ms())
    names = [name_of(gamma) for gamma, _, _ in todo]
    with multiprocessing.get_context("spawn").Pool(2, prepare) as pool:
        rows = list(pool.imap_unordered(train_digits, todo, chunksize=1))
    rows.sort(key=lambda row: (names.index(row["objective"]), row["seed"]))
    save("digit_objectives", rows)
    show("The same seconds on MNIST", rows)


if __name__ == "__main__":
    main()
