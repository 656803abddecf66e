"""The measurements that come with the course, from benchmarks/results."""

import csv
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks" / "results"


def read_results(name: str, folder: Path = FOLDER) -> list[dict]:
    """Return the rows of ``name``.csv, numbers as numbers.

    The first lines of the file say which command made it, from which commit and on
    which machine; they begin with # and are left out here.

    Raises FileNotFoundError when there is no such file.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.csv")))
        raise FileNotFoundError(
            f"there are no results called {name!r} in {folder}, expected one of: "
            f"{there or 'none'}; make them with make bench."
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [{key: _number(text) for key, text in row.items()} for row in rows]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
