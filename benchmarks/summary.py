"""The table that the README quotes, from the results of all benchmarks.

python benchmarks/summary.py
"""

from statistics import median

from ganlib.results import read_results

SPINS = "3,000 spins"  # what ganlib sets
OURS = "ganlib"
TEXTBOOK = "textbook, eps 1e-5"
AS_PUBLISHED = "textbook, eps 0.8"


def rows() -> list[tuple[str, str]]:
    """Return what was measured, and the result in words."""
    speed = read_results("throughput")[0]
    threads = {row["threads"]: row for row in read_results("threads")}
    ours = threads[SPINS]
    costs = {row["what"]: row["cost"] for row in read_results("costs")}
    slow, fast = speed["textbook_images_per_s"], speed["ganlib_images_per_s"]
    seconds = round(median(row["seconds"] for row in _ends(OURS)))
    return [
        (
            f"images a second, batch {speed['batch']}: textbook loop, `train`",
            f"{slow:,} and {fast:,}, {speed['ratio']:.1f} times as many",
        ),
        (
            "`train` as a share of what this machine can do in float32",
            f"{speed['share_of_limit']:.0%}",
        ),
        (
            "a step alone, beside one busy core, beside a second training",
            f"{ours['alone_ms']:.0f}, {ours['beside_busy_core_ms']:.0f} "
            f"and {ours['beside_training_ms']:.0f} ms",
        ),
        (
            "distance after 60 s: textbook as published, with eps put right",
            f"{_distance(AS_PUBLISHED, 60):.0f} and {_distance(TEXTBOOK, 60):.0f}",
        ),
        (
            "distance of the textbook with eps put right after 600 s",
            f"{_distance(TEXTBOOK, 600):.0f}",
        ),
        (
            f"distance of this course's recipe at its end, after {seconds} s",
            f"{median(row['distance'] for row in _ends(OURS)):.0f}",
        ),
        ("`import ganlib`, `import ganlib.training`", _imports(costs)),
        ("training the judge; one Fréchet distance", _judge(costs)),
        ("the explorer follows a slider, 16 pictures; `explorer.html`, one", _events()),
    ]


def table() -> str:
    """Return the rows as a Markdown table."""
    lines = ["| what | measured |", "| --- | --- |"]
    return "\n".join(lines + [f"| {what} | {number} |" for what, number in rows()])


def _curve(name: str) -> list[dict]:
    return [row for row in read_results("time_to_quality") if row["curve"] == name]


def _distance(name: str, seconds: int) -> float:
    found = [row["distance"] for row in _curve(name) if row["seconds"] == seconds]
    return median(found)


def _ends(name: str) -> list[dict]:
    last = max(row["images_seen"] for row in _curve(name))
    return [row for row in _curve(name) if row["images_seen"] == last]


def _imports(costs: dict) -> str:
    return f"{costs['import ganlib']}, {costs['import ganlib.training']}"


def _events() -> str:
    events = {row["what"]: row["median_ms"] for row in read_results("latency")}
    page = events["explorer.html: one picture"]
    return f"{events['explorer: direction']:.0f} ms; {page:.0f} ms"


def _judge(costs: dict) -> str:
    once = costs["one Fréchet distance, 10,000 images each"]
    return f"{costs['train the judge']}; {once}"


if __name__ == "__main__":
    print(table())
