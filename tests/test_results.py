"""Stored measurements: read as they were written, installed, with their origin."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ganlib.results import REPOSITORY, read_results

ROOT = Path(__file__).parents[1]
ORIGIN = (
    r"# command: python benchmarks/\w+\.py.*\n# commit: [0-9a-f]{7,}.*\n"
    r"# machine: .+ cores, .+ GB, .+ Python 3.+ torch .+\n.+,.+\n.+"
)


def test_numbers_come_back_as_numbers_and_words_as_words(tmp_path):
    lines = "# command: x\n# machine: y, 2 cores\nname,count,share\nours,3,0.5\n"
    (tmp_path / "some.csv").write_text(lines)
    known = [{"name": "ours", "count": 3, "share": 0.5}]
    assert str(read_results("some", tmp_path)) == str(known)  # 3, and not 3.0
    with pytest.raises(FileNotFoundError, match="other"):
        read_results("other", tmp_path)


def test_a_plain_installation_has_the_results_too(tmp_path):
    """``pip install .`` copies what it needs, and builds with torch's setuptools."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    for name in ("ganlib", "benchmarks/results"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = "-m pip install -q --no-index --no-deps --no-build-isolation --target"
    command = [sys.executable, *install.split(), installed, source]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    shutil.rmtree(source)
    code = "from ganlib.results import *; print(FOLDER, read_results('paper'))"
    options = {"cwd": installed, "capture_output": True, "text": True}
    answer = subprocess.run([sys.executable, "-c", code], **options)
    rows = read_results("paper", REPOSITORY)
    assert answer.stdout.startswith(str(tmp_path.resolve())), answer.stderr
    assert answer.stdout.endswith(f"{rows}\n")


def test_stored_results_say_where_they_come_from():
    stored = sorted(REPOSITORY.glob("*.csv"))
    assert len(stored) >= 11
    for path in stored:
        text = path.read_text("utf-8")
        assert re.match(ORIGIN, text), path
        assert not re.search(r"/(home|root|tmp|work|usr)/", text), path
