"""The lists of what the course needs agree; CI calls the commands of the README."""

import os
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIRECT = [
    Requirement(line)
    for lines in (
        PROJECT["dependencies"],
        *PROJECT["optional-dependencies"].values(),
    )
    for line in lines
]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def load_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8"))


def test_conda_brings_only_python_and_pip():
    *from_conda, from_pip = load_yaml(ROOT / "environment.yml")["dependencies"]
    assert [Requirement(line).name for line in from_conda] == ["python", "pip"]
    assert str(Requirement(from_conda[0]).specifier) == PROJECT["requires-python"]
    # pyproject.toml stays the one list: pip installs the project and nothing beside it.
    assert from_pip == {"pip": ["-e .[test]"]}


def test_conda_uses_one_channel():
    assert load_yaml(ROOT / "environment.yml")["channels"] == ["conda-forge"]


def test_setup_asks_for_the_same_python_as_the_project():
    assert f'oldest="{PROJECT["requires-python"].removeprefix(">=")}"' in (
        ROOT / "setup.sh"
    ).read_text("utf-8")


def test_every_constraint_is_one_exact_version():
    for line in pins():
        pin = Requirement(line)  # fails on "-e ." and on paths
        assert pin.url is None, f"{line}: an address, not a version"
        assert [part.operator for part in pin.specifier] == ["=="], line
        assert "+" not in line, f"{line}: this build is not on the default index"
        assert "*" not in line, line


def test_no_package_is_pinned_twice():
    names = [canonicalize_name(Requirement(line).name) for line in pins()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("need", DIRECT, ids=lambda need: need.name)
def test_every_dependency_is_pinned_to_a_version_that_it_allows(need):
    pinned = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in map(Requirement, pins())
    }
    name = canonicalize_name(need.name)
    assert name in pinned, f"{need.name} is not in constraints.txt"
    assert need.specifier.contains(pinned[name]), f"{need}: pinned to {pinned[name]}"


def test_no_pin_shuts_out_the_oldest_python():
    """A package may want 3.11.5, and Debian's Python is 3.11.2."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    for line in pins():
        name, version = line.split("==")
        try:
            installed = metadata(name)
        except PackageNotFoundError:
            continue  # not needed on this system
        if installed["Version"] == version and installed["Requires-Python"]:
            wanted = SpecifierSet(installed["Requires-Python"])
            assert wanted.contains(oldest), f"{line} needs Python {wanted}"


def test_the_project_itself_is_not_pinned():
    assert "ganlib" not in {Requirement(line).name for line in pins()}


TESTING = [path for path in WORKFLOWS if path.name != "pages.yml"]  # see test_site.py


@pytest.mark.parametrize("path", TESTING, ids=lambda path: path.name)
def test_workflows_run_the_command_of_the_readme(path):
    jobs = load_yaml(path)["jobs"]
    assert jobs
    for name, job in jobs.items():
        commands = "\n".join(step.get("run", "") for step in job["steps"])
        if "windows" in job["runs-on"]:  # no make there: the README's pip lines
            assert 'pip install -e ".[test]" -c constraints.txt' in commands, name
            assert "-m pytest" in commands, name
        else:
            assert "make test" in commands or ".ci/run" in commands, name


def test_there_are_two_workflows_that_test_and_one_that_publishes():
    names = [path.name for path in WORKFLOWS]
    assert names == ["pages.yml", "test.yml", "weekly.yml"]


def test_the_weekly_run_takes_the_newest_versions():
    weekly = (ROOT / ".github/workflows/weekly.yml").read_text("utf-8")
    assert "make test CONSTRAINTS=\n" in weekly


def test_ci_runs_the_commands_of_the_readme():
    script = ROOT / ".ci" / "run"
    lines = script.read_text("utf-8").splitlines()
    assert "set -euo pipefail" in lines  # red as soon as one command is
    assert 'make test VENV="$venv"' in lines
    assert 'make lint VENV="$venv"' in lines
    assert os.name == "nt" or os.access(script, os.X_OK)
