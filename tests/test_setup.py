"""setup.sh says in plain words what is missing, and does nothing when nothing is.

Each test runs the real script in a copy of the project, on a PATH that holds only what
the test puts there: the small system programs, and a stand-in for Python that answers
as the test wants. Nothing is installed, nothing is downloaded.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = "awk cat cp df dirname find grep id ls make mkdir rm sh tail touch tr uname"

FAKE_PYTHON = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in
    *version_info*)        echo "$VERSION" ;;
    *"import venv"*)       exit "$ENSUREPIP" ;;
    "-m venv "*)           mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" &&
                           cp "$0" "$3/bin/python" ;;
    *" -m pip "*|"-m pip "*)
        while [ "$1" != --log ]; do shift; done
        echo "$PIP_SAYS" | tee "$2"; exit "$PIP" ;;
    *"import torch, torchvision"*)
        [ "$TORCH" = 0 ] || { echo 'Traceback (most recent call last):
RuntimeError: operator torchvision::nms does not exist' >&2; exit 1; } ;;
    *"import ganlib"*)     exit "$GANLIB" ;;
    *)                     exit 99 ;;
esac
"""

FINE = {
    "VERSION": "3.12",  # of the stand-in
    "ENSUREPIP": "0",  # exit statuses: 0 is well
    "PIP": "0",
    "PIP_SAYS": "Successfully installed",
    "TORCH": "0",
    "GANLIB": "0",
}

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS.split()),
    reason="needs sh, make and the usual small programs",
)


