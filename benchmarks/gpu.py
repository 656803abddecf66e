"""What does a GPU give? The step of a run, launched in four ways, and 04's whole run.

Eager is the step as ``train`` makes it. Compiled, both networks go through
torch.compile. A CUDA graph records the kernels of a whole step once, and from then on
launches them together; it may record compiled networks, too. A step draws noise and a
batch, moves both players, and moves the average. The limit is the time of its products
at the rate that a large product reaches here, in the same precision.

Speed needs no data. If MNIST is here, the runs learn it, and are judged. Without a GPU,
a few of the same measurements are made on the CPU. What this torch or this card refuses
is left out with its message.

    python benchmarks/gpu.py    # a few minutes on the CPU
"""

from bench import options, save, show  # before torch: see there

# isort: split
import copy
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import runs
import torch
from torch import Tensor, nn

from ganlib.convolutional import ConvDiscriminator, ConvGenerator
from ganlib.download import MissingDataError
from ganlib.latent import stream
from ganlib.models import Discriminator, Generator, new_networks
from ganlib.steps import classic_update, r1_update
from ganlib.training import TrainConfig, endless_batches, train

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NAME = torch.cuda.get_device_name() if CUDA else "CPU"
NETWORKS = {
    "dense": (Generator, Discriminator),
    "convolutional": (ConvGenerator, ConvDiscriminator),
}
BATCHES = (64, 256, 1024, 4096) if CUDA else (64,)
PRECISIONS = ("float32", "TF32", "bfloat16", "bfloat16, channels last")
WAYS = ("eager", "compiled", "CUDA graph", "compiled, CUDA graph")
WHOLE = ("float32", "bfloat16")  # precisions of whole runs, in ``STEPS`` steps
STEPS = 5000 if CUDA else 100
COMPARED = 20  # steps, after which weights are compared with those of eager steps


