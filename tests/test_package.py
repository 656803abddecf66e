"""The package as a whole: light to import, small enough to read."""

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


def test_package_stays_small_enough_to_read():
    assert sum(len(path.read_text("utf-8").splitlines()) for path in MODULES) <= 2000


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_begins_by_saying_what_it_is_for(path):
    assert path.read_text("utf-8").startswith('"""')
