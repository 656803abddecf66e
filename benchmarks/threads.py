"""What a busy neighbor costs a run, for several settings of the threads.

A step of ``train`` is timed alone, next to a process that keeps one core busy (a
browser, say), and next to a second run of the same kind. GOMP_SPINCOUNT is how long a
waiting thread of torch spins before it sleeps: 300,000 if it is not set.

    python benchmarks/threads.py           # about 10 minutes; nothing else should run
"""

from bench import answer, child, options, save, say, show  # before torch: see there

# isort: split
import statistics
import subprocess
import sys

import runs
import torch

from ganlib.training import TrainConfig

SPINS = (300_000, 10_000, 5_000, 3_000, 2_000, 1_000)
ROUNDS, SECONDS = 3, 3.0


def child_main(batch_size):
    """Time ``train`` for a few seconds after a warm-up of 1 second."""
    images = torch.rand(4096, 1, 28, 28) * 2 - 1
    config = TrainConfig(batch_size=batch_size, steps=10**6, record_every=10)
    say(step_ms=1000 * runs.time_train(images, config, 1, SECONDS))


def settings():
    """Yield a name and the environment variables of each setting."""
    for spin in SPINS:
        yield f"{spin:,} spins", {"GOMP_SPINCOUNT": str(spin), "OMP_NUM_THREADS": None}
    yield "one thread", {"OMP_NUM_THREADS": "1"}


def alone(batch_size, env):
    return answer(child("threads.py", batch_size, env=env))["step_ms"]


def beside_busy_core(batch_size, env):
    endless = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return alone(batch_size, env)
    finally:
        endless.kill()
        endless.wait()


def beside_training(batch_size, env):
    both = [child("threads.py", batch_size, env=env) for _ in range(2)]
    return statistics.mean(answer(process)["step_ms"] for process in both)


def measure(batch_size):
    """Return a row for each setting: medians over the rounds, settings alternating."""
    conditions = (alone, beside_busy_core, beside_training)
    times = {name: {c: [] for c in conditions} for name, _ in settings()}
    for _ in range(ROUNDS):
        for name, env in settings():
            for condition in conditions:
                times[name][condition].append(condition(batch_size, env))
    fastest = min(statistics.median(found[alone]) for found in times.values())
    rows = []
    for name, found in times.items():
        lone, busy, twin = (statistics.median(found[c]) for c in conditions)
        rows.append(
            {
                "threads": name,
                "batch": batch_size,
                "alone_ms": round(lone, 1),
                "beside_busy_core_ms": round(busy, 1),
                "beside_training_ms": round(twin, 1),
                "alone_to_fastest": round(lone / fastest, 2),
                "beside_to_alone": round(max(busy, twin) / lone, 2),
            }
        )
    return rows


def main():
    said = options(__doc__, "batch", nargs="?", type=int, help="for child processes")
    if said.batch:
        child_main(said.batch)
        return
    rows = measure(TrainConfig().batch_size)
    save("threads", rows)
    show("A step alone and next to a neighbor: medians of three rounds", rows)


if __name__ == "__main__":
    main()
