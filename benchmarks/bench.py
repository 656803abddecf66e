"""What all benchmarks share: options, child processes, tables, and the CSV files."""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import ganlib  # noqa: F401, limits the spinning of threads, if torch comes later

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
# What libgomp uses if it is not set. Just not setting it is not enough, since importing
# ganlib sets it.
NO_SPIN_LIMIT = {"GOMP_SPINCOUNT": "300000"}


def options(text: str, *names: str, **settings: object) -> argparse.Namespace:
    """Return the parsed command line; one option may be described, as for argparse.

    ``text`` is the script's docstring, and its first line the help.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    if names:
        parser.add_argument(*names, **settings)
    return parser.parse_args()


def child(script: str, *arguments: object, env: dict | None = None) -> subprocess.Popen:
    """Start a benchmark script as a process of its own; ``answer`` reads its result.

    ``env`` changes environment variables; the value None removes one.
    """
    variables = {**os.environ, **(env or {})}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> dict:
    """Wait for a child and return the JSON object on the last line that it printed."""
    output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(process.args)} failed; its error is above.")
    return json.loads(output.splitlines()[-1])


def say(**numbers: object) -> None:
    """Print a child's answer."""
    print(json.dumps(numbers))


def peak_memory() -> float:
    """Return the most memory that this process has held, in GB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)  # bytes there, KB on Linux


def save(name: str, rows: list[dict]) -> None:
    """Write rows to results/name.csv under the command, the commit and the machine."""
    command = " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(f"# command: python {command}\n")
        file.write(f"# commit: {_commit()}\n# machine: {machine()}\n")
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def show(title: str, rows: list[dict]) -> None:
    """Print rows as a Markdown table."""
    print(f"\n{title}\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("| " + " | ".join("---" for _ in rows[0]) + " |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


def machine() -> str:
    """Return the machine in words: processor, cores, memory, system, versions."""
    import psutil
    import torch

    cores = len(psutil.Process().cpu_affinity() or [])
    memory = psutil.virtual_memory().total / 1e9
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(FOLDER), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "..")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
