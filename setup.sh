#!/bin/sh
# Makes .venv and installs the course into it, once. `make lab`, `make test` and the
# others call this first; when everything is in place it does nothing, and needs no network.
#
# Three settings, all optional, from the environment (or `make lab PYTHON=python3.12`):
#   PYTHON       the Python to build on      (default: the first one that is new enough)
#   VENV         the folder to make          (default: .venv)
#   CONSTRAINTS  the list of exact versions  (default: constraints.txt; empty: the newest)
#
# Two small files inside .venv say how far it got:
#   .installing  the setup has begun. Still there at the next call: it was interrupted.
#   .installed   the setup is complete; holds the folder and the Python it was made for.
set -u
cd "$(dirname "$0")" || exit 1

venv=${VENV:-.venv}
constraints=${CONSTRAINTS-constraints.txt}
oldest="3.11" # requires-python in pyproject.toml
stamp="$venv/.installed"
here=$(pwd -P)

say() { printf 'setup: %s\n' "$*"; }
stop() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# "3.12", or nothing where that Python does not run.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# "Python 3.12.1, 64-bit, on Darwin x86_64": what decides whether there is a torch for it.
platform_of() {
    "$1" -c 'import platform as p, sys
print("Python %s, %d-bit, on %s %s" % (
    p.python_version(), 64 if sys.maxsize > 2**32 else 32, p.system(), p.machine()
) + (" without glibc" if p.system() == "Linux" and p.libc_ver()[0] != "glibc" else ""))'
}

new_enough() { # 3.9 < 3.11: compared number by number, not as text
    [ "${1%%.*}" -gt "${oldest%%.*}" ] ||
        { [ "${1%%.*}" -eq "${oldest%%.*}" ] && [ "${1#*.}" -ge "${oldest#*.}" ]; }
}

# ---- 1. Is there anything to do? ---------------------------------------------------

state=new
if [ -f "$stamp" ]; then
    if [ "$(cat "$stamp")" = "$here $(version_of "$venv/bin/python")" ]; then
        changed=$(find pyproject.toml ${constraints:+"$constraints"} setup.sh \
            -newer "$stamp" | tr '\n' ' ')
        [ -n "$changed" ] || exit 0
        say "changed since the last setup: ${changed% }; updating $venv."
        state=update
    else
        # An absolute path is baked into a venv, and the name of its Python.
        say "this folder was moved or copied, or the Python of $venv was replaced: making $venv again."
        state=broken
    fi
elif [ -f "$venv/.installing" ]; then
    say "an earlier setup was interrupted: making $venv again."
    state=broken
elif [ -n "$(version_of "$venv/bin/python")" ]; then
    say "$venv is there already: installing what it lacks."
    state=update
elif [ -f "$venv/pyvenv.cfg" ]; then
    say "the Python of $venv no longer runs: making $venv again."
    state=broken
elif [ -e "$venv" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ]; then
    stop "$venv exists but is not a virtual environment; move it away, or choose another name: make lab VENV=.venv2"
fi

# ---- 2. A Python, the disk space, the virtual environment ---------------------------

if [ "$state" = update ]; then
    new_enough "$(version_of "$venv/bin/python")" ||
        stop "$venv was made with Python $(version_of "$venv/bin/python"), but the course needs $oldest or newer; delete $venv and try again."
