"""How fast is a run? The textbook loop, ganlib's, and the limit of this machine.

The loops alternate, one process each, five rounds, with the same networks and the same
batch. The limit is the time of the matrix products at the highest rate that a product
reaches here, plus the time that Adam needs to move its data through memory at the
highest rate that a copy reaches here, all measured in the same run.

    python benchmarks/throughput.py        # about 5 minutes; nothing else should run
"""

from bench import (  # before torch: see there
    NO_SPIN_LIMIT,
    answer,
    child,
    options,
    peak_memory,
    save,
    say,
    show,
)

# isort: split
import statistics
import time

import runs
import torch
from torch.nn.functional import linear

from ganlib.data import load_images
from ganlib.models import new_networks
from ganlib.training import TrainConfig

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
    step = runs.time_train(images, config, 2, SECONDS)
    say(images_per_second=batch_size / step, memory=peak_memory())


def limit_child(batch_size):
    """Measure the limit, and what the parts of a step take, in ms."""
    G, D = new_networks()
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 1e-3, fused=True) for n in (G, D))
    flops = runs.step_flops(G, D, batch_size)
    square = torch.randn(2048, 2048)
    peak = 2 * 2048**3 / fastest(lambda: square @ square)
    block = torch.randn(2**22)
    copied = torch.empty_like(block)
    bandwidth = 2 * 4 * block.numel() / fastest(lambda: copied.copy_(block))
    weights = sum(p.numel() for network in (G, D) for p in network.parameters())
    moved = 7 * 4 * weights  # read weight, gradient and two memories; write all but one
    products = fastest(products_of(G, D, batch_size))
    adam = fastest(lambda: (opt_g.step(), opt_d.step()))
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


def products_of(G, D, batch_size):
    """Return a function that does only the matrix products of one step, as it does."""

    def factors(network, rows):
        weights = [w.detach() for w in network.parameters() if w.ndim == 2]
        return [
            (torch.randn(rows, w.shape[1]), torch.randn(rows, len(w)), w)
            for w in weights
        ]

    of_g, of_d = factors(G, batch_size), factors(D, 2 * batch_size)

    def multiply():
        for layers in (of_g, of_d):
            for i, (inputs, slopes, weight) in enumerate(layers):
                linear(inputs, weight)  # forward
                slopes.T @ inputs  # gradient of the weight
                if i > 0:
                    slopes @ weight  # gradient of the layer's input
        for inputs, slopes, weight in of_d:  # G's step goes through D
            linear(inputs[:batch_size], weight)
            slopes[:batch_size] @ weight

    return multiply


def fastest(function, seconds=1.5):
    """Return the shortest time of many calls, in seconds."""
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def measure(batch_size):
    """Return one row: medians over the rounds, ratio, and fraction of the limit."""
    answers = {"textbook": [], "ganlib": [], "limit": []}
    for _ in range(ROUNDS):
        for name, found in answers.items():
            env = NO_SPIN_LIMIT if name == "textbook" else None
            found.append(answer(child("throughput.py", batch_size, name, env=env)))

    median = {
        name: {key: statistics.median(a[key] for a in found) for key in found[0]}
        for name, found in answers.items()
    }
    slow, fast = (median[n]["images_per_second"] for n in ("textbook", "ganlib"))
    limit, step = median["limit"], 1000 * batch_size / fast
    every = {
        n: [f"{a['images_per_second']:.0f}" for a in answers[n]]
        for n in answers
        if n != "limit"
    }
    return {
        "batch": batch_size,
        "textbook_images_per_s": round(slow),
        "ganlib_images_per_s": round(fast),
        "ratio": round(fast / slow, 2),
        "share_of_limit": round(limit["limit_ms"] / step, 2),
        "step_ms": round(step, 2),
        "limit_ms": round(limit["limit_ms"], 2),
        "products_at_peak_ms": round(limit["products_at_peak_ms"], 2),
        "products_in_their_shapes_ms": round(limit["products_ms"], 2),
        "adam_at_bandwidth_ms": round(limit["adam_at_bandwidth_ms"], 2),
        "adam_ms": round(limit["adam_ms"], 2),
        "rest_ms": round(step - limit["products_ms"] - limit["adam_ms"], 2),
        "mflop_per_image": round(limit["mflop_per_image"], 1),
        "peak_gflops": round(limit["peak_gflops"]),
        "bandwidth_gb_per_s": round(limit["bandwidth_gb"]),
        "textbook_memory_gb": round(median["textbook"]["memory"], 2),
        "ganlib_memory_gb": round(median["ganlib"]["memory"], 2),
        "textbook_all": " ".join(every["textbook"]),
        "ganlib_all": " ".join(every["ganlib"]),
    }


def main():
    children = {
        "textbook": textbook_child,
        "ganlib": ganlib_child,
        "limit": limit_child,
    }
    child_of = options(__doc__, "child", nargs="*", help="for child processes").child
    if child_of:
        children[child_of[1]](int(child_of[0]))
        return
    rows = [measure(batch_size) for batch_size in (64, 32)]
    save("throughput", rows)
    show("Throughput: medians of five rounds", rows)


if __name__ == "__main__":
    main()
