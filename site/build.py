"""Build the course as web pages: the notebooks, to read without a kernel.

    python site/build.py [FOLDER]     (default: build/site)

A page for each notebook, from its stored outputs; nothing is executed. index.html comes
from the README, explorer.html holds the trained generators, game.html trains a GAN in
the browser. No page loads anything from elsewhere: all work from a disk, from a USB
stick, and from any server.
"""

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import jinja2
from bs4 import BeautifulSoup
from formulas import SiteError, math_font
from live_page import page_template, write_live_page
from notebook_page import HERE, Page, finished_page, markdown_to_html, notebook_page

ROOT = HERE.parent


class Neighbor(NamedTuple):
    """What a link to the previous or next page needs."""

    name: str
    title: str


def build_site(
    folder: Path, write_live_pages: Callable[[Path], object], root: Path = ROOT
) -> None:
    """Build the site of the repository into ``folder``, complete or not at all.

    ``write_live_pages`` gets the folder and writes explorer.html and game.html into it;
    it comes last, since it may train first.

    Raises SiteError, with a sentence on what to fix; the old site then stays.
    """
    if folder.exists() and not (folder / "explorer.html").is_file():
        raise SiteError(f"{folder} exists and is not a site: choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="site-") as work:
        new = Path(work) / "new"
        new.mkdir()
        write_pages(new, root)
        write_live_pages(new)
        check_links(new)
        if folder.exists():
            folder.rename(Path(work) / "old")
        new.rename(folder)


def write_pages(folder: Path, root: Path) -> None:
    """Write index.html and a page for each notebook and for the glossary."""
    notebooks = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    texts = sorted((root / "notebooks").glob("*.md"))
    names = {path.resolve(): f"{path.stem}.html" for path in (*notebooks, *texts)}
    pages = {names[p.resolve()]: notebook_page(p, names) for p in notebooks}
    for path in texts:
        html = markdown_to_html(path.read_text("utf-8"))
        pages[names[path.resolve()]] = finished_page(html, path, names)
    index = index_page(root / "README.md", names)
    template = page_template("page.html.j2")
    neighbors = [None, *(Neighbor(n, p.title) for n, p in pages.items()), None]
    for i, (name, page) in enumerate(pages.items()):
        around = {"before": neighbors[i], "after": neighbors[i + 2]}
        write_page(folder / name, template, page, course=index.title, **around)
    around = {"before": None, "after": neighbors[1]}
    write_page(folder / "index.html", template, index, course=index.title, **around)


def write_page(path: Path, template: jinja2.Template, page: Page, **facts) -> None:
    css = (HERE / "site.css").read_text("utf-8")
    if page.math:
        css = f"{math_font(page.math)}\n{css}"
    text = template.render(page=page, css=css, **facts)
    path.write_text(text, encoding="utf-8", newline="\n")


def index_page(readme: Path, names: dict[Path, str]) -> Page:
    """Return the first page: the README's beginning and its table of the notebooks."""
    intro, *rest = re.split(
        r"^## (.+)\n", readme.read_text("utf-8"), flags=re.MULTILINE
    )
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    if "The notebooks" not in sections:
        raise SiteError('README.md has no section "The notebooks" for the first page.')
    source = jinja2.Template((HERE / "index.md").read_text("utf-8")).render(
        intro=intro, notebooks=sections["The notebooks"]
    )
    try:
        page = finished_page(markdown_to_html(source), readme, names)
    except SiteError as error:
        raise SiteError(f"README.md: {error}") from None
    for path, name in names.items():
        if f'href="{name}"' not in page.body:
            raise SiteError(f"README.md: its table of notebooks lacks {path.name}.")
    return page._replace(sections=[])  # short enough without a list of them


def check_links(folder: Path) -> None:
    """Raise an error if a link leads to a page or a place that does not exist."""
    soups = {
        path.name: BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in sorted(folder.glob("*.html"))
    }
    places = {
        name: {"", *(tag["id"] for tag in soup.find_all(id=True))}
        for name, soup in soups.items()
    }
    for name, soup in soups.items():
        for link in soup.find_all("a", href=re.compile(r"^(?!https:|mailto:)")):
            page, _, anchor = link["href"].partition("#")
            if unquote(anchor) not in places.get(page or name, ()):
                raise SiteError(f"{name}: the link to {link['href']} leads nowhere.")


def write_course_pages(folder: Path) -> None:
    """Write the game, and the explorer of what notebooks 04 and 10 train."""
    # Imported here, so that a mistake in a notebook is reported before torch is loaded.
    from explorer_page import write_explorer

    from ganlib.data import load_images

    data = load_images("mnist", fallback="digits")
    known = {"mnist": "MNIST", "digits": "the digits that come with scikit-learn"}
    networks = trained_generators(data)
    write_explorer(networks, folder / "explorer.html", data_name=known[data.name])
    write_game(folder)


def write_game(folder: Path) -> None:
    """Write game.html, which holds no weights: they begin at random in the browser."""
    write_live_page(folder / "game.html", "game.html.j2")


def trained_generators(data) -> tuple:
    """Return the generators of the course, from the cache or trained now."""
    from ganlib.checkpoint import load_or_train
    from ganlib.training import TrainConfig

    plain, _ = load_or_train(TrainConfig(), data.images)
    conditional, _ = load_or_train(TrainConfig(), data.images, data.labels)
    return plain, conditional


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    try:
        build_site(folder, write_course_pages)
    except SiteError as error:
        sys.exit(f"The site was not built. {error}")
    print(f"To read the course, open {folder / 'index.html'}")


if __name__ == "__main__":
    main()
