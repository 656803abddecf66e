"""Can fakes train a classifier? Students of fakes and of real images, on MNIST.

A student is a network like the judge, trained from scratch on samples of notebook 04's
G, on as many real images, or on more samples; its accuracy is that on the 10,000 test
images, which are real. G comes from the cache if ``minority.py`` has left it there.
Runs go two at a time, on one thread each; those that are in the CSV already are left
out.

    python benchmarks/students.py    # five minutes
"""

from bench import options, save, show  # before torch: see there

# isort: split
from dataclasses import replace

import runs
import torch

from ganlib.checkpoint import load_or_train
from ganlib.judge import judge_predictions, train_judge
from ganlib.latent import sample_images, stream
from ganlib.training import TrainConfig

COUNT, MORE = 10_000, 60_000  # images of a lesson
SEEDS = 3
CONFIG = TrainConfig()


def lessons(seed: int) -> dict[str, tuple]:
    """Return images with labels by name: real ones, and samples of G."""
    G, _ = load_or_train(replace(CONFIG, seed=seed), runs.images)
    fake = sample_images(G, MORE, seed=1234)
    shuffled = torch.randperm(len(runs.images), generator=stream("students", seed))
    real = runs.images[shuffled[:COUNT]]
    as_read, fake_as_read = (judge_predictions(runs.judge, x)[0] for x in (real, fake))
    return {
        "real, true labels": (real, runs.labels[shuffled[:COUNT]]),
        "real, labels of the judge": (real, as_read),
        "fakes, labels of the judge": (fake[:COUNT], fake_as_read[:COUNT]),
        "more fakes, labels of the judge": (fake, fake_as_read),
    }


def run(seed: int) -> list[dict]:
    """Train the students of one seed; return their rows, and one for the judge."""
    students = {
        name: (len(images), train_judge(images, marks, seed=seed))
        for name, (images, marks) in lessons(seed).items()
    }
    if seed == 0:
        students["the judge itself"] = len(runs.images), runs.judge
    rows = []
    for name, (count, student) in students.items():
        right = judge_predictions(student, runs.test.images)[0] == runs.test.labels
        accuracy = round(right.float().mean().item(), 4)
        row = {"student_of": name, "images": count, "seed": seed, "accuracy": accuracy}
        rows.append(row)
        print(*row.values(), flush=True)
    return rows


def main():
    options(__doc__)
    rows = runs.stored("students")
    seeds = set(range(SEEDS)) - {row["seed"] for row in rows}
    for found in runs.two_at_a_time(run, sorted(seeds)):
        rows += found
        rows.sort(key=lambda row: row["seed"])
        save("students", rows)
    save("students", rows)  # if there was nothing left to run
    show("Students of fakes and of real images", rows)


if __name__ == "__main__":
    main()
