"""How fast is a training? The textbook loop, ganlib's, and the limit of this machine.

The loops alternate, one process each, five rounds, with the same networks and the same
batch. The limit is what the matrix products take at the highest rate that a product
reaches here, plus what Adam has to move through memory at the highest rate that a copy
reaches here, all measured in the same run.

    python benchmarks/throughput.py        # about 5 minutes; nothing else should run
"""

from bench import (  # before torch: see there
    NO_SPIN_LIMIT,
    answer,
    child,
    peak_memory,
    save,
    say,
    show,
)

# isort: split
import argparse
import statistics
import time

import torch
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from ganlib.checkpoint import new_networks
from ganlib.data import load_images
from ganlib.training import TrainConfig, d_step, g_step, train

ROUNDS, SECONDS = 5, 10.0


def textbook_child(batch_size):
    """Time the textbook loop after a warm-up of 2 seconds."""
    import textbook

    G, D = textbook.networks(textbook.RIGHT_EPS)
    first_seen = first_time = None
    started = time.perf_counter()
    for seen in textbook.train(G, D, textbook.loader(batch_size)):
        now = time.perf_counter()
        if first_time is None and now - started > 2:
            first_seen, first_time = seen, now
        if first_time and now - first_time > SECONDS:
            break
    rate = (seen - first_seen) / (now - first_time)
    say(images_per_second=rate, memory=peak_memory())


def ganlib_child(batch_size):
    """Time ``train`` after a warm-up of 2 seconds."""
    images = load_images("mnist", offline=True).images
    config = TrainConfig(batch_size=batch_size, steps=10**6)
    first = None
    for record in train(*new_networks(config), images, config):
        if first is None and record.seconds > 2:
            first = record
        if first and record.seconds - first.seconds > SECONDS:
            break
    seen, seconds = (
        getattr(record, name) - getattr(first, name)
        for name in ("images_seen", "seconds")
    )
    say(images_per_second=seen / seconds, memory=peak_memory())


def limit_child(batch_size):
    """Measure the limit, and what the parts of a step take, in ms."""
    config = TrainConfig(batch_size=batch_size)
    G, D = new_networks(config)
    optimizers = [
        torch.optim.Adam(network.parameters(), 1e-3, fused=True) for network in (G, D)
    ]
    real = torch.rand(batch_size, 1, 28, 28) * 2 - 1

    def step():
        fake = G(torch.randn(batch_size, G.latent_dim))
        d_step(D, optimizers[1], real, fake)
        g_step(D, optimizers[0], fake)

    with FlopCounterMode(display=False) as counter:
        step()
    flops = counter.get_total_flops()
    square = torch.randn(2048, 2048)
    peak = 2 * 2048**3 / _fastest(lambda: square @ square)
    block = torch.randn(2**22)
    copied = torch.empty_like(block)
    bandwidth = 2 * 4 * block.numel() / _fastest(lambda: copied.copy_(block))
    weights = sum(p.numel() for network in (G, D) for p in network.parameters())
    moved = 7 * 4 * weights  # read weight, gradient and two memories; write all but one
    products = _fastest(lambda: _products(G, D, batch_size))
    adam = _fastest(lambda: [optimizer.step() for optimizer in optimizers])
    say(
        limit_ms=1000 * (flops / peak + moved / bandwidth),
        mflop_per_image=flops / batch_size / 1e6,
        peak_gflops=peak / 1e9,
        bandwidth_gb=bandwidth / 1e9,
        products_at_peak_ms=1000 * flops / peak,
        adam_at_bandwidth_ms=1000 * moved / bandwidth,
        products_ms=1000 * products,
        adam_ms=1000 * adam,
    )


def _products(G, D, batch_size, _cache={}):  # noqa: B006, made once on purpose
    """Only the matrix products of one step, in the shapes that they have in it."""
    if not _cache:
        for name, network, rows in (("G", G, batch_size), ("D", D, 2 * batch_size)):
            _cache[name] = [
                (torch.randn(rows, w.shape[1]), torch.randn(rows, w.shape[0]), w.data)
                for w in network.parameters()
                if w.ndim == 2
            ]
    for name in ("G", "D"):
        for i, (inputs, slopes, weight) in enumerate(_cache[name]):
            linear(inputs, weight)  # forward
            slopes.T @ inputs  # gradient of the weight
            if i > 0:
                slopes @ weight  # gradient of the layer's input
    for inputs, slopes, weight in _cache["D"]:  # G's step goes through D
        linear(inputs[:batch_size], weight)
        slopes[:batch_size] @ weight


def _fastest(function, seconds=1.5):
    """Return the shortest time of many calls, in seconds."""
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def measure(batch_size):
    """Return one row: medians over the rounds, ratio, and share of the limit."""
    answers = {"textbook": [], "ganlib": [], "limit": []}
    for _ in range(ROUNDS):
        for name, found in answers.items():
            env = NO_SPIN_LIMIT if name == "textbook" else None
            found.append(answer(child("throughput.py", batch_size, name, env=env)))

    def median(name, key):
        return statistics.median(found[key] for found in answers[name])

    slow, fast = (median(name, "images_per_second") for name in ("textbook", "ganlib"))
    step = 1000 * batch_size / fast
    limit, products, adam = (
        median("limit", key) for key in ("limit_ms", "products_ms", "adam_ms")
    )
    return {
        "batch": batch_size,
        "textbook_images_per_s": round(slow),
        "ganlib_images_per_s": round(fast),
        "ratio": round(fast / slow, 2),
        "share_of_limit": round(limit / step, 2),
        "step_ms": round(step, 2),
        "limit_ms": round(limit, 2),
        "products_at_peak_ms": round(median("limit", "products_at_peak_ms"), 2),
        "products_in_their_shapes_ms": round(products, 2),
        "adam_at_bandwidth_ms": round(median("limit", "adam_at_bandwidth_ms"), 2),
        "adam_ms": round(adam, 2),
        "rest_ms": round(step - products - adam, 2),
        "mflop_per_image": round(median("limit", "mflop_per_image"), 1),
        "peak_gflops": round(median("limit", "peak_gflops")),
        "bandwidth_gb_per_s": round(median("limit", "bandwidth_gb")),
        "textbook_memory_gb": round(median("textbook", "memory"), 2),
        "ganlib_memory_gb": round(median("ganlib", "memory"), 2),
        "textbook_all": " ".join(
            f"{a['images_per_second']:.0f}" for a in answers["textbook"]
        ),
        "ganlib_all": " ".join(
            f"{a['images_per_second']:.0f}" for a in answers["ganlib"]
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("batch", nargs="?", type=int, help="only for child processes")
    parser.add_argument("only", nargs="?", choices=["textbook", "ganlib", "limit"])
    arguments = parser.parse_args()
    if arguments.only:
        globals()[f"{arguments.only}_child"](arguments.batch)
        return
    rows = [measure(batch_size) for batch_size in (64, 32)]
    save("throughput", rows)
    show("Throughput: medians of five rounds", rows)


if __name__ == "__main__":
    main()
