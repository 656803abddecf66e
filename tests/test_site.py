"""The web pages of the course: whole, self-contained, and true to the notebooks."""

import base64
import itertools
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import torch
import yaml
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

from ganlib.checkpoint import networks_path, save_networks
from ganlib.models import Discriminator, Generator
from ganlib.plots import png_bytes
from ganlib.training import TrainConfig

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "site"))

from explorer_page import write_explorer  # noqa: E402
from formulas import SiteError, math_font, to_mathml  # noqa: E402
from notebook_page import first_sentence  # noqa: E402

import build  # noqa: E402, from the folder above

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [f"{path.stem}.html" for path in NOTEBOOKS]
FENCED = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$]+\$", re.DOTALL)


def untrained_explorer(path: Path) -> None:
    write_explorer(Generator(), path, data_name="nothing")


def whole_site(tmp_path_factory) -> Path:
    """Build the site, once for all tests in here and in tests/browser."""
    folder = tmp_path_factory.getbasetemp() / "site"
    if not folder.exists():
        build.build_site(folder, untrained_explorer)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return whole_site(tmp_path_factory)


@pytest.fixture(scope="session")
def soups(site):
    return {
        path.name: BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in sorted(site.iterdir())
    }


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, 4)


@pytest.fixture
def soup(path, soups):
    return soups[f"{path.stem}.html"]


@pytest.fixture(params=["index.html", *NAMES])
def any_soup(request, soups):
    return soups[request.param]


def prose(notebook):
    """All Markdown of a notebook without its code."""
    cells = (c.source for c in notebook.cells if c.cell_type == "markdown")
    return FENCED.sub("", "\n\n".join(cells))


def words(text):
    return " ".join(text.split())


# --- the pages and the ways between them


def test_each_notebook_has_a_page_and_there_is_nothing_else(site):
    names = {path.name for path in site.iterdir()}
    assert names == {"index.html", "explorer.html", *NAMES}


def test_first_page_is_the_course_at_a_glance(soups):
    index = soups["index.html"]
    links = [a["href"] for a in index.find_all("a")]
    assert set(NAMES) <= set(links)
    assert "explorer.html" in links
    rows = [words(tr.get_text(" ")) for tr in index.table.find_all("tr")]
    assert rows[0].endswith("minutes")
    assert len(rows) == 1 + len(NOTEBOOKS)
    assert all(re.search(r"[\d½]$", row) for row in rows[1:])
    picture = (ROOT / "notebooks/images/generated_digits.png").read_bytes()
    assert base64.b64decode(index.img["src"].split(",")[1]) == picture
    assert "make lab" in index.pre.get_text()


def test_every_link_leads_somewhere(soups):
    count = 0
    for name, soup in soups.items():
        for link in soup.find_all("a", href=True):
            if link["href"].startswith("https://"):
                continue
            page, _, place = link["href"].partition("#")
            assert (page or name) in soups, f"{name}: {link}"
            if place:
                assert soups[page or name].find(id=unquote(place)), f"{name}: {link}"
            count += 1
    assert count > 8 * len(NOTEBOOKS)


def test_pages_follow_each_other(soups):
    for before, after in itertools.pairwise(NAMES):
        assert soups[before].find("a", rel="next")["href"] == after
        assert soups[after].find("a", rel="prev")["href"] == before
    assert soups["index.html"].find("a", rel="next")["href"] == NAMES[0]
    assert soups[NAMES[-1]].find("a", rel="next") is None


def test_page_has_landmarks_one_title_and_a_way_past_the_links(any_soup):
    assert any_soup.html["lang"] == "en"
    (title,) = any_soup.find_all("h1")
    assert title.get_text() in any_soup.title.get_text()
    assert len(any_soup.find_all(["main", "header", "footer"])) == 3
    assert title.find_parent("main")
    first = any_soup.body.find("a")
    assert any_soup.find(id=first["href"].removeprefix("#")).name == "main"
    labels = [nav["aria-label"] for nav in any_soup.find_all("nav")]
    assert len(labels) == len(set(labels)) >= 1


