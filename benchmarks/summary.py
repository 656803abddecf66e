"""The table that the README quotes, from the results of all benchmarks.

python benchmarks/summary.py
"""

from statistics import median

from ganlib.results import read_results

SPINS = "3,000 spins"  # what ganlib sets


def rows() -> list[tuple[str, str]]:
    """Return what was measured, and the result in words."""
    speed = read_results("throughput")[0]
    slow, fast = speed["textbook_images_per_s"], speed["ganlib_images_per_s"]
    ours = {row["threads"]: row for row in read_results("threads")}[SPINS]
    costs = {row["what"]: row["cost"] for row in read_results("costs")}
    events = {row["what"]: row["median_ms"] for row in read_results("latency")}
    curves = read_results("time_to_quality")

    def distance(curve: str, seconds: int) -> float:
        wanted = (curve, seconds)
        found = [r for r in curves if (r["curve"], r["seconds"]) == wanted]
        return median(row["distance"] for row in found)

    mine = [row for row in curves if row["curve"] == "ganlib"]
    last = max(row["images_seen"] for row in mine)
    ends = [row for row in mine if row["images_seen"] == last]
    return [
        (
            f"images per second, batch {speed['batch']}: textbook loop, `train`",
            f"{slow:,} and {fast:,}, {speed['ratio']:.1f} times as many",
        ),
        (
            "`train` as a fraction of what this machine can do in float32",
            f"{speed['share_of_limit']:.0%}",
        ),
        (
            "a step alone, next to one busy core, next to a second run",
            f"{ours['alone_ms']:.0f}, {ours['beside_busy_core_ms']:.0f} "
            f"and {ours['beside_training_ms']:.0f} ms",
        ),
        (
            "distance after 60 s: textbook as published, with eps fixed",
            f"{distance('textbook, eps 0.8', 60):.0f} "
            f"and {distance('textbook, eps 1e-5', 60):.0f}",
        ),
        (
            "distance of the textbook with eps fixed after 600 s",
            f"{distance('textbook, eps 1e-5', 600):.0f}",
        ),
        (
            "distance of this course's recipe at its end, after "
            f"{median(row['seconds'] for row in ends):.0f} s",
            f"{median(row['distance'] for row in ends):.0f}",
        ),
        (
            "`import ganlib`, `import ganlib.training`",
            f"{costs['import ganlib']}, {costs['import ganlib.training']}",
        ),
        (
            "training the judge; one Fréchet distance",
            f"{costs['train the judge']}; "
            f"{costs['one Fréchet distance, 10,000 images each']}",
        ),
        (
            "the explorer follows a slider, 16 images; `explorer.html`, one",
            f"{events['explorer: direction']:.0f} ms; "
            f"{events['explorer.html: one picture']:.0f} ms",
        ),
    ]


def table() -> str:
    """Return the rows as a Markdown table."""
    lines = ["| what | measured |", "| --- | --- |"]
    return "\n".join(lines + [f"| {what} | {number} |" for what, number in rows()])


if __name__ == "__main__":
    print(table())
