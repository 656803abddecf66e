"""Try all notebooks, with their exercises solved, in ten courses.

    python tests/stress.py [digits-1 …] [04 …]

A course is a dataset, a number of threads, and torch's fast or plain ("default")
kernels. Each rounds in its own way, so that every run takes another course, as it
would on another machine. What a notebook claims must hold in all of them. Words choose
the courses and the notebooks whose names begin with them; without a word for the one or
the other, all are tried. Courses with one thread run two at a time.

Each notebook leaves one file in build/stress. What has one is left out the next time,
unless its code, what it has to print, ganlib, or the course's settings have changed.

A cell fails if it raises an error, or if it is checked and prints something else than
what is stored. In checked cells every <, <=, > and >= between two numbers is noted as
well. Its margin says how far the left side would have to move to change the answer,
relative to the larger of both sides: |left - right| / max(|left|, |right|).
"""

import ast
import asyncio
import hashlib
import json
import math
import operator
import os
import sys
import time
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from solved_notebooks import NOTEBOOKS, solve, tags

import ganlib

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "build" / "stress"
WAYS = {
    "1": {"OMP_NUM_THREADS": "1"},
    "2": {"OMP_NUM_THREADS": "2"},
    # On fewer cores, MKL would take fewer threads, and round as with these.
    "4": {"OMP_NUM_THREADS": "4", "MKL_DYNAMIC": "FALSE"},
    "default-1": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
    "default-2": {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default"},
}
COURSES = {f"{data}-{way}": WAYS[way] for data in ("digits", "mnist") for way in WAYS}
SHOWN = 40  # of the narrowest margins


# --- the recorder: what checked cells compare, noted by the kernel that runs them

SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
LAST = []  # the right side of the last comparison: in a < b < c the next left one


class Recording(ast.NodeTransformer):
    """Make ``a < b < c`` two calls: compare a and b, then, if need be, b and c."""

    def __init__(self, cell: int):
        self.cell = cell

    def visit_Compare(self, node):
        text, signs = ast.unparse(node), [SIGNS.get(type(op)) for op in node.ops]
        self.generic_visit(node)
        if None in signs:
            return node
        stress, left, calls = "__import__('stress')", node.left, []
        for sign, right in zip(signs, node.comparators, strict=True):
            call = f"{stress}.compare({self.cell}, {text!r}, 0, {sign!r}, 0)"
            calls.append(ast.parse(call, mode="eval").body)
            calls[-1].args[2], calls[-1].args[4] = left, right
            left = ast.parse(f"{stress}.LAST.pop()", mode="eval").body
        return calls[0] if len(calls) == 1 else ast.BoolOp(ast.And(), calls)


def recorded(source: str, cell: int) -> str:
    """Return the source with its comparisons noted, or as it is if it is not Python."""
    try:
        return ast.unparse(Recording(cell).visit(ast.parse(source)))
    except (SyntaxError, ValueError):
        return source


def compare(cell, text, left, sign, right):
    """Return what ``left < right`` returns (or <=, >, >=), and note two numbers."""
    answer = COMPARE[sign](left, right)
    LAST[:] = [right]
    sides = number(left), number(right)
    if None not in sides:
        with open(os.environ["STRESS_RECORD"], "a", encoding="utf-8") as file:
            file.write(json.dumps([cell, text, sides[0], sign, sides[1]]) + "\n")
    return answer


def number(value) -> float | None:
    """Return an int, a float or a tensor with no dimension as a float, else None."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    return float(value) if isinstance(value, int | float) else None


def margin(left: float, right: float) -> float:
    gap, larger = abs(left - right), max(abs(left), abs(right))
    if not gap > 0:  # equal, or NaN
        return 0.0
    return gap / larger if larger < math.inf else 1.0


# --- one notebook in one course


def printed(cell) -> str:
    data = (output.get("data", output) for output in cell.outputs)
    return "".join(d.get("text", d.get("text/plain", "")) for d in data)


def code_and_outputs(notebook) -> tuple[list, list]:
    """Return the code cells, and what each has to print (None: it is not checked)."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return cells, [
        printed(cell) if "nbval-check-output" in tags(cell) else None for cell in cells
    ]