def test_ids_are_unique(any_soup):
    ids = [tag["id"] for tag in any_soup.find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_table_of_contents_has_all_sections(notebook, soup):
    headings = re.findall(r"^## (.+)$", prose(notebook), re.MULTILINE)
    entries = soup.find("nav", class_="toc").find_all("a")
    plain = [words(e.get_text()) for e in entries]
    assert len(plain) == len(headings) > 5
    assert [unquote(e["href"][1:]) for e in entries] == [
        h["id"] for h in soup.main.find_all("h2")
    ]
    for heading, entry in zip(headings, plain, strict=True):
        assert heading.replace("`", "") == entry


# --- closed in themselves


def test_nothing_is_asked_of_any_address(any_soup):
    assert not any_soup.find(["script", "iframe", "object", "embed", "base", "form"])
    for tag in any_soup.find_all(True):
        assert not {"srcset", "poster", "action", "ping"} & set(tag.attrs), tag.name
        assert not [name for name in tag.attrs if name.startswith("on")], tag.name
        assert tag.get("src", "data:").startswith("data:"), tag.name
        if tag.name != "a":
            assert tag.get("href", "data:").startswith("data:"), tag.name
    css = "".join(style.get_text() for style in any_soup.find_all("style"))
    assert "@import" not in css
    assert all(url.startswith("data:") for url in re.findall(r"url\(([^)]*)", css))


def test_policy_forbids_what_lies_outside(any_soup):
    (policy,) = any_soup.find_all("meta", {"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.split(maxsplit=1) for rule in policy["content"].split("; "))
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules
    assert set(" ".join(rules.values()).split()) == {
        "'none'",
        "'unsafe-inline'",
        "data:",
    }


def test_pages_are_small(site):
    for path in site.iterdir():
        assert path.name == "explorer.html" or path.stat().st_size < 1_500_000


def test_same_notebooks_give_the_same_bytes(site, tmp_path):
    build.write_pages(tmp_path, ROOT)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (site / path.name).read_bytes(), path.name


# --- true to the notebooks


def test_all_code_and_all_printed_text_is_there(notebook, soup):
    blocks = iter([pre.get_text().strip("\n") for pre in soup.main.find_all("pre")])
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.source.strip("\n") in blocks  # in order: blocks is used up
            for output in cell.outputs:
                if output.output_type == "stream":
                    assert output.text.strip("\n") in blocks


def test_every_formula_became_mathml(notebook, soup):
    text = prose(notebook)
    formulas = FORMULA.findall(text)
    headings = soup.find("nav", class_="toc").find_all("math")
    shown = soup.find_all("math")
    assert len(shown) - len(headings) == len(formulas) > 0
    blocks = [f for f in formulas if f.startswith("$$")]
    assert len(soup.find_all("math", display="block")) == len(blocks)
    assert all(m.get_text() or m.find("mspace") for m in shown)


def test_no_formula_is_left_as_source(any_soup):
    body = BeautifulSoup(str(any_soup.body), "html.parser")
    for tag in body.find_all(["pre", "code"]):
        tag.decompose()
    text = body.get_text()
    assert "$" not in text
    assert not re.search(r"\\[a-z]+", text)


def test_pictures_have_a_text_and_a_size(any_soup):
    for image in any_soup.find_all("img"):
        assert len(image["alt"]) > 10
        assert not re.search(r"[*`$<]|No description", image["alt"])
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0


def test_every_picture_of_the_notebook_is_there(notebook, soup):
    stored = [
        output.data[kind].replace("\n", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in ("image/gif", "image/png")
        if kind in output.get("data", {})
    ]
    shown = [image["src"].split(",")[1] for image in soup.find_all("img")]
    assert shown == stored
    assert stored


def test_alt_text_is_the_first_sentence_on_what_to_see():
    source = (
        "**What to see:** the *gray* `z[0]` has 11.2 % and $x^2$ more. And\n"
        "then?\n\nNext paragraph."
    )
    assert first_sentence(source) == "The gray z[0] has 11.2 % and x2 more."
    assert first_sentence("**What to see:** one, two") == "One, two"


def test_solutions_stay_folded(notebook, soup):
    folded = soup.find_all("details")
    assert len(folded) == prose(notebook).count("<details>") > 0
    for details in folded:
        assert not details.has_attr("open")
        assert details.find("summary").get_text() == "Solution"
        assert details.find("pre").find("span", class_=True)  # highlighted


def test_widgets_become_a_sentence(notebook, soup):
    kind = "application/vnd.jupyter.widget-view+json"
    widgets = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]
    boxes = soup.find_all("aside")
    assert len(boxes) == len(widgets)
    for box in boxes:
        assert "make lab" in box.get_text()
        assert box.a["href"] == "explorer.html"


def test_some_notebook_has_a_widget(soups):
    assert any(soups[name].find("aside") for name in NAMES)


@pytest.mark.parametrize(
    "leftover",
    [
        "Error displaying widget",
        "model not found",
        "widget-view",
        "LatentExplorer(children=",
        "Traceback (most recent",
        "<Figure size",
        "IPython.core.display",
        "{{",
        "{%",
    ],
)
def test_nothing_raw_is_left(soups, leftover):
    for name in ("index.html", *NAMES):
        assert leftover not in soups[name].main.decode(), name


# --- formulas


@pytest.mark.parametrize(
    "latex",
    [
        r"\begin{cases} x & \text{if } x > 0 \\ 0.2\,x & \text{else} \end{cases}",
        r"\begin{aligned} a &= b \\ &= \nabla_w \mathcal{L}(\hat w) \end{aligned}",
        r"\min_G \max_D \mathbb{E}_{x \sim p}\left[\log D(x)\right]",
        r"\operatorname*{arg\,max}_k p_k, \|x\|_2, \lVert z \rVert, \tfrac12",
    ],
)
def test_formulas_of_later_notebooks_convert(latex):
    mathml = BeautifulSoup(to_mathml(latex, display=True), "html.parser")
    assert mathml.math["display"] == "block"
    assert "\\" not in mathml.get_text()


def test_bars_stretch():
    assert "\u0332" not in to_mathml(r"\overline{xy} + \underline{x}", display=False)
    over = BeautifulSoup(to_mathml(r"\overline{xy}", display=False), "html.parser")
    assert over.mover.find("mo", recursive=False).get_text() == "\u203e"


def font_of(css):
    data = re.search(r"base64,([^)]*)\)", css)[1]
    return TTFont(BytesIO(base64.b64decode(data)))


def test_font_has_what_formulas_show_and_little_else():
    css = math_font("xβ2")
    characters = set(map(chr, font_of(css).getBestCmap()))
    assert set("xβ2√{") | {"\U0001d465", "\U0001d6fd"} <= characters  # and x, β slanted
    assert "y" not in characters
    assert len(css) < 60_000


def test_root_signs_of_all_heights_are_equally_wide():
    font = font_of(math_font("x"))
    variants = font["MATH"].table.MathVariants
    place = variants.VertGlyphCoverage.glyphs.index(font.getBestCmap()[ord("√")])
    sizes = variants.VertGlyphConstruction[place].MathGlyphVariantRecord
    assert len(sizes) > 2
    assert len({font["hmtx"][size.VariantGlyph][0] for size in sizes}) == 1


def test_page_embeds_its_font(soups):
    for name in NAMES:
        characters = {
            c
            for math in soups[name].find_all("math")
            for c in math.get_text()
            if c.isalnum()
        }
        css = soups[name].style.get_text()
        assert characters <= set(map(chr, font_of(css).getBestCmap())), name


# --- a mistake in a notebook


PIXEL = base64.b64encode(png_bytes(torch.zeros(1, 1, 2, 2))).decode()
README = """# A course

Beginning.

## The notebooks

| notebook |
| --- |
| [01](notebooks/01_one.ipynb) |
| [02](notebooks/02_two.ipynb) |

## Else
"""


def picture(**data):
    shown = new_output("display_data", {"image/png": PIXEL, **data})
    return new_code_cell("draw()", outputs=[shown])


def small_course(root: Path, *cells) -> Path:
    """Write a course of two notebooks; the first has these cells, too."""
    (root / "notebooks" / "images").mkdir(parents=True)
    (root / "notebooks" / "images" / "a.png").write_bytes(base64.b64decode(PIXEL))
    (root / "README.md").write_text(README, "utf-8")
    (root / "notebooks" / "helper.py").write_text("")
    cells = [
        new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells
    ]
    titled = [new_markdown_cell("# 01 · One\n\n## Part"), *cells]
    for name, content in (
        ("01_one", titled),
        ("02_two", [new_markdown_cell("# 02 · Two\n\n## Why [−1, 1]")]),
    ):
        notebook = new_notebook(cells=content)
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    return root


def empty_explorer(path: Path) -> None:
    path.write_text("<!doctype html><title>explorer</title>")


def built(tmp_path, *cells):
    """Build a small course; return the page of its first notebook."""
    root = small_course(tmp_path / "course", *cells)
    build.build_site(tmp_path / "site", empty_explorer, root)
    text = (tmp_path / "site" / "01_one.html").read_text("utf-8")
    return BeautifulSoup(text, "html.parser")


def test_links_lead_to_pages_and_else_become_text(tmp_path):
    page = built(
        tmp_path,
        "[two](02_two.ipynb), [why](02_two.ipynb#Why-[−1,-1]), [part](#Part), "
        "[code](helper.py), [`helper.py`](helper.py), [out](https://example.org/x)",
    )
    text = page.find("div", class_="text").p
    assert [a["href"] for a in text.find_all("a")] == [
        "02_two.html",
        "02_two.html#Why-%5B%E2%88%921,-1%5D",
        "#Part",
        "https://example.org/x",
    ]
    assert "code (helper.py), helper.py, out" in text.get_text()


def test_pictures_of_markdown_and_of_outputs_are_embedded(tmp_path):
    text = '![a digit](images/a.png) <img src="images/a.png" alt="the same">'
    page = built(tmp_path, text, picture(), "**What to see:** a digit. Really.")
    images = page.find_all("img")
    assert [image["alt"] for image in images] == ["a digit", "the same", "A digit."]
    assert {image["src"].split(",")[1] for image in images} == {PIXEL}


def test_equal_headings_get_different_ids(tmp_path):
    page = built(tmp_path, "### Same\n\n### Same\n\n## Part")
    ids = [heading["id"] for heading in page.find_all(re.compile("h[23]"))]
    assert len(set(ids)) == 4
    assert ids[:2] == ["Part", "Same"]


FAULTS = {
    "formula": (["so $\\frac{1}{$ it is"], r"the formula \$\\frac\{1\}\{\$"),
    "unknown command": (["$$\\foo$$"], r"the formula \$\\foo\$: Unknown command"),
    "link": (["[x](03_three.ipynb)"], r"03_three\.ipynb leads nowhere"),
    "anchor here": (["[x](#Nowhere)"], r"#Nowhere leads nowhere"),
    "anchor there": (["[x](02_two.ipynb#No)"], r"02_two\.html#No leads nowhere"),
    "picture": (["![x](images/b.png)"], r"images/b\.png is missing"),
    "picture outside": (["![x](https://a.b/c.png)"], r"https://a\.b/c\.png is missing"),
    "no alt text": (["![](images/a.png)"], r"has no alt text"),
    "no alt at all": (['<img src="images/a.png">'], r"has no alt text"),
    "nothing to see": ([picture(), "Next."], r"cell 2 draws a picture"),
    "script": (["<script>1</script>"], r"<script> has no place"),
    "two titles": (["# Another"], r"one heading with one #, not 2"),
    "error": (
        [new_code_cell("1/0", outputs=[new_output("error", ename="E", evalue="e")])],
        r"cell 2 ended in an error",
    ),
    "warning": (
        [new_code_cell("w", outputs=[new_output("stream", name="stderr", text="w")])],
        r"cell 2 wrote to stderr",
    ),
    "strange output": (
        [new_code_cell("t", outputs=[new_output("display_data", {"a/b": "c"})])],
        r"cell 2 shows a/b",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_mistake_is_told_in_one_sentence_and_the_old_site_stays(tmp_path, fault):
    cells, sentence = FAULTS[fault]
    built(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "site").iterdir()}
    shutil.rmtree(tmp_path / "course")
    with pytest.raises(SiteError, match=sentence) as caught:
        built(tmp_path, *cells)
    message = str(caught.value)
    assert re.match(r"01_one\.(ipynb|html): ", message)
    assert message.endswith(".")
    assert "\n" not in message
    assert {p: p.read_bytes() for p in (tmp_path / "site").iterdir()} == before
    assert {p.name for p in tmp_path.iterdir()} == {"course", "site"}  # no remains


def test_notebook_that_the_readme_forgot_is_told(tmp_path):
    root = small_course(tmp_path)
    text = README.replace("| [02](notebooks/02_two.ipynb) |\n", "")
    (root / "README.md").write_text(text)
    with pytest.raises(SiteError, match=r"README\.md: .* lacks 02_two\.ipynb"):
        build.build_site(tmp_path / "site", empty_explorer, root)


def test_failing_explorer_leaves_the_old_site(tmp_path):
    built(tmp_path)
    before = (tmp_path / "site" / "index.html").stat()

    def stopped(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.build_site(tmp_path / "site", stopped, tmp_path / "course")
    after = (tmp_path / "site" / "index.html").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {p.name for p in tmp_path.iterdir()} == {"course", "site"}


def test_new_site_takes_the_place_of_the_old_one(tmp_path):
    built(tmp_path)
    (tmp_path / "site" / "00_gone.html").write_text("old")
    shutil.rmtree(tmp_path / "course")
    assert "newer" in built(tmp_path, "newer").main.get_text()
    assert not (tmp_path / "site" / "00_gone.html").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"course", "site"}


def test_command_refuses_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    command = [sys.executable, ROOT / "site" / "build.py", tmp_path]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert "is no site: choose another folder" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


# --- the explorer, the command, the workflow


def test_explorer_gets_the_generator_of_the_course(tmp_path, monkeypatch, digits):
    monkeypatch.setenv("GANLIB_CACHE", str(tmp_path / "cache"))
    path = networks_path(TrainConfig(), digits.images)
    save_networks(Generator(), Discriminator(), path)  # as if it were trained
    build.write_trained_explorer(tmp_path / "explorer.html")
    page = (tmp_path / "explorer.html").read_text("utf-8")
    assert '"data_name": "the digits that come with scikit-learn"' in page


def test_make_site_calls_the_builder():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = re.search(r"^site: setup ## .+\n\t(.+)\n", makefile, re.MULTILINE)
    assert recipe[1] == "$(PY) site/build.py build/site"
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    assert "site" in phony  # else the folder site/ would count as made


def test_workflow_builds_and_publishes():
    text = (ROOT / ".github/workflows/pages.yml").read_text("utf-8")
    workflow = yaml.safe_load(text)
    on = workflow[True]  # how YAML reads "on"
    assert on["push"] == {"branches": ["main"]}
    assert "workflow_dispatch" in on
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    steps = jobs["build"]["steps"]
    assert "make site" in [step.get("run") for step in steps]
    (upload,) = (s for s in steps if "upload-pages-artifact" in s.get("uses", ""))
    assert upload["with"]["path"] == "build/site"
    assert jobs["deploy"]["needs"] == "build"
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert all("timeout-minutes" in job for job in jobs.values())
