"""Which change of the recipe bought what: from the textbook recipe to TrainConfig.

Each rung adds one change to the rung before and trains with ``train`` for as many
steps as the last rung does. The quality is the Fréchet distance of 10,000 samples
to the test images in the features of the course's judge, three seeds each. Two runs at
a time, one thread each: only their quality is recorded.

    python benchmarks/recipe_ladder.py     # about 12 minutes; nothing else should run
"""

from bench import options, save, show  # before torch: see there

# isort: split
import statistics
from dataclasses import replace

import runs
import torch

from ganlib.models import Discriminator, Generator, init_orthogonal_
from ganlib.training import TrainConfig, train

SEEDS = (0, 1, 2)
OURS = TrainConfig()
TEXTBOOK = replace(OURS, lr_g=2e-4, lr_d=2e-4, betas=(0.5, 0.999), ema_share=0.0)
CHANGES = [  # name, settings, initializer; all settings before stay in force
    ("textbook, eps put right", {}, None),
    ("learning rate 1e-3", {"lr_g": OURS.lr_g, "lr_d": OURS.lr_d}, None),
    ("orthogonal first weights", {}, init_orthogonal_),
    ("betas (0, 0.999)", {"betas": OURS.betas}, None),
    ("average of G", {"ema_share": OURS.ema_share}, None),
]


def rungs():
    """Yield name, TrainConfig and initializer of every rung, the first one first."""
    config, initializer = TEXTBOOK, None
    for name, settings, new_initializer in CHANGES:
        config = replace(config, **settings)
        initializer = new_initializer or initializer
        yield name, config, initializer


def climb(job):
    """Train one rung with one seed; return its row."""
    number, name, config, initializer = job
    torch.manual_seed(config.seed)
    G, D = Generator(), Discriminator()
    if initializer:
        G, D = G.apply(initializer), D.apply(initializer)
    *_, last = train(G, D, runs.images, config)
    found = runs.distance(last.averaged)
    print(f"{name}, seed {config.seed}: {found}", flush=True)
    return {"rung": number, "change": name, "seed": config.seed, "distance": found}


def main():
    options(__doc__)
    jobs = [
        (number, name, replace(config, seed=seed), initializer)
        for seed in SEEDS
        for number, (name, config, initializer) in enumerate(rungs())
    ]
    rows = list(runs.two_at_a_time(climb, jobs))
    rows.sort(key=lambda row: (row["rung"], row["seed"]))
    save("recipe_ladder", rows)
    distances = {name: [] for name, *_ in CHANGES}
    for row in rows:
        distances[row["change"]].append(row["distance"])
    medians = [
        {"change": name, "median distance": statistics.median(found)}
        for name, found in distances.items()
    ]
    show("From the textbook recipe to ours", medians)


if __name__ == "__main__":
    main()
