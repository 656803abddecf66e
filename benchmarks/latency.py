"""How long a moved slider takes: in the kernel, and on the page without Python.

python benchmarks/latency.py           # under a minute; nothing else should run
"""

from bench import FOLDER, save, show  # before torch: see there

# isort: split
import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ganlib.checkpoint import load_or_train
from ganlib.data import load_images
from ganlib.judge import train_judge
from ganlib.latent import sample_images
from ganlib.training import Record, TrainConfig
from ganlib.widgets import compare, explore_latent, scrub

sys.path.insert(0, str(FOLDER.parent / "site"))

EVENTS = 300
PICTURES_MS = """count => {
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

    def directions(explorer):
        slider = explorer.moves["direction 1"]
        return lambda i: setattr(slider, "value", (i % 80) / 10 - 4)

    explorer = explore_latent(G)
    yield "explorer: direction", event_ms(directions(explorer))
    walk = event_ms(lambda i: setattr(explorer.walk, "value", (i % 200) / 20))
    yield "explorer: walk", walk
    yield (
        "explorer: seed",
        event_ms(lambda i: setattr(explorer.seed, "value", i + 1)),
    )
    explorer = explore_latent(G, D, judge=judge, images=images)
    yield "explorer: direction, with D and judge", event_ms(directions(explorer))
    explorer.nearest.value = True
    yield (
        "explorer: direction, with D, judge and nearest image",
        event_ms(directions(explorer)),
    )
    panel = compare(G, G)
    yield "compare: seed", event_ms(lambda i: setattr(panel.seed, "value", i + 1))
    history = [
        (
            Record(100 * i, 6400 * i, 1.0, 0.6, 0.8, 0.6, 0.4, 0.7, G),
            sample_images(G, 16, seed=i),
        )
        for i in range(1, 51)
    ]
    slider = scrub(history)
    moved = event_ms(lambda i: setattr(slider.moment, "value", i % 50))
    yield "scrub: time", moved


def page_ms(G) -> list[float]:
    """Return the milliseconds that explorer.html takes for each of EVENTS pictures."""
    from explorer_page import write_explorer
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_explorer(G, Path(folder) / "explorer.html", data_name="MNIST")
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(path.as_uri())
        page.evaluate(PICTURES_MS, 20)
        return page.evaluate(PICTURES_MS, EVENTS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    data = load_images("mnist")
    G, D = load_or_train(TrainConfig(), data.images)
    judge = train_judge(data.images, data.labels)
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
