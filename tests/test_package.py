"""The package as a whole: light to import, small enough to read."""

import ast
import os
import re
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


def numbers(node: ast.AST) -> set[int]:
    return set(range(node.lineno, node.end_lineno + 1))


def lines_of_code(text: str) -> set[int]:
    """Return the lines that do something: no docstrings, no comments, none empty."""
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef)
    prose = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, with_docstring) and ast.get_docstring(node) is not None:
            prose |= numbers(node.body[0])
    lines = enumerate(text.splitlines(), 1)
    code = {n for n, line in lines if line.strip() and not line.strip().startswith("#")}
    return code - prose


def refusing_lines(text: str) -> set[int]:
    """Return the lines that only refuse arguments.

    Those are functions called check_..., calls of them, and branches that end in raise,
    with their condition. `exercises.check` answers a learner, and is none of them.
    """
    found = set()
    for node in ast.walk(ast.parse(text)):
        kinds = (ast.FunctionDef, ast.Expr)  # a check, or a call of one
        if isinstance(node, kinds) and re.match("(def )?check_", ast.unparse(node)):
            found |= numbers(node)
        elif isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
            for part in (node.test, *node.body):
                found |= numbers(part)
    return found & lines_of_code(text)


def test_lines_of_code_leave_out_what_only_explains():
    text = (
        '"""What."""\n\n# Why.\ndef f():\n    """It\n    does."""\n    return """\n1"""'
    )
    assert lines_of_code(text) == {4, 7, 8}


def test_refusing_lines_are_checks_their_calls_and_raising_branches():
    text = """def check_x(x):
    if x:
        raise E


def f(x):
    check_x(x)
    if x < 1:
        fix = 1
        raise E
    elif x < 2:
        x = 2
    return x
"""
    assert refusing_lines(text) == {1, 2, 3, 7, 8, 9, 10}


def test_package_stays_small_enough_to_read():
    texts = {path.stem: path.read_text("utf-8") for path in MODULES}
    sizes = {name: len(lines_of_code(text)) for name, text in texts.items()}
    refusals = {name: len(refusing_lines(text)) for name, text in texts.items()}
    assert max(sizes.values()) <= 200, sizes  # else it holds two nouns
    assert sizes["checks"] < 100
    assert sizes["download"] <= 100
    # What the notebooks share is to be read in an evening; the command line, which none
    # of them imports, is mostly options and their help.
    command_line = sizes["__main__"] + sizes["commands"]
    assert sum(sizes.values()) - command_line <= 2500, sizes
    assert command_line <= 300
    assert sum(refusals.values()) <= sum(sizes.values()) / 10, refusals


def test_tests_are_not_longer_than_what_they_test():
    folders = ("tests", "ganlib", "site", "benchmarks")
    sizes = {
        folder: sum(
            len(lines_of_code(path.read_text("utf-8")))
            for path in (ROOT / folder).rglob("*.py")
        )
        for folder in folders
    }
    tested = sizes["ganlib"] + sizes["site"] + sizes["benchmarks"]
    assert sizes["tests"] <= 1.5 * tested, sizes


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_begins_by_saying_what_it_is_for(path):
    assert path.read_text("utf-8").startswith('"""')