else
    python= found=
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        version=$(version_of "$candidate")
        [ -n "$version" ] || continue
        if new_enough "$version"; then
            python=$candidate
            break
        fi
        found="$found${found:+, }$candidate is $version"
    done
    if [ -z "$python" ] && [ -n "$found" ]; then
        stop "the course needs Python $oldest or newer, but $found; install a newer one as well (https://www.python.org/downloads/), then: make lab PYTHON=/path/to/python3"
    elif [ -z "$python" ] && [ -n "${PYTHON:-}" ]; then
        stop "there is no Python called $PYTHON here; give its name or full path (make lab PYTHON=python3.12), or leave PYTHON out to use the first one that is new enough."
    elif [ -z "$python" ]; then
        stop "no Python was found; install $oldest or newer (Debian, Ubuntu: apt install python3 python3-venv; others: https://www.python.org/downloads/) and try again."
    fi

    # Debian and Ubuntu ship Python without the part that makes virtual environments.
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        stop "$python ($version) cannot make virtual environments; Debian, Ubuntu: apt install python3-venv (or python$version-venv), then try again."

    [ "$state" = new ] || rm -rf "$venv" ||
        stop "$venv could not be removed; remove it by hand and try again."
    mkdir -p "$venv" 2>/dev/null && : >"$venv/.installing" ||
        stop "nothing can be written to $venv; use a folder that belongs to you."

    # On Linux, torch brings the libraries for NVIDIA GPUs along: 3 GB to download (kept
    # twice for a while, in the temporary folder and in pip's cache), 6 GB when installed.
    gigabytes=3
    [ "$(uname -s)" = Linux ] && gigabytes=12
    free=$(df -Pk "$venv" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
    if [ -n "$free" ] && [ "$free" -lt "$gigabytes" ]; then
        rm -rf "$venv"
        stop "the installation needs $gigabytes GB of disk space, but only $free GB are free here; make room, or move this folder to a larger disk."
    fi

    say "making $venv with Python $version."
    "$python" -m venv "$venv" ||
        stop "$python could not make the virtual environment $venv; the lines above say why."
fi

# ---- 3. Install ---------------------------------------------------------------------

say "installing; the first time this downloads a lot (3 GB on Linux) and takes minutes."
log="$venv/pip.log"
rm -f "$log"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --log "$log" \
    -e '.[test]' ${constraints:+-c "$constraints"}; then
    # Without a network, or without a torch for this machine, pip finds "no matching
    # distribution", or with exact versions that "resolution is impossible": its log tells
    # the two apart.
    if grep -qs 'No space left on device' "$log"; then
        stop "the disk is full: make room on the disk of this folder, in the temporary folder (TMPDIR) and in your home folder (pip's cache), then try again."
    elif grep -qsE 'No matching distribution found for torch|depends on torch[=>]' "$log" &&
        ! grep -qsE 'connection broken by|confirming the ssl certificate' "$log"; then
        stop "pip found no torch for this machine ($(platform_of "$venv/bin/python")). torch comes for Python $oldest to 3.14, 64-bit, on Linux with glibc (x86_64 or aarch64), on Macs with an Apple processor (arm64) and on Windows; with a Python of this kind, run: make lab PYTHON=/path/to/python3. Other machines, such as Intel Macs, need a Linux container (docker run -it python:3.12, for example)."
    elif [ -f "$stamp" ]; then
        stop "the update failed; without a network, try again later and go on with what is installed until then: touch $stamp"
    fi
    stop "the installation failed; pip's last lines above say why. Most often the network is missing or was cut: try again when it is back."
fi

# pip is done, but do the parts fit? A torch and a torchvision from two different
# indexes (one for CPU, one for CUDA) install together and then fail at import.
if ! "$venv/bin/python" -c 'import torch, torchvision' 2>"$venv/import.log"; then
    rm -f "$venv/.installing" # the next call goes on from here instead of starting over
    tail -n 1 "$venv/import.log" >&2
    stop "torch and torchvision in $venv do not fit together: reinstall both from one index, pip's default one ($venv/bin/python -m pip install --force-reinstall torch torchvision${constraints:+ -c $constraints}), or both from the CPU index that README.md names, then try again."
fi
"$venv/bin/python" -P -c 'import ganlib' || # -P: the installed one, not the folder here
    stop "everything is installed, but ganlib does not import; the lines above say why."

# When JupyterLab first opens, it would ask whether it may fetch news.
lab="$venv/etc/jupyter/labconfig"
mkdir -p "$lab"
[ -e "$lab/page_config.json" ] ||
    echo '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}' \
        >"$lab/page_config.json"

printf '%s %s\n' "$here" "$(version_of "$venv/bin/python")" >"$stamp"
rm -f "$venv/.installing" "$log" "$venv/import.log"
say "done."
