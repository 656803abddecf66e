"""The lists of what the course needs agree; CI calls the commands of the README."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
TESTED = [Requirement(line) for line in PROJECT["optional-dependencies"]["test"]]
CONSTRAINTS = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
PINS = [Requirement(line) for line in CONSTRAINTS if not line.startswith("#")]
OLDEST = PROJECT["requires-python"].removeprefix(">=")


def test_conda_and_setup_ask_for_what_the_project_asks_for():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    # pyproject.toml stays the one list: pip installs the project, and nothing else.
    wanted = [f"python>={OLDEST}", "pip", {"pip": ["-e .[test]"]}]
    assert conda["dependencies"] == wanted
    assert conda["channels"] == ["conda-forge"]
    assert f'oldest="{OLDEST}"' in (ROOT / "setup.sh").read_text("utf-8")


def test_ganlib_imports_what_it_declares_and_nothing_else():
    code = "\n".join(p.read_text("utf-8") for p in (ROOT / "ganlib").glob("*.py"))
    lines = re.findall(
        r"^ *(?:from (\w+)[\w.]* import|import (\w+))", code, re.MULTILINE
    )
    found = {first or second for first, second in lines}
    found -= {*sys.stdlib_module_names, "ganlib"}
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "traitlets": "ipywidgets"}
    names["IPython"] = "ipywidgets"
    needed = {need.name for need in NEEDED} - {"jupyterlab"}
    assert {names.get(name, name) for name in found} == needed


def test_every_dependency_has_one_exact_version_that_it_allows():
    pinned = {}
    for pin in PINS:  # reading "-e ." or a path as a requirement fails above
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
        pinned[canonicalize_name(pin.name)] = str(pin.specifier)[2:]
    assert len(pinned) == len(PINS)
    assert "ganlib" not in pinned
    for need in NEEDED + TESTED:
        assert pinned[canonicalize_name(need.name)] in need.specifier, need


def test_no_pin_shuts_out_the_oldest_python():
    """A package may want 3.11.5, and Debian's Python is 3.11.2."""
    for pin in PINS:
        try:
            installed = metadata(pin.name)
        except PackageNotFoundError:
            continue  # not needed on this system
        if installed["Version"] in pin.specifier and installed["Requires-Python"]:
            assert f"{OLDEST}.0" in SpecifierSet(installed["Requires-Python"]), pin


def test_ci_runs_the_commands_of_the_readme():
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    texts = {path.stem: path.read_text("utf-8") for path in workflows}
    jobs = yaml.safe_load(texts["test"])["jobs"]
    assert ".ci/run" in str(jobs["linux"]["steps"])
    assert "make test" in str(jobs["macos"]["steps"])
    assert '-e ".[test]" -c constraints.txt' in str(jobs["windows"]["steps"])
    assert "make test CONSTRAINTS=\n" in texts["weekly"]
    *_, made, uploaded = yaml.safe_load(texts["pages"])["jobs"]["build"]["steps"]
    assert made["run"] == "make site"
    assert uploaded["with"]["path"] == "build/site"
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert "set -euo pipefail" in lines  # red as soon as one command is
    assert {'make test VENV="$venv"', 'make lint VENV="$venv"'} <= set(lines)
