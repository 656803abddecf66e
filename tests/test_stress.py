"""``make stress``: what it notes, what it finds, and what it leaves out."""

import asyncio
import json
from unittest.mock import AsyncMock

import nbformat
import stress
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

COMPARISONS = """
asked = []; half = lambda: asked.append(1) or 0.5
print(0 < half() < 0.25, 0 < half() <= 1, 1 > 2 > 1 / 0, len(asked))
print(bool(torch.tensor(3.0) > 2), torch.tensor([1.0, 2.0]) >= 2, torch.tensor(1) < 0)
print("a" < "b", 3 in [3], 1 == 1 < 2, f"{4 >= 4}", [n for n in (5, 6) if n > 5])
"""
NOTED = "0<0.5 0.5<0.25 0<0.5 0.5<=1 1>2 3>2 1<0 4>=4 5>5 6>5"
TINY = {  # the source of each cell, and its stored output if it is checked
    "import os; x = 3; print('not checked', x > 1)": "",
    "1 / 0": "",
    "print(os.environ['ATEN_CPU_CAPABILITY'], x < 2.5)": "default True\n",
    "print([x > y for y in (1, 2)])": "[True, True]\n",
}


def test_noting_a_comparison_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STRESS_RECORD", str(tmp_path / "record"))
    for source in (COMPARISONS, stress.recorded(COMPARISONS, 1)):
        exec(source, {"torch": torch})
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == told[3:]
    lines = [json.loads(line) for line in (tmp_path / "record").open()]
    assert " ".join(f"{a:g}{sign}{b:g}" for _, _, a, sign, b in lines) == NOTED


def test_margin_is_relative_to_the_larger_side():
    lefts, rights = [4, -1, 0, float("nan"), 1], [3, 1, 0, 1, float("inf")]
    assert list(map(stress.margin, lefts, rights)) == [0.25, 2, 0, 0, 1]


def write(folder, cells):
    notebook = new_notebook()
    for source, text in cells.items():
        cell = new_code_cell(source, outputs=[new_output("stream", text=text)])
        cell.metadata["tags"] = ["nbval-check-output"] if text else []
        notebook.cells.append(cell)
    nbformat.write(notebook, folder / "tiny.ipynb")
    return folder / "tiny.ipynb"


def test_failing_cells_and_margins_are_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stress, "FOLDER", tmp_path)
    path, course = write(tmp_path, TINY), "digits-default-2"
    asyncio.run(stress.try_notebook(course, path))
    assert stress.report([course], [path]) == 1
    told = capsys.readouterr().out
    assert "2 comparisons" in told  # each at its narrowest
    assert f"16.7%  tiny [3], {course}: x < 2.5  (3 < 2.5)" in told
    assert f"33.3%  tiny [4], {course}: x > y  (3 > 2)" in told
    assert "2 red cells" in told
    assert f"tiny [2], {course}: ZeroDivisionError: division by zero" in told
    assert f"tiny [3], {course}: got 'default False', expected 'default True'" in told


def test_only_what_is_new_is_run(tmp_path, monkeypatch):
    def run(source, text="1\n", course="digits-1", library="old"):
        monkeypatch.setattr(stress, "library", lambda: library)
        asyncio.run(stress.try_notebook(course, write(tmp_path, {source: text})))
        return execute.await_count

    monkeypatch.setattr(stress, "execute", execute := AsyncMock(return_value=[]))
    monkeypatch.setattr(stress, "FOLDER", tmp_path)
    assert [run("1"), run("1"), run("2"), run("2")] == [1, 1, 2, 2]
    assert [run("2", "2\n"), run("2", "2\n"), run("2", "2\n", "mnist-1")] == [3, 3, 4]
    assert [run("2", "2\n"), run("2", "2\n", library="new")] == [4, 5]
    monkeypatch.setitem(stress.COURSES, "digits-1", {"OMP_NUM_THREADS": "4"})
    assert run("2", "2\n", library="new") == 6
