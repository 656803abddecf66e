"""The measurements that come with the course, made by the scripts in benchmarks/."""

import csv
from pathlib import Path

INSTALLED = Path(__file__).parent / "measurements"  # where pyproject.toml puts a copy
REPOSITORY = Path(__file__).parents[1] / "benchmarks" / "results"
FOLDER = INSTALLED if INSTALLED.is_dir() else REPOSITORY


def read_results(name: str, folder: Path = FOLDER) -> list[dict]:
    """Return the rows of ``name``.csv, numbers as numbers.

    The first lines of the file name the command that made it, the commit and the
    machine; they begin with # and are left out here.

    Raises FileNotFoundError if there is no such file.
    """
    lines = (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [{key: _number(text) for key, text in row.items()} for row in rows]


def _number(text: str) -> int | float | str:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text