class Machine:
    """A copy of the project's set-up, and a PATH with nothing else on it."""

    def __init__(self, folder: Path):
        self.project = folder / "my project"  # a space must not matter
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.project.mkdir()
        self.bin.mkdir()
        for name in ("setup.sh", "Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.project / name)
        for tool in [*TOOLS.split(), "tee"]:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.add("df", "#!/bin/sh\necho head\necho disk 1 1 99999999 1% /\n")
        self.add("uname", "#!/bin/sh\necho Linux\n")

    def add(self, name: str, text: str = FAKE_PYTHON) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *command: str, **settings: str):
        """Run it, by default setup.sh; settings change FINE or the environment."""
        self.calls.write_text("")
        return subprocess.run(
            command or ("sh", "setup.sh"),
            cwd=self.project,
            env={"PATH": str(self.bin), "CALLS": str(self.calls), **FINE, **settings},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def called(self, words: str) -> bool:
        return words in self.calls.read_text()

    @property
    def venv(self) -> Path:
        return self.project / ".venv"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def assert_stops(result, *words: str) -> None:
    """It failed, and its last line is one sentence for people."""
    assert result.returncode != 0
    assert "Traceback" not in result.stdout + result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("set-up: ")
    for word in words:
        assert word in last


def test_without_python(machine):
    assert_stops(machine.run(), "no Python was found", "3.11", "apt install python3")
    assert not machine.venv.exists()


def test_python_too_old_is_named(machine):
    machine.add("python3")
    result = machine.run(VERSION="3.9")  # "3.9" > "3.11" as text
    assert_stops(result, "3.11 or newer", "python3 is 3.9", "make lab PYTHON=")
    assert not machine.venv.exists()


@pytest.mark.parametrize("version", ["2.7", "3.10"])
def test_other_old_pythons(machine, version):
    machine.add("python")
    assert_stops(machine.run(VERSION=version), f"python is {version}")


def test_a_newer_python_beside_an_old_one_is_found(machine):
    machine.add("python3", "#!/bin/sh\necho 3.9\n")
    machine.add("python3.13")
    result = machine.run(VERSION="3.13")
    assert result.returncode == 0, result.stderr
    assert "Python 3.13" in result.stdout


def test_a_python_that_does_not_run_is_passed_over(machine):
    machine.add("python3", "#!/bin/sh\nexit 127\n")
    machine.add("python3.11")
    assert machine.run(VERSION="3.11").returncode == 0


def test_wish_for_a_python_that_is_not_there(machine):
    machine.add("python3")
    assert_stops(machine.run(PYTHON="python3.99"), "python3.99", "leave PYTHON out")


def test_without_ensurepip(machine):
    machine.add("python3")
    assert_stops(machine.run(ENSUREPIP="1"), "apt install python3-venv", "3.12")
    assert not machine.venv.exists()


@pytest.mark.parametrize(("system", "need"), [("Linux", 12), ("Darwin", 3)])
def test_disk_too_small(machine, system, need):
    machine.add("python3")
    machine.add("uname", f"#!/bin/sh\necho {system}\n")
    kilobytes = need * 1024 * 1024
    df = "#!/bin/sh\necho head\necho disk 1 1 {} 1% /\n"
    machine.add("df", df.format(kilobytes - 1))
    assert_stops(machine.run(), f"{need} GB", f"only {need - 1} GB", "make room")
    assert not machine.venv.exists()
    machine.add("df", df.format(kilobytes))
    assert machine.run().returncode == 0


@pytest.mark.parametrize(
    ("pip_says", "words"),
    [
        ("NewConnectionError: Name or service not known", "network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch>=2.10", "64-bit Python"),
        (
            "NewConnectionError\nERROR: No matching distribution found for torch>=2.10",
            "network",  # without one, pip finds no distribution either
        ),
    ],
)
def test_pip_fails(machine, pip_says, words):
    machine.add("python3")
    assert_stops(machine.run(PIP="1", PIP_SAYS=pip_says), words)
    assert not (machine.venv / ".installed").exists()


def test_torch_and_torchvision_that_do_not_match(machine):
    machine.add("python3")
    result = machine.run(TORCH="1")
    assert_stops(result, "torch and torchvision", "reinstall both from one index")
    assert "torchvision::nms" in result.stderr
    assert not (machine.venv / ".installed").exists()
    # After the reinstallation the next call goes on, it does not start over.
    result = machine.run()
    assert result.returncode == 0
    assert not machine.called("-m venv")


def test_ganlib_does_not_import(machine):
    machine.add("python3")
    assert_stops(machine.run(GANLIB="1"), "ganlib does not import")


def test_installs_the_project_with_the_exact_versions_once(machine):
    machine.add("python3")
    result = machine.run()
    assert result.returncode == 0, result.stderr
    assert machine.called("-e .[test] -c constraints.txt")
    again = machine.run()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert not machine.called("-m pip")


def test_the_newest_versions_on_request(machine):
    machine.add("python3")
    assert machine.run(CONSTRAINTS="").returncode == 0
    assert machine.called("-e .[test]")
    assert not machine.called("-c constraints.txt")


def test_works_through_make_too(machine):
    machine.add("python3.12")
    result = machine.run("make", "setup", "PYTHON=python3.12", "VENV=.venv2")
    assert result.returncode == 0, result.stderr
    assert (machine.project / ".venv2" / ".installed").exists()
    assert machine.run("make", "setup", "PYTHON=python4").returncode != 0


def test_updates_in_place_when_the_list_of_needs_changes(machine):
    machine.add("python3")
    machine.run()
    os.utime(machine.venv / ".installed", (1, 1))
    failed = machine.run(PIP="1")  # no network: what is installed stays usable
    assert_stops(failed, "go on with what is installed: touch .venv/.installed")
    result = machine.run()
    assert "pyproject.toml" in result.stdout
    assert machine.called("-m pip")
    assert not machine.called("-m venv")


def test_an_interrupted_installation_is_made_anew(machine):
    machine.add("python3")
    machine.run(PIP="1")
    (machine.venv / "left over").touch()
    result = machine.run()
    assert result.returncode == 0
    assert "interrupted" in result.stdout
    assert not (machine.venv / "left over").exists()


def test_a_moved_folder_is_made_anew(machine):
    machine.add("python3")
    machine.run()
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    result = machine.run()
    assert result.returncode == 0
    assert "moved" in result.stdout
    assert machine.called("-m venv")


def test_a_python_that_vanished_is_made_anew(machine):
    machine.add("python3")
    machine.run()
    (machine.venv / "bin" / "python").unlink()
    assert machine.run().returncode == 0
    assert machine.called("-m venv")


def test_a_venv_made_by_hand_is_used(machine):
    """With the README's pip lines, say with the CPU build of torch."""
    machine.add("python3")
    machine.run()
    (machine.venv / ".installed").unlink()
    result = machine.run()
    assert result.returncode == 0
    assert not machine.called("-m venv")


def test_a_folder_that_is_no_venv_is_left_alone(machine):
    machine.add("python3")
    machine.venv.mkdir()
    (machine.venv / "thesis.txt").touch()
    assert_stops(machine.run(), "no virtual environment", "move it away")
    assert (machine.venv / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [("data", "{here}/data"), ("/my data", "/my data"), ("a b", "{here}/a b")],
)
def test_make_passes_the_data_folder_on_as_an_absolute_path(machine, given, passed_on):
    (machine.project / "more.mk").write_text(
        'include Makefile\nshow:\n\t@echo "$$GANLIB_DATA"\n'
    )
    result = machine.run("make", "-f", "more.mk", "show", GANLIB_DATA=given)
    here = machine.project.resolve()
    assert result.stdout.strip() == passed_on.format(here=here), result.stderr


def test_make_alone_lists_the_commands(machine):
    result = machine.run("make")
    assert result.returncode == 0
    for command in ("lab", "test", "run", "lint"):
        assert f"make {command} " in result.stdout


def test_make_run_says_which_notebooks_there_are(machine):
    machine.add("python3")
    (machine.project / "notebooks").mkdir()
    (machine.project / "notebooks" / "01_data.ipynb").touch()
    result = machine.run("make", "run", "NB=9")
    assert result.returncode != 0
    assert "No notebook's name starts with '9'; there are: 01_data.ipynb" in (
        result.stdout
    )
