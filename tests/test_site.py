"""The web pages of the course: complete, self-contained, and true to the notebooks."""

import base64
import itertools
import json
import os
import re
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from filelock import FileLock
from fontTools.ttLib import TTFont
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from torch import nn

from ganlib.conditional import ConditionalGenerator
from ganlib.latent import draw, sample_noise
from ganlib.models import Generator
from ganlib.plots import Film, png_bytes

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "site"))

from explorer_page import write_explorer  # noqa: E402
from formulas import SiteError, math_font, to_mathml  # noqa: E402
from pictures import PICTURES, stored_picture  # noqa: E402

import build  # noqa: E402, from the folder above

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [f"{path.stem}.html" for path in NOTEBOOKS]
RAW = r"widget-view|\(children=|Traceback \(most|<Figure size|IPython\.core|\{\{|\{%"


def whole_site(tmp_path_factory) -> Path:
    """Build the site, once for all tests in here and in tests/browser."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # of all workers
    with FileLock(place / "site.lock"):
        if not (place / "site").exists():
            build.build_site(place / "site", write_live_pages)
    return place / "site"


def write_live_pages(folder: Path) -> None:
    networks = Generator(), ConditionalGenerator()
    write_explorer(networks, folder / "explorer.html", data_name="")
    build.write_game(folder)


def soup_of(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@pytest.fixture(scope="module")
def soups(tmp_path_factory):
    return {path.name: soup_of(path) for path in whole_site(tmp_path_factory).iterdir()}


def characters_of(css):
    font = base64.b64decode(re.search(r"base64,([^)]*)\)", css)[1])
    return set(map(chr, TTFont(BytesIO(font)).getBestCmap()))


def test_every_page_is_complete_by_itself(soups):
    pages = [*NAMES, "glossary.html"]
    assert set(soups) == {"index.html", "explorer.html", "game.html", *pages}
    for name, follower in itertools.zip_longest(["index.html", *pages], pages):
        page = soups[name]
        following = page.find("a", rel="next")
        assert (following and following["href"]) == follower
        assert not page.find(["script", "iframe", "object", "embed", "form"])
        assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img" in str(
            page
        )
        for image in page.find_all("img"):
            assert image["src"].startswith("data:image/")
            assert re.fullmatch(r"(?!No description|What to)[^*`$<]{10,}", image["alt"])
            assert int(image["width"]) * int(image["height"]) > 0
        assert not re.search(RAW, page.main.decode())
        used = {c for m in page.find_all("math") for c in m.get_text() if c.isalnum()}
        assert not used or used <= characters_of(page.style.get_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_page_holds_all_that_the_notebook_holds(soups, path):
    page, cells = soups[f"{path.stem}.html"], nbformat.read(path, 4).cells
    blocks = iter([pre.get_text().strip("\n") for pre in page.main.find_all("pre")])
    figures, widgets = [], 0
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        assert cell.source.strip("\n") in blocks  # in order: blocks is used up
        for output in cell.outputs:
            if output.output_type == "stream":
                assert output.text.strip("\n") in blocks
            data = output.get("data", {})
            widgets += "application/vnd.jupyter.widget-view+json" in data
            gif = re.search(r"image/gif;base64,([\w+/=]+)", data.get("text/html", ""))
            found = gif[1] if gif else data.get("image/gif") or data.get("image/png")
            figures += [found.replace("\n", "")] if found else []
    shown = [image["src"].split(",")[1] for image in page.find_all("img")]
    assert shown == figures != []
    assert len(page.find_all("aside")) == widgets
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|`[^`\n]+`", "", prose, flags=re.DOTALL)
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", prose, re.DOTALL)
    toc = page.find("nav", class_="toc")
    assert len(toc.find_all("a")) == len(re.findall(r"^## ", prose, re.MULTILINE))
    assert len(page.find_all("math")) - len(toc.find_all("math")) == len(formulas)
    assert len(page.find_all("details", open=False)) == prose.count("<details>") > 0
    for tag in page.main.find_all(["pre", "code"]):
        tag.decompose()
    assert not re.search(r"\$|\\[a-z]+", page.main.get_text())


def test_formulas_become_mathml_whose_bars_stretch_and_a_small_font():
    latex = r"\begin{aligned} a &= \overline{xy} \\ &= \lVert z \rVert \end{aligned}"
    mathml = BeautifulSoup(to_mathml(latex, display=True), "html.parser")
    assert mathml.math["display"] == "block"
    assert not {"\\", "\u0332"} & set(mathml.get_text())
    assert mathml.mover.find("mo", recursive=False).get_text() == "\u203e"
    assert "_</mo></munder>" in to_mathml(r"\underline{x}", display=False)
    found = characters_of(math_font("xβ2"))
    assert set("xβ2√{") | {"\U0001d465", "\U0001d6fd"} <= found  # and slanted x and β
    assert "y" not in found


# --- a small course, and mistakes in it


PNG = png_bytes(torch.zeros(1, 1, 2, 3))
PIXEL = base64.b64encode(PNG).decode()
TABLE = (
    "| notebook |\n| --- |\n| [01](notebooks/01.ipynb) |\n| [02](notebooks/02.ipynb) |"
)


def shown(kind="display_data", **facts):
    return new_code_cell("draw()", outputs=[new_output(kind, **facts)])


FIGURE = shown(data={"image/png": PIXEL})
FILM = shown(data=Film(PNG, PNG, alt="a film", width=90)._repr_mimebundle_())


def built(tmp_path, *cells, table=TABLE):
    """Build a course of two notebooks, the first with these cells; return its page."""
    root = tmp_path / "course"
    (root / "notebooks").mkdir(parents=True, exist_ok=True)
    (root / "notebooks" / "a.png").write_bytes(PNG)
    (root / "README.md").write_text(f"# A\n\n## The notebooks\n\n{table}\n")
    first, second = ["# One\n\n## Part", *cells], ["# Two\n\n## Why [−1, 1]"]
    for name, cells in (("01", first), ("02", second)):
        cells = [new_markdown_cell(c) if isinstance(c, str) else c for c in cells]
        notebook = new_notebook(cells=cells)
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    build.build_site(tmp_path / "site", touch_live_pages, root)
    return soup_of(tmp_path / "site" / "01.html")


def touch_live_pages(folder):
    for name in ("explorer.html", "game.html"):
        (folder / name).touch()


def test_links_lead_to_pages_and_else_become_text(tmp_path):
    links = "[a](02.ipynb) [b](02.ipynb#Why-[−1,-1]) [c](#Part) [d](https://x.org/) "
    text = built(tmp_path, f"{links} [e](a.png)").find("div", class_="text").p
    found = [a["href"] for a in text.find_all("a")]
    there = "02.html#Why-%5B%E2%88%921,-1%5D"
    assert found == ["02.html", there, "#Part", "https://x.org/"]
    assert "e (a.png)" in text.get_text()


def test_figures_are_embedded_and_a_film_shows_its_gif(tmp_path):
    look = "**What to look for:** the *gray* `z[0]` has 1.2 and $x^2$ more. And\nthen?"
    text = "![a digit](a.png)\n\n### Same\n\n### Same"
    page = built(tmp_path, text, FIGURE, FILM, look)
    images = [(image["alt"], image["src"]) for image in page.find_all("img")]
    alt, png = "The gray z[0] has 1.2 and x2 more.", f"data:image/png;base64,{PIXEL}"
    assert images == [("a digit", png), (alt, png), (alt, png.replace("png", "gif", 1))]
    film = page.find_all("img")[2]
    assert (film["width"], film["height"], film["style"][:11]) == (
        "3",
        "2",
        "width: 90px",
    )
    assert [h["id"] for h in page.find_all("h3")] == ["Same", "Same-Same"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (["so $\\foo$ it is"], r"the formula \$\\foo\$: Unknown command"),
        (["[x](03.ipynb)"], r"03\.ipynb leads nowhere"),
        (["[x](02.ipynb#No)"], r"02\.html#No leads nowhere"),
        (["![x](https://a.b/c.png)"], r"https://a\.b/c\.png is missing"),
        (["![](a.png)"], r"has no alt text"),
        ([FIGURE, "A **What to look for:** B"], r"cell 2 draws a figure"),
        (["<script>1</script>"], r"<script> has no place"),
        (["# Another"], r"one heading with one #, not 2"),
        ([shown("error", ename="E", evalue="e")], r"cell 2 ended in an error"),
        ([shown("stream", name="stderr", text="w")], r"cell 2 wrote to stderr"),
        ([shown(data={"a/b": "c"})], r"cell 2 shows a/b"),
    ],
)
def test_mistake_is_reported_and_the_old_site_stays(tmp_path, fault, sentence):
    built(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "site").iterdir()}
    with pytest.raises(SiteError, match=rf"^01\.(ipynb|html): .*{sentence}.*\.$"):
        built(tmp_path, *fault)
    assert {p: p.read_bytes() for p in (tmp_path / "site").iterdir()} == before
    (tmp_path / "site" / "00.html").touch()
    assert "newer" in built(tmp_path, "newer").main.get_text()
    assert not (tmp_path / "site" / "00.html").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"course", "site"}  # no remains


def test_notebook_that_the_readme_forgot_is_reported(tmp_path):
    with pytest.raises(SiteError, match=r"README\.md: .* lacks 02\.ipynb"):
        built(tmp_path, table=TABLE.replace("02.ipynb", "01.ipynb"))


def test_command_leaves_a_folder_that_holds_something_else_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    command = [sys.executable, ROOT / "site" / "build.py", tmp_path]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 1
    assert re.fullmatch(r"The site was not built\. .* folder\.\n", answer.stderr)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


# --- the explorer


def test_page_has_the_weights_that_draw_what_torch_draws(tiny_networks, tmp_path):
    G, _ = tiny_networks()
    for values in G.parameters():
        nn.init.normal_(values, 0.2, generator=torch.Generator().manual_seed(3))
    for _ in range(20):  # statistics for BatchNorm
        G(torch.randn(64, 3) + 1)
    path = tmp_path / "new" / "explorer.html"
    assert write_explorer([G], path, data_name="</script>") == path
    assert G.training
    text = path.read_text("utf-8")
    facts = json.loads(re.search(r'id="model">(.*?)</script>', text)[1])
    assert facts["data_name"] == "</script>"
    [model] = facts["models"]
    z = sample_noise(50, 3, seed=0)
    x = z.double().numpy()
    for layer, slope in zip(model["layers"], [*model["slopes"], 1], strict=True):
        names = "weight", "bias"
        content = (zlib.decompress(base64.b64decode(layer[name])) for name in names)
        weight, bias = (np.frombuffer(c, "<f2").astype(float) for c in content)
        x = x @ weight.reshape(len(bias), -1).T + bias
        x = np.where(x > 0, x, slope * x)
    images = draw(G, z).flatten(1).numpy()
    assert images.std() > 0.4  # black, white and all between
    np.testing.assert_allclose(np.tanh(x), images, atol=0.01)


def test_a_generator_that_the_page_cannot_draw_is_not_written(tiny_networks, tmp_path):
    G, nan, short, long = (tiny_networks()[0] for _ in range(4))
    nn.init.constant_(G.net[3].bias, 70_000.0)  # too much for half precision
    nn.init.constant_(nan.net[0].weight, float("nan"))
    short.net.pop(4)
    long.net.append(nn.LeakyReLU())
    for network in (G, nan, short, long):
        with pytest.raises(ValueError, match="the page would draw other images"):
            write_explorer([network], tmp_path / "explorer.html", data_name="MNIST")
    assert not list(tmp_path.iterdir())


def test_explorer_gets_the_generators_of_the_course(tmp_path, monkeypatch):
    trained = {2: Generator(latent_dim=9), 3: ConditionalGenerator(8)}
    monkeypatch.setattr(
        "ganlib.checkpoint.load_or_train", lambda *data: (trained[len(data)], None)
    )
    build.write_course_pages(tmp_path)
    text = (tmp_path / "explorer.html").read_text("utf-8")
    facts = json.loads(re.search(r'id="model">(.*?)</script>', text)[1])
    assert facts["data_name"] == "the digits that come with scikit-learn"
    found = [(m["latent_dim"], len(m["codes"])) for m in facts["models"]]
    assert found == [(9, 0), (8, 10)]


@pytest.mark.parametrize("name", PICTURES)
def test_image_of_the_readme_is_one_that_a_notebook_has_stored(name):
    file = ROOT / "notebooks" / "images" / name
    first, second = (Image.open(x) for x in (file, BytesIO(stored_picture(name))))
    assert first.n_frames == second.n_frames if name.endswith(".gif") else True
    pixels = [np.asarray(image.convert("RGB")) for image in (first, second)]
    np.testing.assert_array_equal(*pixels)  # else run site/pictures.py
    assert f"notebooks/images/{name}" in (ROOT / "README.md").read_text("utf-8")
