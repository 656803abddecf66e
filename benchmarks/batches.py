"""Do larger batches pay? Images a second against quality, at three learning rates.

The networks of notebook 04 learn from batches of several sizes, with its learning rates
as they are, times √(batch / 64), or times batch / 64. All runs take the seconds below.
These are seconds of a core that nothing else uses: the script first times the steps of
all sizes in turn, on one thread. The runs themselves go two at a time, on one thread
each; those that are in the CSV already are left out. A run that diverges has NaN for
its quality, and the steps until its last good record.

    python benchmarks/batches.py    # a quarter of an hour
"""

from bench import options, save, show  # before torch: see there

# isort: split
import math
from collections.abc import Iterator
from functools import partial

import runs
import torch
from torch import Tensor

from ganlib.models import new_networks
from ganlib.training import Record, TrainConfig, train

SECONDS = 60
SEEDS = 2
BATCHES = (16, 64, 256, 1024)
POWERS = {"as it is": 0.0, "square root": 0.5, "linear": 1.0}  # of batch / 64
JUDGED = ("distance", "precision", "recall")


def records(
    batch: int, images: Tensor, steps: int, rate: str = "as it is", seed: int = 0
) -> Iterator[Record]:
    own = TrainConfig()  # notebook 04's
    lr = own.lr_g * (batch / own.batch_size) ** POWERS[rate]
    every = min(steps, own.record_every)
    config = TrainConfig(steps, batch, lr, lr, record_every=every, seed=seed)
    return train(*new_networks(seed), images, config)


def run(job: tuple[int, str, int, float]) -> dict:
    """Train with one batch size, rate and seed; return a row."""
    batch, rate, seed, ms = job
    done, numbers = 0, dict.fromkeys(JUDGED, math.nan)
    steps = round(1000 * SECONDS / ms)
    try:
        for record in records(batch, runs.images, steps, rate, seed):
            done = record.step
        numbers = runs.describe(record.averaged)
    except FloatingPointError as error:
        print(error)
    row = {"batch": batch, "rate": rate, "seed": seed, "ms_a_step": round(ms, 2)}
    row["steps"] = done
    row["images_a_second"] = round(1000 * batch / ms)
    row |= {name: numbers[name] for name in JUDGED}
    print(*row.values(), flush=True)
    return row


def all_jobs() -> list[tuple[int, str, int]]:
    """Return batch, rate and seed of each run; at a batch of 64, all rates are one."""
    pairs = [(batch, rate) for batch in BATCHES for rate in POWERS]
    pairs = [(b, r) for b, r in pairs if b != TrainConfig().batch_size or not POWERS[r]]
    return [(*pair, seed) for pair in pairs for seed in range(SEEDS)]


def main():
    options(__doc__)
    rows, order = runs.stored("batches"), all_jobs()
    done = [(row["batch"], row["rate"], row["seed"]) for row in rows]
    jobs = [job for job in order if job not in done]
    runs.one_thread()
    images = torch.rand(max(BATCHES), 1, 28, 28) * 2 - 1
    starts = {job[0]: partial(records, job[0], images) for job in jobs}
    ms = runs.step_ms(starts, steps=20)
    jobs = [(*job, ms[job[0]]) for job in jobs]
    for row in runs.two_at_a_time(run, jobs):
        rows.append(row)
        rows.sort(key=lambda r: order.index((r["batch"], r["rate"], r["seed"])))
        save("batches", rows)
    save("batches", rows)  # if there was nothing left to run
    show("Batch sizes for the same seconds", rows)


if __name__ == "__main__":
    main()
