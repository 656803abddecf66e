"""Write copies of the notebooks in which every exercise is solved.

    python tests/solved_notebooks.py FOLDER

Each solution is taken from the folded <details> block under its exercise, or for a
larger task, which has none, from the folder ``solutions``; the check below it is marked
as a checked cell that must print "right". nbval then runs the copies like any other
notebook. It counts code cells from 0; a first cell that does
nothing makes its "Cell 12" the one that Jupyter shows as [12] in the notebook itself.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
SOLUTION = re.compile(
    r"<details><summary>Solution.*?```python\n(.*?)\n```.*?</details>", re.DOTALL
)
SOLUTIONS = Path(__file__).with_name("solutions")


class Exercise(NamedTuple):
    """The three cells of an exercise, and the code of its solution."""

    answer: NotebookNode
    check: NotebookNode
    solution: str


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def exercises(notebook: NotebookNode) -> Iterator[Exercise]:
    """Yield the exercises; raise ValueError where one lacks its check or solution."""
    cells = notebook.cells
    for i, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        before, check, after = cells[i - 1], cells[i + 1], cells[i + 2]
        if "### A larger task" in before.source:
            name = re.search(r"def (\w+)", cell.source)[1]
            file = SOLUTIONS / f"{name}.py"
            solution = file.read_text("utf-8").rstrip() if file.is_file() else None
        else:
            found = SOLUTION.search(after.source)
            solution = found[1] if found else None
        if "exercise-check" not in tags(check) or solution is None:
            raise ValueError(f"cell {i}: an exercise without its check or its solution")
        yield Exercise(cell, check, solution)


def solve(notebook: NotebookNode) -> NotebookNode:
    for exercise in exercises(notebook):
        exercise.answer.source = exercise.solution
        exercise.check.metadata["tags"] = ["nbval-check-output"]
        exercise.check.outputs = [
            nbformat.v4.new_output("stream", name="stdout", text="right\n")
        ]
    return notebook


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in NOTEBOOKS:
        notebook = solve(nbformat.read(path, 4))
        notebook.cells.insert(0, nbformat.v4.new_code_cell("# solved: see the tests"))
        nbformat.write(notebook, folder / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
