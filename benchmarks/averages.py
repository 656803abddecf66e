"""How far G's running average should reach back, on MNIST and on the embedded digits.

One run for each data set and seed, with the recipe of ganlib and several averages of
the same G beside each other. Each reaches back over another fraction of the steps so
far; 0 is G itself. The quality is the Fréchet distance of as many samples as there are
test images, at most 10,000, to these. Two runs at a time, one thread each.

    python benchmarks/averages.py     # took 10 minutes; nothing else should run
"""

from bench import options, save, show  # before torch: see there

# isort: split
import copy
import statistics
from dataclasses import replace

import runs

from ganlib.data import load_images
from ganlib.judge import judge_features, train_judge
from ganlib.latent import sample_images
from ganlib.metrics import frechet_distance
from ganlib.models import new_networks
from ganlib.steps import classic_update
from ganlib.training import TrainConfig, move_average, train

SEEDS = (0, 1, 2)
SHARES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
CONFIG = TrainConfig()


def run(job: tuple[str, int]) -> list[dict]:
    """Train once; return a row for each average."""
    name, seed = job
    data, test = (load_images(name, split, offline=True) for split in ("train", "test"))
    judge = train_judge(data.images, data.labels)
    real = judge_features(judge, test.images)
    G, D = new_networks(seed)
    averages = {share: copy.deepcopy(G).requires_grad_(False) for share in SHARES}
    steps = iter(range(CONFIG.steps))

    def update(*arguments):
        moved, step = classic_update(*arguments), next(steps)
        for share, average in averages.items():
            move_average(average, G, share * step)
        return moved

    list(train(G, D, data.images, replace(CONFIG, seed=seed), update))
    epochs = CONFIG.steps * CONFIG.batch_size / len(data.images)
    rows = []
    for share, average in averages.items():
        fake = judge_features(judge, sample_images(average, len(real), seed=1234))
        row = {"data": name, "seed": seed, "ema_share": share}
        row["epochs"] = round(share * epochs, 2)  # that the average reaches back over
        row["distance"] = round(frechet_distance(real, fake), 2)
        rows.append(row)
    return rows


def main():
    options(__doc__)
    jobs = [(name, seed) for name in ("mnist", "digits") for seed in SEEDS]
    found = runs.two_at_a_time(run, jobs, runs.one_thread)
    rows = sorted((row for part in found for row in part), key=lambda row: row["data"])
    rows.sort(key=lambda row: (row["data"] != "mnist", row["ema_share"], row["seed"]))
    save("averages", rows)
    table = []
    for share in SHARES:
        line = {"reaches back over": share}
        for name in ("mnist", "digits"):
            line[name] = statistics.median(
                row["distance"]
                for row in rows
                if (row["data"], row["ema_share"]) == (name, share)
            )
        table.append(line)
    show("Averages of G, median distances of three seeds", table)


if __name__ == "__main__":
    main()
