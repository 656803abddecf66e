"""setup.sh says in plain words what is missing, and does nothing when nothing is.

Each test runs the real script in a copy of the project, on a PATH that holds only what
the test puts there: the small system programs, and a stand-in for Python that answers
as the test wants. Nothing is installed, nothing is downloaded.
"""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = "awk cat cp dirname find grep id ls make mkdir rm sh tail tee touch tr"
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    *version_info*) echo "${VERSION:-3.12}" ;;
    *libc_ver*) exec "$REAL" "$@" ;;
    *"import venv"*) exit "${ENSUREPIP:-0}" ;;
    "-m venv "*) mkdir -p "$3/bin" && : >"$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) while [ "$1" != --log ]; do shift; done
        echo "$PIP_FAILS" | tee "$2"; [ -z "$PIP_FAILS" ] ;;
    *"import torch, torchvision"*) [ -z "$TORCH_FAILS" ] ||
        { echo Traceback >&2; echo "$TORCH_FAILS" >&2; exit 1; } ;;
    "-P -c import ganlib") exit "${GANLIB:-0}" ;;
    *) exit 99 ;;
esac
"""
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS.split())), reason="needs sh, make and the like"
)


class Machine:
    """A copy of the project's setup, and a PATH with nothing else on it."""

    def __init__(self, folder: Path):
        self.project = folder / "my project"  # a space must not matter
        self.bin, self.calls = folder / "bin", folder / "calls"
        self.project.mkdir()
        self.bin.mkdir()
        for name in ("setup.sh", "Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.project)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.add("python3")
        self.add("uname", "echo Linux")
        self.add("df", "echo head; echo disk 1 1 99999999 1% /")

    def add(self, name: str, text: str = FAKE_PYTHON) -> None:
        (self.bin / name).write_text(text if "\n" in text else f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(self, *command: str, **settings: str):
        """Run it, by default setup.sh, with these environment variables."""
        self.calls.write_text("")
        self.venv = self.project / ".venv"
        env = {"PATH": str(self.bin), "CALLS": str(self.calls), "REAL": sys.executable}
        here = self.project if command else self.bin  # setup.sh works from anywhere
        command = command or ("sh", self.project / "setup.sh")
        options = {"capture_output": True, "text": True, "timeout": 20}
        return subprocess.run(command, cwd=here, env=env | settings, **options)

    def works(self, **settings: str) -> str:
        """Run it, and return what it said and which Pythons it called."""
        result = self.run(**settings)
        assert (result.returncode, result.stderr) == (0, "")
        names = {path.name for path in self.venv.iterdir() if path.name[0] == "."}
        assert names == {".installed"}
        return result.stdout + self.calls.read_text()

    def stops(self, *words: str, **settings: str) -> None:
        """Run it; it fails, and its last line is one sentence for people."""
        result = self.run(**settings)
        assert result.returncode == 1
        assert "Traceback" not in result.stdout + result.stderr
        last = result.stderr.strip().splitlines()[-1]
        assert last.startswith("setup: ")
        assert [word for word in words if word not in last] == [], last


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_python_that_is_missing_too_old_or_incomplete_is_named(machine):
    for version in ("2.7", "3.9", "3.10"):  # "3.9" > "3.11" as text
        machine.stops("3.11 or newer", f"python3 is {version}", VERSION=version)
    machine.stops("called python9 here", "leave PYTHON out", PYTHON="python9")
    machine.stops("apt install python3-venv", "3.12", ENSUREPIP="1")
    machine.add("python3", "exit 127")  # there, but it does not run
    machine.stops("no Python was found", "3.11", "apt install python3")
    assert not machine.venv.exists()
    machine.add("python3", "echo 3.9")
    machine.add("python3.11")  # a newer one alongside
    assert "with Python 3.11" in machine.works(VERSION="3.11")


def test_a_disk_too_small_is_named_before_anything_is_made(machine):
    for system, need in (("Linux", 12), ("Darwin", 3)):
        machine.add("uname", f"echo {system}")
        machine.add("df", f"echo head; echo disk 1 1 {need * 1024**2 - 1} 1% /")
        machine.stops(f"needs {need} GB", f"only {need - 1} GB", "make room")
        assert not machine.venv.exists()
        machine.add("df", f"echo head; echo disk 1 1 {need * 1024**2} 1% /")
        assert machine.run("sh", "setup.sh", VENV="here").returncode == 0


NO_NETWORK = "WARNING: Retrying after connection broken by 'NewConnectionError(…)'\n"
NO_MATCH = "ERROR: No matching distribution found for torch>=2.10"
CONFLICT = "ganlib[test] 0.1.0 depends on {}\nERROR: ResolutionImpossible"
NO_TORCH = CONFLICT.format("torch>=2.10")  # so says pip, with exact versions
HERE = f"{platform.python_version()}, 64-bit, on {platform.system()} "


@pytest.mark.parametrize(
    ("pip_says", "words"),
    [
        (NO_NETWORK + NO_MATCH, ["network"]),  # without one, pip finds no torch either
        (NO_NETWORK + NO_TORCH, ["network"]),
        (NO_MATCH, [HERE, platform.machine(), "3.11 to 3.14", "Intel Macs"]),
        (NO_TORCH, [HERE, "Intel Macs"]),
        (CONFLICT.format("numpy>=3"), ["pip's last lines above say why"]),
        ("OSError: [Errno 28] No space left on device", ["disk is full"]),
    ],
)
def test_pip_fails(machine, pip_says, words):
    machine.stops(*words, PIP_FAILS=pip_says)
    assert not (machine.venv / ".installed").exists()
    (machine.venv / "left over").touch()
    assert "interrupted" in machine.works()
    assert not (machine.venv / "left over").exists()


def test_parts_that_do_not_fit_together(machine):
    machine.stops("ganlib does not import", GANLIB="1")
    machine.stops("reinstall both from one index", TORCH_FAILS="no torchvision::nms")
    assert "-m venv" not in machine.works()  # it goes on from there


def test_installs_the_project_with_the_exact_versions_once(machine):
    assert "-e .[test] -c constraints.txt" in machine.works()
    settings = machine.project / ".venv/etc/jupyter/labconfig/page_config.json"
    assert "announcements" in settings.read_text()
    settings.write_text("a learner's own")
    assert "-m pip" not in machine.works()
    (machine.project / "pyproject.toml").touch()
    failing = {"PIP_FAILS": NO_NETWORK}  # what is installed stays usable
    machine.stops("go on with what is installed", "touch .venv/.installed", **failing)
    said = machine.works(CONSTRAINTS="")
    assert "pyproject.toml; updating" in said
    assert "-e .[test]\n" in said
    assert "-m venv" not in said
    assert settings.read_text() == "a learner's own"


def test_a_moved_folder_or_a_python_that_vanished_begins_again(machine):
    machine.works()
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    assert "-m venv" in machine.works()
    (machine.venv / "bin" / "python").unlink()
    assert "-m venv" in machine.works()
    (
        machine.venv / ".installed"
    ).unlink()  # as if made by hand, with the README's lines
    assert "-m venv" not in machine.works()


def test_a_folder_that_is_not_a_venv_is_left_alone(machine):
    thesis = machine.project / ".venv" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.touch()
    machine.stops("not a virtual environment", "move it away")
    assert list(machine.venv.iterdir()) == [thesis]


def test_make_lists_its_commands_and_passes_settings_on(machine):
    listed = machine.run("make").stdout
    assert all(f"make {word} " in listed for word in ("lab", "test", "run", "lint"))
    assert machine.run("make", "setup", "PYTHON=python4").returncode != 0
    machine.run("make", "setup", "PYTHON=python3", "VENV=.venv2")
    assert (machine.project / ".venv2" / ".installed").exists()
    more = "include Makefile\nshow:\n\t@echo $$GANLIB_DATA\n"
    (machine.project / "more.mk").write_text(more)
    here = machine.project.resolve()
    for given, passed_on in (("/my data", "/my data"), ("a b", f"{here}/a b")):
        shown = machine.run("make", "-f", "more.mk", "show", GANLIB_DATA=given)
        assert shown.stdout.strip() == passed_on, shown.stderr
    machine.run("mkdir", "notebooks")
    (machine.project / "notebooks" / "01_data.ipynb").touch()
    said = machine.run("make", "run", "NB=9").stdout
    assert "starts with '9'; there are: 01_data.ipynb" in said
