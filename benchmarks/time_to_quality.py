"""How good are the images after so many seconds? The textbook recipe and ours.

Three curves with three seeds each: Fréchet distance (10,000 samples, the test images,
the course's judge) against seconds of training on this machine.

- the textbook recipe as published, BatchNorm eps 0.8, and with eps fixed: trained for
  as many images as the textbook loop shows in 600 seconds, at the images per second
  that ``throughput.py`` measured (run it first). These runs read the images from
  memory, two at a time, one thread each; what they compute is the same.
- ours: ``train`` with ``TrainConfig()``, in wall-clock time, alone on the machine.

``--control`` adds the fixed eps, seed 0, in the textbook's own loop, also in wall-clock
time.

    python benchmarks/time_to_quality.py   # about 35 minutes; nothing else should run
"""

from bench import options, save, show  # before torch: see there

# isort: split
import contextlib
import os
import time

import runs
import torch
from textbook import PUBLISHED_EPS, RIGHT_EPS, loader, networks
from textbook import train as train_textbook

from ganlib.data import batch_indices
from ganlib.models import new_networks
from ganlib.training import TrainConfig, train

SEEDS = (0, 1, 2)
SECONDS = (15, 30, 60, 120, 240, 420, 600)
AS_PUBLISHED, CORRECTED, OURS = "textbook, eps 0.8", "textbook, eps 1e-5", "ganlib"


def from_memory(seed, batch_size=64):
    """Yield (images, labels) as the DataLoader does, without reading and converting."""
    order = torch.Generator().manual_seed(seed)
    while True:
        for indices in batch_indices(len(runs.images), batch_size, generator=order):
            yield runs.images[indices], None


def from_loader():
    while True:
        yield from loader()


def follow(curve, eps, seed, batches, clock):
    """Train the textbook recipe; return a row whenever ``clock(seen)`` is due."""
    torch.manual_seed(seed)
    G, D = networks(eps)
    rows, due = [], list(SECONDS)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for seen in train_textbook(G, D, batches):
            if clock(seen) >= due[0]:
                paused = time.perf_counter()
                rows.append(_row(curve, seed, due.pop(0), seen, G))
                if not due:
                    return rows
                clock.paused += time.perf_counter() - paused


class MeasuredClock:
    """Seconds of training, without the pauses in which the samples are judged."""

    def __init__(self):
        self.started, self.paused = time.perf_counter(), 0.0

    def __call__(self, seen):
        return time.perf_counter() - self.started - self.paused


class RateClock:
    """Seconds that the images seen take at a measured rate."""

    def __init__(self, images_per_second):
        self.rate, self.paused = images_per_second, 0.0

    def __call__(self, seen):
        return seen / self.rate


def follow_in_memory(job):
    curve, eps, seed, rate = job
    return follow(curve, eps, seed, from_memory(seed), RateClock(rate))


def follow_ours(seed):
    """Train our recipe; return a row every 1,000 steps and at the end."""
    config = TrainConfig(seed=seed)
    rows = []
    for record in train(*new_networks(seed), runs.images, config):
        if record.step % 1000 == 0 or record.step == config.steps:
            seconds = round(record.seconds, 1)
            rows.append(_row(OURS, seed, seconds, record.images_seen, record.averaged))
    return rows


def _row(curve, seed, seconds, seen, G):
    found = runs.distance(G)
    print(f"{curve}, seed {seed}: {seconds:.0f} s, {found}", flush=True)
    return {
        "curve": curve,
        "seed": seed,
        "seconds": seconds,
        "images_seen": seen,
        "distance": found,
    }


def main():
    control = options(__doc__, "--control", action="store_true").control
    measured = {row["batch"]: row for row in runs.stored("throughput")}
    rate = measured[64]["textbook_images_per_s"]
    jobs = [
        (curve, eps, seed, rate)
        for seed in SEEDS
        for curve, eps in ((AS_PUBLISHED, PUBLISHED_EPS), (CORRECTED, RIGHT_EPS))
    ]
    rows = [r for found in runs.two_at_a_time(follow_in_memory, jobs) for r in found]
    runs.prepare(torch.get_num_threads())
    for seed in SEEDS:
        rows += follow_ours(seed)
    if control:
        name = f"{CORRECTED}, own clock"
        rows += follow(name, RIGHT_EPS, 0, from_loader(), MeasuredClock())
    rows.sort(key=lambda row: (row["curve"], row["seed"], row["seconds"]))
    save("time_to_quality", rows)
    show("Time to quality", rows)


if __name__ == "__main__":
    main()
