"""The search for the recipe in TrainConfig: one line of results for each variant tried.

Every variant changes one or a few settings (hyperparameters) of the base and trains for
about as long on two cores, so a larger batch has fewer steps. Two variants train at a
time, each on one thread; only their quality is recorded, since ``time_to_quality``
measures seconds. Variants that are in the CSV already are not trained again.

    python benchmarks/recipe_search.py [--seeds 0 1 2]
"""

from bench import options, save  # before torch: see there

# isort: split
from dataclasses import dataclass, replace

import runs
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ganlib.data import batch_indices
from ganlib.losses import (
    d_loss,
    d_loss_hinge,
    d_loss_pairing,
    g_loss_non_saturating,
    g_loss_pairing,
    g_loss_wasserstein,
    r1_penalty,
)
from ganlib.models import Discriminator, Generator, init_orthogonal_, init_xavier_
from ganlib.steps import take_step

# Steps that take about as long as 6,600 at batch 32 (ms a step: 6.7, 7.5, 9.8, 14.0).
STEPS = {16: 7400, 32: 6600, 64: 5050, 128: 3550}


def plain_g(real_logits, fake_logits):
    return g_loss_non_saturating(fake_logits)


def half_hinge_d(real_logits, fake_logits):
    return d_loss_hinge(real_logits, fake_logits) / 2


def hinge_g(real_logits, fake_logits):
    return g_loss_wasserstein(fake_logits)


def smooth_d(real_logits, fake_logits):  # real images have the label 0.9
    return d_loss(real_logits, fake_logits) + 0.05 * real_logits.mean()


def init_default_(module):
    pass


@dataclass(frozen=True)
class Variant:
    batch: int = 32
    steps: int = 0  # 0: what the batch allows
    lr_g: float = 1e-3
    lr_d: float = 1e-3
    betas: tuple = (0.0, 0.999)
    betas_d: tuple = ()  # empty: as G's
    decay: float = 0.5
    ema: float = 0.999
    warm_up: int = 10  # the average keeps (1 + n) / (warm_up + n) at first
    growth: int = 1  # the batch grows by this factor at half of the images
    r1: float = 0.0  # weight of the penalty on D's gradient at real images
    r1_every: int = 4
    noise: float = 0.0  # on what D sees, falling linearly to 0
    dropout: float = 0.0  # in D
    shift: int = 0  # D sees all images moved by up to this many pixels
    init: object = init_orthogonal_
    losses: tuple = (d_loss, plain_g)


B = Variant()
VARIANTS = {
    "base": B,
    "decay 0.3": replace(B, decay=0.3),
    "decay 1": replace(B, decay=1.0),
    "betas 0, 0.99": replace(B, betas=(0.0, 0.99)),
    "betas 0, 0.9": replace(B, betas=(0.0, 0.9)),
    "betas 0.5, 0.999": replace(B, betas=(0.5, 0.999)),
    "lr_d 5e-4": replace(B, lr_d=5e-4),
    "lr_d 7e-4": replace(B, lr_d=7e-4),
    "lr_g 2e-3": replace(B, lr_g=2e-3),
    "both 2e-3": replace(B, lr_g=2e-3, lr_d=2e-3),
    "both 5e-4": replace(B, lr_g=5e-4, lr_d=5e-4),
    "batch 64": replace(B, batch=64),
    "batch 64, 1.5e-3": replace(B, batch=64, lr_g=1.5e-3, lr_d=1.5e-3),
    "batch 64, 2e-3": replace(B, batch=64, lr_g=2e-3, lr_d=2e-3),
    "batch 128, 2e-3": replace(B, batch=128, lr_g=2e-3, lr_d=2e-3),
    "batch 16, 7e-4": replace(B, batch=16, lr_g=7e-4, lr_d=7e-4),
    "grows 32 to 128": replace(B, growth=4, steps=5200),
    "ema 0.998": replace(B, ema=0.998),
    "ema 0.9995": replace(B, ema=0.9995),
    "r1 0.1": replace(B, r1=0.1, steps=5900),
    "r1 1": replace(B, r1=1.0, steps=5900),
    "real label 0.9": replace(B, losses=(smooth_d, plain_g)),
    "relativistic": replace(B, losses=(d_loss_pairing, g_loss_pairing)),
    "hinge": replace(B, losses=(half_hinge_d, hinge_g)),
    "noise 0.2": replace(B, noise=0.2),
    "dropout 0.3 in D": replace(B, dropout=0.3),
    "shifted by 1": replace(B, shift=1),
    "xavier": replace(B, init=init_xavier_),
    "default init": replace(B, init=init_default_),
}
C = replace(B, batch=64, decay=0.3)
VARIANTS |= {
    "second base": C,
    "second, decay 0.2": replace(C, decay=0.2),
    "second, decay 0.1": replace(C, decay=0.1),
    "second, lr_d 5e-4": replace(C, lr_d=5e-4),
    "second, lr_d 7e-4": replace(C, lr_d=7e-4),
    "second, 1.5e-3 and 7e-4": replace(C, lr_g=1.5e-3, lr_d=7e-4),
    "second, warm-up 2": replace(C, warm_up=2),
    "second, warm-up 4": replace(C, warm_up=4, ema=0.9999),
    "second, warm-up 20": replace(C, warm_up=20, ema=0.9999),
    "second, betas 0, 0.9995": replace(C, betas=(0.0, 0.9995)),
    "second, betas -, 0.99 for D": replace(C, betas_d=(0.0, 0.99)),
    "second, batch 128": replace(C, batch=128),
    "second, r1 1": replace(C, r1=1.0, steps=4500),
    "second, r1 5": replace(C, r1=5.0, steps=4500),
    "second, grows 32 to 96": replace(C, batch=32, growth=3, steps=5600),
}
T = replace(C, lr_d=5e-4)
VARIANTS |= {
    "third, lr_d 3e-4": replace(T, lr_d=3e-4),
    "third, lr_g 1.5e-3": replace(T, lr_g=1.5e-3),
    "third, decay 0.2": replace(T, decay=0.2),
    "third, betas 0, 0.9995": replace(T, betas=(0.0, 0.9995)),
}


