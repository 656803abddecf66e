"""Does G shrink a minority? MNIST as it is, and with the 8s cut down to 1 percent.

Each row compares what the judge reads in samples of G with what it reads in real test
images, weighted so that as many of them are 8s as of the images that G learned from:
the judge takes a few other digits for 8s, which matters where 8s are rare. The judge
itself knows all of MNIST. Runs go two at a time, on one thread each; those that are in
the CSV already are left out.

    python benchmarks/minority.py    # ten minutes
"""

from bench import options, save, show  # before torch: see there

# isort: split
from dataclasses import replace

import runs
import torch
from torch import Tensor

from ganlib.checkpoint import load_or_train
from ganlib.latent import stream
from ganlib.training import TrainConfig

DIGIT = 8
SHARES = {"as it is": None, "1 percent": 0.01}  # of the digit in the data
SEEDS = 3
CONFIG = TrainConfig()


def cut(labels: Tensor, share: float | None, seed: int) -> Tensor:
    """Return which images stay if ``share`` of them are 8s, drawn by lot."""
    if share is None:
        return torch.arange(len(labels))
    few, others = (labels == DIGIT).nonzero()[:, 0], (labels != DIGIT).nonzero()[:, 0]
    order = torch.randperm(len(few), generator=stream("minority", seed))
    count = round(len(others) * share / (1 - share))
    return torch.cat([others, few[order[:count]]])


def read(features: Tensor) -> dict[str, Tensor]:
    """Return which images the judge takes for an 8, and for which it is sure of that.

    It is sure if its probability for an 8 is over 0.9.
    """
    logits = runs.judge.head(features)
    sure = logits.softmax(1)[:, DIGIT] > 0.9
    return {"read": (logits.argmax(1) == DIGIT).float(), "sure": sure.float()}


def run(job: tuple[str, int]) -> dict:
    """Train G with one seed, unless it is in the cache; return its row."""
    name, seed = job
    chosen = cut(runs.labels, SHARES[name], seed)
    share = (runs.labels[chosen] == DIGIT).float().mean()
    G, _ = load_or_train(replace(CONFIG, seed=seed), runs.images[chosen])
    fakes, real = read(runs.features_of(G)), read(runs.features)
    row = {"data": name, "seed": seed, "share_in_data": share}
    of_digit = runs.test.labels == DIGIT
    for key in fakes:
        right, wrong = real[key][of_digit].mean(), real[key][~of_digit].mean()
        row[f"{key}_in_samples"] = fakes[key].mean()
        row[f"{key}_in_real"] = share * right + (1 - share) * wrong
        row[f"{key}_in_others"] = wrong
    row |= {key: round(value.item(), 4) for key, value in row.items() if "_in_" in key}
    print(*row.values(), flush=True)
    return row


def main():
    options(__doc__)
    rows, order = runs.stored("minority"), list(SHARES)
    done = {(row["data"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in SHARES for seed in range(SEEDS)]
    jobs = [job for job in jobs if job not in done]
    for row in runs.two_at_a_time(run, jobs):
        rows.append(row)
        rows.sort(key=lambda row: (order.index(row["data"]), row["seed"]))
        save("minority", rows)
    save("minority", rows)  # if there was nothing left to run
    show("The fraction of 8s", rows)


if __name__ == "__main__":
    main()
