"""Penalties and pairs against the classic losses, on the digits, for the same seconds.

Networks, learning rates, batches and average are those of notebook 04. The script
first times steps of all objectives in turn, on one thread; a costlier one then gets as
many fewer steps as its steps take longer. Three seeds of each, and one of other weights
γ. Two trainings run at a time, one thread each.

    python benchmarks/digit_objectives.py  # about 10 minutes on two cores
"""

from bench import save, show  # before torch: see there

# isort: split
import multiprocessing
import statistics
import time
from dataclasses import replace
from functools import partial

import torch

from ganlib.checkpoint import new_networks
from ganlib.data import load_images
from ganlib.evaluation import frechet_distance, precision_recall
from ganlib.judge import judge_features, train_judge
from ganlib.latent import sample_images
from ganlib.training import TrainConfig, classic_update, train
from ganlib.updates import pairing_update, r1_update

SEEDS = (0, 1, 2)
OBJECTIVES = {
    "classic": classic_update,
    "R1": partial(r1_update, gamma=1.0),
    "RpGAN + R1 + R2": partial(pairing_update, gamma=1.0),
}
OTHER_WEIGHTS = {
    f"RpGAN + R1 + R2, γ = {gamma:g}": partial(pairing_update, gamma=gamma)
    for gamma in (0.1, 10.0)
}
UPDATES = OBJECTIVES | OTHER_WEIGHTS


def step_ms(rounds: int = 60) -> dict[str, float]:
    """Return the median milliseconds of one update of both players, by objective."""
    torch.set_num_threads(1)
    G, D = new_networks(TrainConfig())
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), fused=True) for n in (G, D))
    real = torch.rand(64, 1, 28, 28) * 2 - 1
    times = {name: [] for name in UPDATES}
    for _ in range(rounds):
        for name, update in UPDATES.items():
            started = time.perf_counter()
            update(D, opt_d, opt_g, real, G(torch.randn(64, 100)), 0.0)
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in times.items()}


def jobs(ms: dict[str, float]) -> list[tuple[str, TrainConfig, float]]:
    """Return all trainings: objective, settings, seconds that the steps take alone."""
    classic = TrainConfig()
    trained = [(name, seed) for name in OBJECTIVES for seed in SEEDS]
    trained += [(name, SEEDS[0]) for name in OTHER_WEIGHTS]
    todo = []
    for name, seed in trained:
        steps = round(classic.steps * ms["classic"] / ms[name])
        config = replace(classic, seed=seed, steps=steps)
        todo.append((name, config, steps * ms[name] / 1000))
    return todo


def prepare() -> None:
    global _images, _test, _judge, _features
    torch.set_num_threads(1)
    data = load_images("mnist", offline=True)
    _images, _test = data.images, load_images("mnist", "test", offline=True).images
    _judge = train_judge(data.images, data.labels)
    _features = judge_features(_judge, _test)


def train_digits(job: tuple[str, TrainConfig, float]) -> dict:
    """Train one objective with one seed; return its row."""
    name, config, seconds = job
    G, D = new_networks(config)
    *_, last = train(G, D, _images, config, UPDATES[name])
    fake = sample_images(last.averaged, 10_000, seed=1234)
    fake_features = judge_features(_judge, fake)
    near, wide = (precision_recall(_features, fake_features, k=k) for k in (3, 5))
    row = {
        "objective": name,
        "seed": config.seed,
        "steps": config.steps,
        "seconds": round(seconds),
        "frechet": round(frechet_distance(_judge, _test, fake), 2),
        "precision": round(near.precision, 3),
        "recall": round(near.recall, 3),
        "coverage": round(wide.coverage, 3),
    }
    print(*row.values(), flush=True)
    return row


def main():
    names, todo = list(UPDATES), jobs(step_ms())
    with multiprocessing.get_context("spawn").Pool(2, prepare) as pool:
        rows = list(pool.imap_unordered(train_digits, todo, chunksize=1))
    rows.sort(key=lambda row: (names.index(row["objective"]), row["seed"]))
    save("digit_objectives", rows)
    show("The same seconds on MNIST", rows)


if __name__ == "__main__":
    main()