def seen_by_d(images, variant, left, move, generator):
    """Return the images with noise, and moved by some pixels, as D sees them."""
    if variant.noise:
        noise = torch.randn(images.shape, generator=generator)
        images = images + left * variant.noise * noise
    return images.roll(move, (2, 3)) if variant.shift else images


def networks(variant, seed):
    torch.manual_seed(seed)
    G = Generator().apply(variant.init)
    D = Discriminator().apply(variant.init)
    if variant.dropout:
        for i in (5, 3):
            D.net.insert(i, nn.Dropout(variant.dropout))
    return G, D


def batches(images, variant, steps, order):
    """Yield batches; when half of the images have passed, they grow."""
    small = steps * variant.growth // (variant.growth + 1)
    done = 0
    while True:
        size = variant.batch * (variant.growth if done >= small else 1)
        for indices in batch_indices(
            len(images), size, generator=order, drop_last=True
        ):
            yield images[indices]
            done += 1
            if variant.growth > 1 and done == small:
                break


def average_of(G, variant):
    def mix(averaged, current, count):
        done = average.n_averaged.item()
        decay = min(variant.ema, (1 + done) / (variant.warm_up + done))
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    average = AveragedModel(G, multi_avg_fn=mix, use_buffers=True)
    return average.requires_grad_(False).eval()


def train_variant(variant, seed, images):
    steps = variant.steps or STEPS[variant.batch]
    G, D = networks(variant, seed)
    opt_g = torch.optim.Adam(G.parameters(), variant.lr_g, variant.betas, fused=True)
    opt_d = torch.optim.Adam(
        D.parameters(), variant.lr_d, variant.betas_d or variant.betas, fused=True
    )
    generator = torch.Generator().manual_seed(seed)
    order = torch.Generator().manual_seed(seed + 1)
    average = average_of(G, variant)
    d_function, g_function = variant.losses
    torch.set_flush_denormal(True)
    for step, real in zip(range(steps), batches(images, variant, steps, order)):  # noqa: B905
        share = min(1.0, (steps - step) / (steps * variant.decay))
        opt_g.param_groups[0]["lr"] = share * variant.lr_g
        opt_d.param_groups[0]["lr"] = share * variant.lr_d
        shift = torch.randint(
            -variant.shift, variant.shift + 1, (2,), generator=generator
        )
        how = variant, 1 - step / steps, tuple(shift.tolist()), generator
        fake = G(torch.randn(len(real), 100, generator=generator))
        both = seen_by_d(torch.cat([real, fake.detach()]), *how)
        loss = d_function(*D(both).chunk(2))
        if variant.r1 and step % variant.r1_every == 0:
            loss = loss + variant.r1_every * variant.r1 * r1_penalty(D, real)
        take_step(opt_d, loss)
        real_logits = None
        if g_function is g_loss_pairing:
            with torch.no_grad():
                real_logits = D(seen_by_d(real, *how))
        take_step(opt_g, g_function(real_logits, D(seen_by_d(fake, *how))))
        average.update_parameters(G)
    return average.module, steps


def search(job):
    """Train one variant with one seed; return its row."""
    name, seed = job
    G, steps = train_variant(VARIANTS[name], seed, runs.images)
    distance = runs.distance(G)
    return {"variant": name, "seed": seed, "steps": steps, "distance": distance}


def main():
    seeds = options(__doc__, "--seeds", nargs="+", type=int, default=[0]).seeds
    rows = runs.stored("recipe_search")
    done = {(row["variant"], row["seed"]) for row in rows}
    jobs = [(name, seed) for name in VARIANTS for seed in seeds]
    for row in runs.two_at_a_time(search, [job for job in jobs if job not in done]):
        print(row, flush=True)
        rows.append(row)
        save("recipe_search", rows)


if __name__ == "__main__":
    main()
