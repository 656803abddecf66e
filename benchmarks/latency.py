"""How long a moved slider takes: in the kernel, and on the page without Python.

python benchmarks/latency.py           # under a minute; nothing else should run
"""

from bench import FOLDER, options, save, show  # before torch: see there

# isort: split
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ganlib.checkpoint import load_or_train, load_or_train_judge
from ganlib.data import load_images
from ganlib.explorer import explore_latent
from ganlib.latent import sample_images
from ganlib.training import Record, TrainConfig
from ganlib.widgets import compare, scrub

sys.path.insert(0, str(FOLDER.parent / "site"))

EVENTS = 300
IMAGES_MS = """count => {
    const times = [];
    for (let i = 0; i < count; i++) {
        const z = explorer.noise(i), start = performance.now();
        explorer.draw(z);
        times.push(performance.now() - start);
    }
    return times;
}"""


def event_ms(move: Callable[[int], None]) -> list[float]:
    """Return the milliseconds of EVENTS calls of ``move``, after a few to warm up."""
    times = []
    for i in range(EVENTS + 20):
        started = time.perf_counter()
        move(i)
        times.append(1000 * (time.perf_counter() - started))
    return times[20:]


def kernel_events(G, D, judge, images) -> Iterator[tuple[str, list[float]]]:
    """Yield what was moved, and how long the kernel was busy each time."""

    def moved(slider, place):
        return event_ms(lambda i: setattr(slider, "value", place(i)))

    def step(i):
        return (i % 80) / 10 - 4

    explorer = explore_latent(G)
    yield "explorer: direction", moved(explorer.moves["direction 1"], step)
    yield "explorer: walk", moved(explorer.walk, lambda i: (i % 200) / 20)
    yield "explorer: seed", moved(explorer.seed, lambda i: i + 1)
    explorer = explore_latent(G, D, judge=judge, images=images)
    slider, name = explorer.moves["direction 1"], "explorer: direction, with D"
    yield f"{name} and judge", moved(slider, step)
    explorer.nearest.value = True
    yield f"{name}, judge and nearest image", moved(slider, step)
    yield "compare: seed", moved(compare(G, G).seed, lambda i: i + 1)
    numbers = 1.0, 0.6, 0.8, 0.6, 0.4, 0.7, G
    history = [
        (Record(100 * i, 6400 * i, *numbers), sample_images(G, 16, seed=i))
        for i in range(1, 51)
    ]
    yield "scrub: time", moved(scrub(history).moment, lambda i: i % 50)


def page_ms(G) -> list[float]:
    """Return the milliseconds that explorer.html takes for each of EVENTS images."""
    from explorer_page import write_explorer
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_explorer([G], Path(folder) / "explorer.html", data_name="MNIST")
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_function("() => window.explorer?.noise")  # weights are inflated
        page.evaluate(IMAGES_MS, 20)
        return page.evaluate(IMAGES_MS, EVENTS)


def main():
    options(__doc__)
    data = load_images("mnist")
    G, D = load_or_train(TrainConfig(), data.images)
    judge = load_or_train_judge(data.images, data.labels)
    found = list(kernel_events(G, D, judge, data.images))
    found.append(("explorer.html: one picture", page_ms(G)))
    rows = [
        {
            "what": what,
            "median_ms": round(statistics.median(times), 1),
            "slowest_of_20_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        }
        for what, times in found
    ]
    save("latency", rows)
    show("A slider is moved", rows)


if __name__ == "__main__":
    main()