def library() -> str:
    """Return a hash of the code of ganlib."""
    sources = sorted(Path(ganlib.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


async def execute(notebook, variables: dict[str, str]) -> list:
    """Run a notebook; return the number of each cell that failed, and why it did."""
    cells, wanted = code_and_outputs(notebook)
    for i, cell in enumerate(cells):
        if wanted[i] is not None:
            cell.source = recorded(cell.source, i + 1)
    client = NotebookClient(
        notebook,
        timeout=3600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        allow_errors=True,  # so that every cell that fails is found
    )
    failed = []
    try:
        await client.async_execute(env=os.environ | variables)
    except (CellTimeoutError, DeadKernelError) as error:
        if asyncio.current_task().cancelling():  # Ctrl-C: no result, not a dead kernel
            raise asyncio.CancelledError from error
        failed.append([client.code_cells_executed, str(error).strip()])
        cells = cells[: client.code_cells_executed - 1]  # the others never ran
    whys = map(why_failed, cells, wanted)
    return failed + [[i, why] for i, why in enumerate(whys, 1) if why]


def why_failed(cell, wanted: str | None) -> str:
    for output in cell.outputs:
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}"
    if wanted is None:
        return ""
    lines = zip_longest(printed(cell).splitlines(), wanted.splitlines(), fillvalue="")
    return "; ".join(f"got {a!r}, expected {b!r}" for a, b in lines if a != b)


async def try_notebook(course: str, path: Path) -> None:
    """Run a notebook in a course and store the result, unless it is there already."""
    notebook, file = solve(nbformat.read(path, 4)), result_file(course, path)
    cells, wanted = code_and_outputs(notebook)
    sources = [cell.source for cell in cells]
    code = json.dumps([sources, wanted, library(), COURSES[course]])
    key = hashlib.sha256(code.encode()).hexdigest()
    if file.exists() and json.loads(file.read_text("utf-8"))["key"] == key:
        return
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    record = file.with_suffix(".jsonl")
    record.write_text("")
    variables = COURSES[course] | {
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "STRESS_RECORD": str(record),
        "GANLIB_CACHE": str(file.parent / f"cache-{library()[:12]}"),  # no old networks
    }
    if course.startswith("digits"):
        variables["GANLIB_DATA"] = str(file.parent)  # there is no MNIST
    began = time.monotonic()
    failed = await execute(notebook, variables)
    seconds = round(time.monotonic() - began, 1)
    result = {"key": key, "seconds": seconds, "failed": failed}
    file.write_text(json.dumps(result, indent=1), "utf-8")
    print(f"{course} {path.stem}: {seconds} s, {len(failed)} failed", flush=True)


def result_file(course: str, path: Path) -> Path:
    return FOLDER / course / f"{path.stem}.json"


# --- all of them


async def try_in_turn(courses: list[str], paths: list[Path]) -> None:
    for course in courses:
        for path in paths:  # in order: 05 and 06 use the networks that 04 stores
            await try_notebook(course, path)


async def try_all(courses: list[str], paths: list[Path]) -> None:
    # nbclient would end one kernel on Ctrl-C and go on; without its handler all ends.
    asyncio.get_running_loop().add_signal_handler = lambda *_: None
    one = [c for c in courses if COURSES[c]["OMP_NUM_THREADS"] == "1"]
    await asyncio.gather(try_in_turn(one[::2], paths), try_in_turn(one[1::2], paths))
    await try_in_turn([course for course in courses if course not in one], paths)


def report(courses: list[str], paths: list[Path]) -> int:
    """Print the cells that failed and the narrowest margins; return 1 or 0."""
    failed, best = [], {}
    for course in courses:
        for path in paths:
            file = result_file(course, path)
            for cell, why in json.loads(file.read_text("utf-8"))["failed"]:
                failed.append(f"{path.stem} [{cell}], {course}: {why}")
            for line in file.with_suffix(".jsonl").open(encoding="utf-8"):
                cell, text, left, sign, right = json.loads(line)
                where, sides = (path.stem, cell, text), (left, sign, right)
                entry = margin(left, right), course, sides
                best[where] = min(best.get(where, entry), entry)
    print(f"\n{len(best)} comparisons; the narrowest margins over all courses:")
    ordered = sorted(best.items(), key=lambda item: item[1][0])
    for (name, cell, text), (share, course, (left, sign, right)) in ordered[:SHOWN]:
        print(f"{share:6.1%}  {name} [{cell}], {course}: {text}", end="  ")
        print(f"({left:.4g} {sign} {right:.4g})")
    print(f"\n{len(courses)} courses, {len(paths)} notebooks: {len(failed)} red cells")
    print("\n".join(failed))
    return int(bool(failed))


def main(words: list[str]) -> int:
    def chosen(names):
        return [name for name in names if name.startswith(tuple(words))] or list(names)

    names = [path.stem for path in NOTEBOOKS]
    for word in words:
        if not any(name.startswith(word) for name in [*COURSES, *names]):
            sys.exit(f"'{word}' begins none of {', '.join([*COURSES, *names])}.")
    courses, names = chosen(COURSES), chosen(names)
    paths = [path for path in NOTEBOOKS if path.stem in names]
    os.environ["GANLIB_OFFLINE"] = "1"
    if any(course.startswith("mnist") for course in courses):
        from ganlib.data import load_images

        load_images("mnist")  # an error if it is not here
    asyncio.run(try_all(courses, paths))
    return report(courses, paths)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
