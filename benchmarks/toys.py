"""Five objectives on the ring and the grid: modes, quality, balance, seconds.

Each has three seeds, and the two that are best on the grid have ten. All share
networks, learning rates and steps. Each result is stored as soon as it is there, and a
benchmark that is stopped resumes where it was: it trains only what results/toys.csv
lacks. Two runs go at a time, on one thread each. Their seconds are not measured in
wall-clock time, which depends on what else the machine does: the script first times
steps of all objectives in turn, on one thread, and multiplies the median by the number
of steps.

    python benchmarks/toys.py          # took half an hour on two cores
    python benchmarks/toys.py --fresh  # forget what is stored
"""

from bench import options, save, show  # before torch: see there

# isort: split
import itertools
import statistics
from collections.abc import Callable, Iterable
from functools import partial

import runs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlib.latent import sample_images
from ganlib.losses import d_loss_hinge, g_loss_wasserstein
from ganlib.models import init_orthogonal_leaky_
from ganlib.steps import (
    Moved,
    classic_update,
    cosine_rate,
    d_step,
    g_step,
    pairing_update,
    r1_update,
    wasserstein_update,
)
from ganlib.toys import (
    GRID,
    RING,
    PointDiscriminator,
    PointGenerator,
    mode_coverage,
    sample_points,
)
from ganlib.training import TrainConfig, train

TOYS = {"ring": RING, "grid": GRID}
STEPS = {"ring": 3000, "grid": 20_000}
OBJECTIVES = ("classic", "hinge", "WGAN-GP", "R1", "RpGAN + R1 + R2")
SEEDS, MORE_SEEDS = range(3), range(10)
WIDTH, DEPTH = 64, 8  # of G and of D
GAMMA = {"gamma": 0.3, "last_gamma": 0.005}  # of R1 and R2


def hinge_update(
    D: nn.Module,
    opt_d: Optimizer,
    opt_g: Optimizer,
    real: Tensor,
    fake: Tensor,
    progress: float,
) -> Moved:
    """Move both players with the hinge loss, which notebook 08 teaches."""
    loss, *_ = d_step(D, opt_d, real, fake, d_loss_hinge)
    return (loss, None, None), g_step(D, opt_g, fake, g_loss_wasserstein)


def update_of(objective: str, seed: int) -> Callable:
    """Return the function that moves both players once."""
    mixing = torch.Generator().manual_seed(seed)
    return {
        "classic": classic_update,
        "hinge": hinge_update,
        "WGAN-GP": partial(wasserstein_update, generator=mixing),
        "R1": partial(r1_update, **GAMMA),
        "RpGAN + R1 + R2": partial(pairing_update, **GAMMA),
    }[objective]


def networks(seed: int) -> tuple[PointGenerator, PointDiscriminator]:
    torch.manual_seed(seed)
    G = PointGenerator(width=WIDTH, depth=DEPTH).apply(init_orthogonal_leaky_)
    return G, PointDiscriminator(WIDTH, DEPTH).apply(init_orthogonal_leaky_)


def step_ms(rounds: int = 100) -> dict[str, float]:
    updates = {name: update_of(name, 0) for name in OBJECTIVES}
    return runs.update_ms(
        updates, *networks(0), sample_points(GRID, 256, seed=0), rounds
    )


def train_toy(job: tuple[str, str, int]) -> dict:
    """Train one objective on one toy with one seed; return its row."""
    toy, objective, seed = job
    G, D = networks(seed)
    points = sample_points(TOYS[toy], 100_000, seed=0)
    config = TrainConfig(
        steps=STEPS[toy],
        batch_size=256,
        lr_g=2e-3,
        lr_d=1e-3,  # half of G's: at 2e-3, R1 with seed 2 kept only 24 modes
        betas=(0.0, 0.99),
        record_every=STEPS[toy] // 4,
        seed=seed,
    )
    try:
        *_, last = train(
            G, D, points, config, update_of(objective, seed), rate=cosine_rate
        )
    except FloatingPointError as error:  # the row shows it, and the others go on
        print(f"{toy}, {objective}, seed {seed}: {error}", flush=True)
        return row(job, 0, 0.0, float("nan"))
    found = mode_coverage(sample_images(last.averaged, 2500, seed=1234), TOYS[toy])
    print(f"{toy}, {objective}, seed {seed}: {found}", flush=True)
    return row(job, *found)


def row(job: tuple, captured: int, high_quality: float, kl: float) -> dict:
    return {
        "toy": job[0],
        "objective": job[1],
        "seed": job[2],
        "modes": captured,
        "high_quality": round(high_quality, 4),
        "kl": round(kl, 4),
        "steps": STEPS[job[0]],
        "seconds": 0,  # known when the steps have been timed
    }


def stored() -> list[dict]:
    """Return the earlier rows, if they were made with the same steps."""
    return [row for row in runs.stored("toys") if row["steps"] == STEPS[row["toy"]]]


def missing(rows: list[dict], objectives: Iterable[str], seeds: range) -> list[tuple]:
    """Return the jobs that have no row yet, the grid first, seed by seed."""
    done = {(row["toy"], row["objective"], row["seed"]) for row in rows}
    jobs = itertools.product(reversed(TOYS), seeds, objectives)
    every = [(toy, objective, seed) for toy, seed, objective in jobs]
    return [job for job in every if job not in done]


def best_two(rows: list[dict]) -> list[str]:
    """Return the objectives with the most modes on the grid, then the best quality.

    Both are the medians of the first seeds.
    """

    def quality(name: str) -> tuple[float, float]:
        first = (("grid", name, seed) for seed in SEEDS)
        mine = [found[job] for job in first]
        return tuple(
            statistics.median(row[what] for row in mine)
            for what in ("modes", "high_quality")
        )

    found = {(row["toy"], row["objective"], row["seed"]): row for row in rows}
    return sorted(OBJECTIVES, key=quality)[-2:]


def order(row: dict) -> tuple:
    return (
        -list(TOYS).index(row["toy"]),
        OBJECTIVES.index(row["objective"]),
        row["seed"],
    )


def means(rows: list[dict]) -> list[dict]:
    """Return a row for each toy and objective, with means, as in published tables."""
    table = []
    for toy, name in itertools.product(TOYS, OBJECTIVES):
        mine = [r for r in rows if (r["toy"], r["objective"]) == (toy, name)]
        if mine:
            modes, quality, seconds = (
                [r[what] for r in mine] for what in ("modes", "high_quality", "seconds")
            )
            table.append(
                {
                    "toy": toy,
                    "objective": name,
                    "seeds": len(mine),
                    "modes": round(statistics.mean(modes), 1),
                    "fewest": min(modes),
                    "high quality": f"{statistics.mean(quality):.1%}",
                    "worst": f"{min(quality):.1%}",
                    "seconds": statistics.median(seconds),
                }
            )
    return table


def main():
    fresh = options(__doc__, "--fresh", action="store_true").fresh
    rows, ms = [] if fresh else stored(), step_ms()
    for choose, seeds in ((lambda _: OBJECTIVES, SEEDS), (best_two, MORE_SEEDS)):
        jobs = missing(rows, choose(rows), seeds)
        for found in runs.two_at_a_time(train_toy, jobs, runs.one_thread):
            rows.append(found)
            for row in rows:
                row["seconds"] = round(row["steps"] * ms[row["objective"]] / 1000)
            save("toys", sorted(rows, key=order))
    show("Toy sets: means over seeds", means(rows))


if __name__ == "__main__":
    main()
