"""The rules that every notebook keeps, read off the stored files; nothing is run."""

import ast
import importlib
import itertools
import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest
from solved_notebooks import NOTEBOOKS, exercises, solve, tags

ALLOWED_TAGS = {"nbval-check-output", "exercise", "exercise-check"}
MODULES = [
    *("data", "models", "losses", "steps"),
    *("training", "latent", "metrics", "toys"),
    *("convolutional", "conditional", "translation"),
]
TAUGHT = {  # every definition that a notebook shows in full, and where
    "00_the_game": set(),  # its tools for one dimension stay there
    "01_data": {"batch_indices"},
    "02_generator_and_discriminator": {"block", "Generator", "Discriminator"},
    "03_weight_initialization": {
        "init_normal_",
        "init_xavier_",
        "init_kaiming_",
        "init_orthogonal_",
    },
    "04_adversarial_training": {
        "d_loss",
        "g_loss_saturating",
        "g_loss_non_saturating",
        "take_step",
        "d_step",
        "g_step",
        "move_average",
    },
    "05_visualization": {"lerp", "slerp", "principal_directions"},
    "06_evaluation": {"entropy", "kl_to_uniform", "frechet_distance"},
    "07_failure_modes": {
        "hidden_layers",
        "PointGenerator",
        "PointDiscriminator",
        "mode_coverage",
    },
    "08_modern_losses": {
        "d_loss_least_squares",
        "g_loss_least_squares",
        "d_loss_hinge",
        "d_loss_wasserstein",
        "g_loss_wasserstein",
        "logits_and_gradient",
        "input_gradient",
        "gradient_penalty",
        "r1_penalty",
        "r2_penalty",
        "d_loss_pairing",
        "g_loss_pairing",
        "weight_at",
        "pairing_update",
        "init_orthogonal_leaky_",
    },
    "09_convolutional_gan": {"ConvGenerator", "ConvDiscriminator"},
    "10_conditional_gan": {
        "ConditionalGenerator",
        "AskedFor",
        "JoinedDiscriminator",
        "ClassifyingDiscriminator",
        "ProjectionDiscriminator",
        "conditional_update",
        "classifier_update",
    },
    "11_cyclegan": {
        "outlines",
        "Residual",
        "Translator",
        "PatchDiscriminator",
        "BothWays",
        "cycle_loss",
        "identity_loss",
        "cycle_step",
        "ImagePool",
    },
    "12_scaling_up": set(),  # it uses what the others have taught
}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.])/(home|Users|root|tmp|work|var|opt|usr|mnt)/|[A-Z]:\\"
)
RESTORE = "did you save answers of your own? `git restore notebooks/` brings it back"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, 4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cells):
    return [output for cell in cells for output in cell.outputs]


def mimetypes(cell):
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def test_the_course_is_complete():
    assert [path.stem for path in NOTEBOOKS] == sorted(TAUGHT)


def test_cells_were_run_in_order(code):
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1)), RESTORE


def test_checked_cells_have_text_to_compare(code):
    checked = [cell for cell in code if "nbval-check-output" in tags(cell)]
    assert len(checked) >= 8
    for cell in checked:
        kinds = {output.output_type for output in cell.outputs}
        assert kinds, RESTORE
        assert kinds <= {"stream", "execute_result"}, cell.source
        assert "image/png" not in mimetypes(cell), cell.source


def test_checks_are_switched_on_by_known_tags_only(notebook, code):
    for cell in notebook.cells:
        assert set(tags(cell)) <= ALLOWED_TAGS, cell.source
    for cell in code:
        assert "NBVAL" not in cell.source, "use a tag, nbval ignores such comments"


def test_outputs_hold_no_error_and_no_warning(code):
    for output in outputs(code):
        assert output.output_type != "error", RESTORE
        assert output.get("name") != "stderr", output.get("text")


def test_outputs_hold_no_path_and_no_svg(code):
    for output in outputs(code):
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not ABSOLUTE_PATH.search(text), text
        assert "image/svg+xml" not in output.get("data", {})


def test_metadata_is_stripped(notebook):
    assert "widgets" not in notebook.metadata
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


def test_file_and_cells_are_small(path, code):
    lengths = [len(cell.source.splitlines()) for cell in code]
    assert max(lengths) <= 30
    assert statistics.median(lengths) <= 6
    assert path.stat().st_size <= 1_000_000


def test_animations_are_small_and_have_a_still(code):
    for output in outputs(code):
        html = output.get("data", {}).get("text/html", "")
        for gif in re.findall(r"data:image/gif;base64,([^\"']+)", html):
            assert len(gif) * 3 / 4 <= 300_000
            assert "image/png" in output["data"]
        assert "image/gif" not in output.get("data", {}), "no still beside it"


def test_prose_and_code_are_in_proportion(notebook, code):
    lines = sum(1 for cell in code for line in cell.source.splitlines() if line.strip())
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    words = sum(len(SOLUTION_BLOCK.sub("", source).split()) for source in prose)
    assert 5 <= words / lines <= 9, f"{words / lines:.1f} words of prose per code line"


SOLUTION_BLOCK = re.compile(r"<details>.*?</details>", re.DOTALL)


