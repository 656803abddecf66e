"""The package as a whole: light to import, small enough to read."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ganlib

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "ganlib").glob("*.py"))


def run_python(code: str, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", code]
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return answer.stdout.strip()


def test_importing_ganlib_does_not_load_torch():
    code = "import sys, ganlib; print('torch' in sys.modules, len(sys.modules) < 200)"
    assert run_python(code) == "False True"


def test_importing_ganlib_limits_the_spinning_of_threads():
    code = "import os, ganlib; print(os.environ['GOMP_SPINCOUNT'])"
    assert run_python(code) == "3000"


def test_importing_ganlib_respects_a_spin_limit_of_your_own():
    code = "import os, ganlib; print(os.environ['GOMP_SPINCOUNT'])"
    assert run_python(code, GOMP_SPINCOUNT="7") == "7"


def test_version_is_the_one_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert ganlib.__version__ == project["version"]


def lines_of_code(text):
    """Count the lines that do something: no docstrings, no comments, none empty."""
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef)
    strings = [
        node.body[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, with_docstring) and ast.get_docstring(node) is not None
    ]
    prose = {n for s in strings for n in range(s.lineno, s.end_lineno + 1)}
    lines = enumerate(text.splitlines(), 1)
    code = {n for n, line in lines if line.strip() and not line.strip().startswith("#")}
    return len(code - prose)


def test_lines_of_code_leave_out_what_only_explains():
    text = (
        '"""What."""\n\n# Why.\ndef f():\n    """It\n    does."""\n    return """\n1"""'
    )
    assert lines_of_code(text) == 3


def test_package_stays_small_enough_to_read():
    sizes = {path.stem: lines_of_code(path.read_text("utf-8")) for path in MODULES}
    assert max(sizes.values()) <= 250, sizes  # else it holds two nouns
    assert sum(sizes.values()) <= 2600, sizes


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_begins_by_saying_what_it_is_for(path):
    assert path.read_text("utf-8").startswith('"""')
