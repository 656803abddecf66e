"""Penalties and pairs against the classic losses, on the digits, for the same seconds.

Networks, learning rates, batches and average are those of notebook 04. The script
first times steps of all objectives in turn, on one thread; a costlier one then gets as
many fewer steps as its steps take longer. Three seeds of each, two trainings at a time,
one thread each. Each result is stored as soon as it is there; a run that is stopped
goes on where it was, with the same numbers of steps.

    python benchmarks/digit_objectives.py          # about 12 minutes on two cores
    python benchmarks/digit_objectives.py --fresh  # forget what is stored
"""

from bench import save, show  # before torch: see there

# isort: split
import argparse
import itertools
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
from ganlib.results import read_results
from ganlib.training import TrainConfig, classic_update, train
from ganlib.updates import pairing_update, r1_update

SEEDS = (0, 1, 2)
OBJECTIVES = {
    "classic": classic_update,
    "R1": partial(r1_update, gamma=1.0),
    "RpGAN + R1 + R2": partial(pairing_update, gamma=1.0),
}


def step_ms(rounds: int = 60) -> dict[str, float]:
    """Return the median milliseconds of one update of both players, by objective."""
    torch.set_num_threads(1)
    G, D = new_networks(TrainConfig())
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), fused=True) for n in (G, D))
    real = torch.rand(64, 1, 28, 28) * 2 - 1
    times = {name: [] for name in OBJECTIVES}
    for _ in range(rounds):
        for name, update in OBJECTIVES.items():
            started = time.perf_counter()
            update(D, opt_d, opt_g, real, G(torch.randn(64, 100)), 0.0)
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in times.items()}


def jobs(ms: dict[str, float], rows: list[dict]) -> list[tuple]:
    """Return the trainings without a row: objective, settings, seconds taken alone."""
    classic, todo = TrainConfig(), []
    known = {row["objective"]: (row["steps"], row["seconds"]) for row in rows}
    for name, seed in itertools.product(OBJECTIVES, SEEDS):
        fewer = round(classic.steps * ms["classic"] / ms[name])
        steps, seconds = known.get(name, (fewer, round(fewer * ms[name] / 1000)))
        if (name, seed) not in {(row["objective"], row["seed"]) for row in rows}:
            todo.append((name, replace(classic, seed=seed, steps=steps), seconds))
    return todo


def prepare() -> None:
    global _images, _test, _judge, _features
    torch.set_num_threads(1)
    data = load_images("mnist", offline=True)
    _images, _test = data.images, load_images("mnist", "test", offline=True).images
    _judge = train_judge(data.images, data.labels)
    _features = judge_features(_judge, _test)


def train_digits(job: tuple[str, TrainConfig, int]) -> dict:
    """Train one objective with one seed; return its row."""
    name, config, seconds = job
    G, D = new_networks(config)
    *_, last = train(G, D, _images, config, OBJECTIVES[name])
    fake = sample_images(last.averaged, 10_000, seed=1234)
    fake_features = judge_features(_judge, fake)
    near, wide = (precision_recall(_features, fake_features, k=k) for k in (3, 5))
    row = {
        "objective": name,
        "seed": config.seed,
        "steps": config.steps,
        "seconds": seconds,
        "frechet": round(frechet_distance(_judge, _test, fake), 2),
        "precision": round(near.precision, 3),
        "recall": round(near.recall, 3),
        "coverage": round(wide.coverage, 3),
    }
    print(*row.values(), flush=True)
    return row


def stored() -> list[dict]:
    try:
        return read_results("digit_objectives")
    except FileNotFoundError:
        return []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true")
    rows = [] if parser.parse_args().fresh else stored()
    names, todo = list(OBJECTIVES), jobs(step_ms(), rows)
    with multiprocessing.get_context("spawn").Pool(2, prepare) as pool:
        for found in pool.imap_unordered(train_digits, todo, chunksize=1):
            rows.append(found)
            rows.sort(key=lambda row: (names.index(row["objective"]), row["seed"]))
            save("digit_objectives", rows)
    show("The same seconds on MNIST", rows)


if __name__ == "__main__":
    main()
