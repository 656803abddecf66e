"""Stored measurements: read as they were written, and where they come from."""

import re

import pytest

from ganlib.results import FOLDER, read_results

STORED = sorted(FOLDER.glob("*.csv"))


def test_numbers_come_back_as_numbers_and_words_as_words(tmp_path):
    (tmp_path / "some.csv").write_text(
        "# command: x\n# machine: y, 2 cores\nname,count,share\nours,3,0.5\n"
    )
    assert read_results("some", tmp_path) == [
        {"name": "ours", "count": 3, "share": 0.5},
    ]


def test_missing_results_are_named(tmp_path):
    (tmp_path / "speed.csv").write_text("a\n1\n")
    with pytest.raises(FileNotFoundError, match=r"no results called 'sped'.*speed;"):
        read_results("sped", tmp_path)


def test_there_are_results():
    assert {path.stem for path in STORED} >= {
        "costs",
        "recipe_ladder",
        "recipe_search",
        "threads",
        "throughput",
        "time_to_quality",
    }


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_results_say_where_they_come_from(path):
    command, commit, machine, header, *rows = path.read_text("utf-8").splitlines()
    assert re.match(r"# command: python benchmarks/\w+\.py", command)
    assert re.match(r"# commit: [0-9a-f]{7,}", commit)
    assert re.match(r"# machine: .+ cores, .+ GB, .+ Python 3.+ torch ", machine)
    assert "," in header
    assert rows
    assert not re.search(r"/(home|root|tmp|work|usr)/", path.read_text("utf-8"))