def test_skeleton(notebook):
    first, *_, last = notebook.cells
    assert re.match(r"# \d\d · ", first.source)
    assert re.search(r"On two CPU cores: about .* minute.* memory", first.source)
    headings = re.findall(
        r"^## (.+)$", "\n".join(cell.source for cell in notebook.cells), re.MULTILINE
    )
    assert headings[-3:] == ["Summary", "Exercises", "Sources"]
    assert "## Sources" in last.source


def test_each_notebook_says_where_it_stands(path, notebook):
    def word(other):
        number = other.stem[:2]
        return f"**{number}**" if other == path else f"[{number}]({other.name})"

    parts = NOTEBOOKS[:6], NOTEBOOKS[6:9], NOTEBOOKS[9:]
    line = " · ".join(" ".join(map(word, part)) for part in parts)
    assert f"\n\n{line} · [glossary](glossary.md)\n\n" in notebook.cells[0].source


def sections(path):
    """The text of each section, without its markup, by the anchor of its heading."""
    found, anchor = {}, ""
    cells = nbformat.read(path, 4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    for line in "\n".join(texts).replace("*", "").replace("`", "").splitlines():
        if heading := re.match(r"#+ (.+)", line):
            anchor = re.sub(r"\s+", "-", heading[1])
        found[anchor] = found.get(anchor, "") + line + "\n"
    return found


def test_glossary_leads_to_places_that_use_the_term():
    glossary = (NOTEBOOKS[0].parent / "glossary.md").read_text(encoding="utf-8")
    links = re.findall(r"^\| \[(.+?)\]\((.+?)#(.+?)\) \| [A-Z].+\. \|$", glossary, re.M)
    assert len(links) == len(glossary.splitlines()) - 6  # all rows have the same form
    assert links == sorted(links, key=lambda link: link[0].lower())
    for term, name, anchor in links:
        section = sections(NOTEBOOKS[0].parent / name)[anchor]
        assert term.split()[0].lower() in section.lower(), term


def test_ganlib_comes_before_torch(code):
    first = code[0].source  # so that its thread setting counts, and its checks of torch
    assert "from ganlib" in first
    assert not re.search(r"^(import|from) torch", first, re.MULTILINE)


def test_every_figure_is_explained(notebook):
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and "image/png" in mimetypes(cell):
            following = (
                c for c in notebook.cells[i + 1 :] if c.cell_type == "markdown"
            )
            text = next(following).source
            assert text.startswith("**What to look for:**"), cell.source


def test_a_still_figure_stands_before_every_widget(code):
    for before, cell in itertools.pairwise(code):
        if "application/vnd.jupyter.widget-view+json" in mimetypes(cell):
            assert "image/png" in mimetypes(before), cell.source


def test_exercises(notebook):
    found = list(exercises(notebook))
    assert 3 <= len(found) <= 5
    for exercise in found:
        assert "..." in exercise.answer.source
        assert "not answered yet" in outputs([exercise.check])[0].text, RESTORE
    prose = "".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert "Spot the bug" in prose
    assert "Predict, then run" in prose


def test_solutions_are_put_in_place_and_their_checks_are_on(notebook):
    before = list(exercises(notebook))
    solved = solve(notebook)
    assert not any(
        "exercise" in tags(cell) for cell in solved.cells if "..." in cell.source
    )
    for exercise in before:
        assert exercise.answer.source == exercise.solution
        assert tags(exercise.check) == ["nbval-check-output"]


class _Bare(ast.NodeTransformer):
    """Drop docstrings and annotations, which ganlib has."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node):
        self.generic_visit(node)
        return self._without_docstring(node)

    def _without_docstring(self, node):
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return node


def definitions(source: str) -> dict[str, str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name: ast.dump(_Bare().visit(node))
        for node in ast.parse(source).body
        if isinstance(node, kinds)
    }


def in_library(notebook: str) -> dict[str, str]:
    """What ganlib defines, and what the notebook teaches and only a benchmark uses."""
    benchmark = NOTEBOOKS[0].parents[1] / "benchmarks" / "conditional.py"
    others = definitions(benchmark.read_text(encoding="utf-8"))
    found = {name: others[name] for name in TAUGHT[notebook] & set(others)}
    for name in MODULES:
        module = importlib.import_module(f"ganlib.{name}")
        found |= definitions(Path(module.__file__).read_text(encoding="utf-8"))
    return found


def in_notebook(code) -> dict[str, str]:
    found = {}
    for cell in code:
        found |= definitions(cell.source)
    return found


def test_what_a_notebook_teaches_is_what_ganlib_does(path, code):
    library, shown = in_library(path.stem), in_notebook(code)
    assert TAUGHT[path.stem] <= set(shown) & set(library)
    for name in set(shown) & set(library):
        assert shown[name] == library[name], f"{name} differs from ganlib's"


def test_definitions_differ_when_the_code_does():
    plain = definitions("def f(x):\n    return x + 1")
    assert plain == definitions(
        'def f(x: int) -> int:\n    """Add."""\n    return x + 1'
    )
    assert plain != definitions("def f(x):\n    return x + 2")
    assert plain != definitions("def f(x):\n    check(x)\n    return x + 1")


def test_notebooks_are_plain_json_with_a_final_newline(path):
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert json.loads(text)["nbformat"] == 4
