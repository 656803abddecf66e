"""When to stop? The recipe of notebook 04 goes on, judged every 500 steps.

Each record is judged twice, with other noise, which says how exact a distance is. Runs
go two at a time, on one thread each; those that are in the CSV already are left out.

    python benchmarks/stopping.py    # twenty minutes
"""

from bench import options, save, show  # before torch: see there

# isort: split
import runs

from ganlib.judge import judge_features
from ganlib.latent import sample_images
from ganlib.metrics import frechet_distance
from ganlib.models import new_networks
from ganlib.training import TrainConfig, train

SEEDS, STEPS, EVERY = 3, 15_000, 500
NOISE = {"distance": 1234, "again": 4321}  # seeds


def run(seed: int) -> list[dict]:
    """Train with one seed; return a row for each record."""
    config, rows = TrainConfig(STEPS, record_every=EVERY, seed=seed), []
    for record in train(*new_networks(seed), runs.images, config):
        row = {"seed": seed, "step": record.step}
        for name, noise in NOISE.items():
            samples = sample_images(record.averaged, runs.SAMPLES, seed=noise)
            features = judge_features(runs.judge, samples)
            row[name] = round(frechet_distance(runs.features, features), 2)
        print(*row.values(), flush=True)
        rows.append(row)
    return rows


def main():
    options(__doc__)
    rows = runs.stored("stopping")
    seeds = set(range(SEEDS)) - {row["seed"] for row in rows}
    for found in runs.two_at_a_time(run, sorted(seeds)):
        rows = sorted(rows + found, key=lambda row: (row["seed"], row["step"]))
        save("stopping", rows)
    save("stopping", rows)  # if there was nothing left to run
    show("When to stop", rows)


if __name__ == "__main__":
    main()