def set_precision(precision: str) -> None:
    """Let products of float32 numbers be exact, or drop half of the digits (TF32)."""
    torch.set_float32_matmul_precision("high" if precision == "TF32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "TF32"


class Bfloat16(nn.Module):
    """A network that makes its products in bfloat16; what comes out is float32.

    autocast keeps its copies of the weights until it ends. So it must not last for a
    whole step: G would meet the D from before D's step.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return self.network(inputs).float()


class Recorded:
    """A function of no arguments, as a CUDA graph: recorded once, then only replayed.

    What it reads must stay where it is in memory. The first calls run as they are,
    since libraries set themselves up then, on the stream that is recorded later.
    """

    def __init__(self, function: Callable, warm_up: int = 3):
        self.function, self.warm_up = function, warm_up
        self.graph, self.stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    def __call__(self) -> None:
        if self.warm_up > 0:
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                self.function()
            torch.cuda.current_stream().wait_stream(self.stream)
        else:
            if self.warm_up == 0:  # recording does not run anything
                with torch.cuda.graph(self.graph, stream=self.stream):
                    self.function()
            self.graph.replay()
        self.warm_up -= 1


class Run:
    """A run as ``train`` makes it, without records; ``step()`` is one step."""

    def __init__(
        self,
        network: str,
        precision: str,
        batch: int,
        way: str,
        images: Tensor,
        update: Callable = classic_update,
    ):
        set_precision(precision)
        self.update = update
        self.config, self.steps = TrainConfig(batch_size=batch), 0
        pair = new_networks(0, (1, 28, 28), *NETWORKS[network])
        kind = torch.float64 if precision == "float64" else torch.float32
        form = torch.preserve_format
        if "channels last" in precision:
            form = torch.channels_last
        self.G, self.D = (N.to(DEVICE, kind, memory_format=form) for N in pair)
        adam = partial(torch.optim.Adam, lr=self.config.lr_g, betas=self.config.betas)
        self.opt_g, self.opt_d = (
            adam(N.parameters(), fused=True, capturable="graph" in way)
            for N in (self.G, self.D)
        )
        self.averaged = copy.deepcopy(self.G).requires_grad_(False).eval()
        self.callable = self.G, self.D
        if "bfloat16" in precision:
            self.callable = [Bfloat16(N) for N in self.callable]
        if "compiled" in way:
            torch.compiler.reset()  # else the ninth network is not compiled any more
            self.callable = [torch.compile(N, dynamic=False) for N in self.callable]
        self.noise = stream("noise", 0, DEVICE)
        self.batches = endless_batches(images, batch, 0)
        new = partial(torch.empty, device=DEVICE, dtype=kind)
        self.z, self.real = new(batch, self.G.latent_dim), new(batch, 1, 28, 28)
        self.weight = new(())  # of G in the average; a number would be recorded
        self.go = Recorded(self.move) if "graph" in way else self.move

    def step(self) -> None:
        self.real.copy_(next(self.batches))
        self.z.normal_(generator=self.noise)
        self.weight.fill_(1 / (1 + self.config.ema_share * self.steps))
        self.go()
        self.steps += 1

    def move(self) -> None:
        """Move both players and the average, with inputs that stay in their places."""
        G, D = self.callable
        self.update(D, self.opt_d, self.opt_g, self.real, G(self.z), 0.0)
        states = self.averaged.state_dict().values(), self.G.state_dict().values()
        for old, new in zip(*states, strict=True):
            if old.is_floating_point():
                old.lerp_(new, self.weight)
            else:
                old.copy_(new)

    def weights(self) -> Tensor:
        """Return a copy of all weights of G, D and the average, (count,)."""
        networks = nn.ModuleList([self.G, self.D, self.averaged])
        return nn.utils.parameters_to_vector(networks.parameters()).detach()


def wait() -> None:
    """Wait until the GPU has done what it was told to."""
    if CUDA:
        torch.cuda.synchronize()


def call_ms(function: Callable, seconds: float = 0.5) -> float:
    """Return the milliseconds of a call: the median over groups of ten."""
    for _ in range(5):  # the fourth records a CUDA graph
        function()
    times, until = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        wait()
        started = time.perf_counter()
        for _ in range(10):
            function()
        wait()
        times.append(100 * (time.perf_counter() - started))
    return statistics.median(times)


def peak(precision: str, size: int = 8192 if CUDA else 1024) -> float:
    """Return the operations a second of a large product of matrices."""
    set_precision(precision)
    kind = torch.bfloat16 if "bfloat16" in precision else torch.float32
    a, b = torch.randn(2, size, size, device=DEVICE, dtype=kind)
    return 2000 * size**3 / call_ms(lambda: a @ b)


def cells() -> Iterator[tuple[str, int, str, str]]:
    """Yield network, batch, precision and way of what is measured; eager goes first.

    Compiling takes longest, so that only the ends of the batches are compiled.
    """
    for cell in itertools.product(NETWORKS, BATCHES, PRECISIONS, WAYS):
        network, batch, precision, way = cell
        if precision == "bfloat16, channels last" and network == "dense":
            continue
        plain = precision in ("float32", "bfloat16")
        if "compiled" in way and not (plain and batch in (BATCHES[0], BATCHES[-1])):
            continue
        if CUDA or (plain and "graph" not in way):
            yield cell


def measure(images: Tensor) -> Iterator[dict]:
    """Yield a row for each cell."""
    peaks = {precision: peak(precision) for precision in PRECISIONS}
    flops, eager = {}, math.nan
    for network, batch, precision, way in cells():
        if network not in flops:
            pair = new_networks(0, (1, 28, 28), *NETWORKS[network])
            flops[network] = runs.step_flops(*pair, 64) / 64
        try:
            ms = call_ms(Run(network, precision, batch, way, images).step)
        except RuntimeError as error:
            print(network, batch, precision, way, error)
            continue
        eager = ms if way == "eager" else eager
        limit = 1000 * flops[network] * batch / peaks[precision]
        yield {
            "device": NAME,
            "network": network,
            "batch": batch,
            "precision": precision,
            "way": way,
            "ms_a_step": round(ms, 3),
            "images_a_second": round(1000 * batch / ms),
            "to_eager": round(eager / ms, 2),
            "limit_ms": round(limit, 4),
            "share_of_limit": round(limit / ms, 3),
            "peak_tflops": round(peaks[precision] / 1e12, 2),
        }


def difference(way: str, images: Tensor, update: Callable = classic_update) -> float:
    """Return how far weights end from those of eager steps, both in float64.

    The mean distance between both, over the mean distance from the initial weights. In
    float32, it says little: where a gradient is zero but for rounding, as for a bias
    before BatchNorm, Adam makes a whole step of it.
    """
    ends = []
    for made in ("eager", way):
        run = Run("dense", "float64", 64, made, images, update)
        start = run.weights()
        for _ in range(COMPARED):
            run.step()
        ends.append(run.weights())
    exact, other = ends
    return ((other - exact).abs().mean() / (exact - start).abs().mean()).item()


def whole_run(precision: str, way: str, images: Tensor, real: bool) -> dict:
    """Return a row on the run of notebook 04; the start includes compiling."""
    started = first = time.perf_counter()
    if way == "train":
        set_precision(precision)
        networks = (N.to(DEVICE) for N in new_networks())
        *_, last = train(*networks, images, TrainConfig(STEPS))
        averaged = last.averaged
    else:
        run = Run("dense", precision, 64, way, images)
        for step in range(STEPS):
            run.step()
            if step == 4:
                wait()
                first = time.perf_counter()
        averaged = run.averaged
    wait()
    row = {"device": NAME, "precision": precision, "way": way, "steps": STEPS}
    row["start_seconds"] = round(first - started, 2)
    row["seconds"] = round(time.perf_counter() - started, 2)
    row["distance"] = runs.distance(averaged.cpu()) if real else math.nan
    for name, update in {"difference": classic_update, "with_r1": r1_update}.items():
        row[name] = math.nan
        if precision == "float32" and way != "train":
            try:
                row[name] = float(f"{difference(way, images, update):.1e}")
            except RuntimeError as error:  # compiled networks refuse penalties
                print(way, name, error)
                row[name] = "refused"
    return row


def load() -> tuple[Tensor, bool]:
    """Return images on the device, and whether they are MNIST, with a judge."""
    try:
        runs.prepare(torch.get_num_threads())
        return runs.images.to(DEVICE), True
    except MissingDataError:
        return torch.rand(60_000, 1, 28, 28, device=DEVICE) * 2 - 1, False


def main():
    options(__doc__)
    images, real = load()
    torch.set_flush_denormal(True)  # as ``train`` does
    rows, whole = [], []
    for settings in (("float32", "train"), *itertools.product(WHOLE, WAYS)):
        if not CUDA and "graph" in settings[1]:
            continue
        try:
            whole.append(whole_run(*settings, images, real))
            print(*whole[-1].values(), flush=True)
            save("gpu_training", whole)
        except RuntimeError as error:
            print(*settings, error)
    for row in measure(images):
        print(*row.values(), flush=True)
        rows.append(row)
        save("gpu", rows)
    show("A step", rows)
    show("The run of notebook 04", whole)


if __name__ == "__main__":
    main()
