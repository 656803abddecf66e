"""A notebook, or a piece of Markdown, as HTML that holds everything it needs."""

import base64
import mimetypes
import re
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import nbformat
from bs4 import BeautifulSoup, Tag
from formulas import SiteError, to_mathml
from jinja2 import pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).parent
# Pages of the site, not of the repository.
OWN_PAGES = {"index.html", "explorer.html", "game.html"}
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/gif", "image/png", "image/jpeg")
SHOWN = {WIDGET, *PICTURES, "text/plain"}
ACTIVE = ["script", "style", "link", "iframe", "object", "embed", "form"]
FILM = re.compile(r'data:image/gif;base64,([^"]+)".* width="(\d+)"')  # of plots.film
LOOK = "**What to look for:**"


class Page(NamedTuple):
    """What a notebook, or a piece of Markdown, becomes."""

    title: str  # the text of the one h1
    heading: str  # the h1
    sections: list[tuple[str, str]]  # anchor and HTML of each h2
    body: str  # all that follows the h1
    math: str  # every character of its formulas


# --- Markdown


class CourseRenderer(IPythonRenderer):
    """nbconvert's renderer, with MathML where it leaves formulas to a script."""

    def __init__(self, **options):
        super().__init__(escape=False, exclude_anchor_links=True, **options)

    def inline_math(self, body: str) -> str:
        return to_mathml(body, display=False)

    def block_math(self, body: str) -> str:
        # A span, since it is inside a paragraph; it scrolls on a narrow screen.
        return f'<span class="formula">{to_mathml(body, display=True)}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")


def markdown_to_html(source: str, attachments: dict | None = None) -> str:
    renderer = CourseRenderer(attachments=attachments)
    return MarkdownWithMath(renderer=renderer).render(source)


class CellsExporter(HTMLExporter):
    """nbconvert's exporter with our cells.html.j2: the cells, and no page around."""

    @pass_context
    def markdown2html(self, context, source):
        return markdown_to_html(source, context["cell"].get("attachments"))


# --- one notebook


def notebook_page(path: Path, pages: dict[Path, str]) -> Page:
    """Return the page of a notebook, from its stored outputs.

    ``pages`` maps each file that has a page to the page's name.

    Raises SiteError, naming the notebook, for what a page cannot show.
    """
    try:
        notebook = nbformat.read(path, 4)
        check_outputs(notebook)
        unpack_films(notebook)
        describe_figures(notebook)
        exporter = CellsExporter(template_file=str(HERE / "cells.html.j2"))
        html, _ = exporter.from_notebook_node(notebook)
        return finished_page(html, path, pages)
    except (SiteError, nbformat.reader.NotJSONError) as error:
        raise SiteError(f"{path.name}: {error}") from None


def check_outputs(notebook: NotebookNode) -> None:
    """Raise an error for outputs that readers should not see, or pages cannot show."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise SiteError(f"cell {number} ended in an error; run it again.")
            if output.get("name") == "stderr":
                raise SiteError(f"cell {number} wrote to stderr; run it again.")
            if output.output_type != "stream" and not SHOWN & set(output.data):
                kinds = ", ".join(output.data) or "nothing"
                raise SiteError(f"cell {number} shows {kinds}, which no page can show.")


def unpack_films(notebook: NotebookNode) -> None:
    """Take the GIF and its width out of a film's HTML, to replace the PNG."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if film := FILM.search(output.get("data", {}).get("text/html", "")):
                output.data["image/gif"], output.metadata["width"] = film.groups()


def describe_figures(notebook: NotebookNode) -> None:
    """Give every figure an alt text: the first sentence on what to look for."""
    for i, cell in enumerate(notebook.cells):
        outputs = [o for o in cell.get("outputs", []) if has_figure(o)]
        if not outputs:
            continue
        after = [c.source for c in notebook.cells[i + 1 :] if c.cell_type == "markdown"]
        if not after or not after[0].startswith(LOOK):
            raise SiteError(
                f"cell {i + 1} draws a figure, and no text after it begins with "
                f"{LOOK}; its alt text would come from there."
            )
        for output in outputs:
            output.metadata["alt"] = first_sentence(after[0])


def has_figure(output: NotebookNode) -> bool:
    return bool(set(PICTURES) & set(output.get("data", {})))


def first_sentence(source: str) -> str:
    """Return the first sentence after "What to look for:", without any markup."""
    html = markdown_to_html(source.removeprefix(LOOK))
    text = " ".join(BeautifulSoup(html, "html.parser").p.get_text().split())
    sentence = re.match(r".+?[.!?](?= |$)|.*", text)[0]
    return sentence[:1].upper() + sentence[1:]


# --- what has to be done to all HTML


def finished_page(html: str, source: Path, pages: dict[Path, str]) -> Page:
    """Return the page of this HTML, which came from the file ``source``."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(ACTIVE):
        raise SiteError(f"<{tag.name}> has no place in a page: remove it.")
    fix_links(soup, source, pages)
    embed_images(soup, source)
    for table in soup.find_all("table"):  # scrolls by itself on a narrow screen
        table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
    number_headings(soup)
    heading = only_title(soup).extract()
    sections = [(quote(h["id"]), h.decode_contents()) for h in soup.find_all("h2")]
    math = "".join(sorted({c for m in soup.find_all("math") for c in m.get_text()}))
    return Page(heading.get_text(), str(heading), sections, str(soup).strip(), math)


def fix_links(soup: BeautifulSoup, source: Path, pages: dict[Path, str]) -> None:
    """Point links between notebooks to their pages; turn the others into plain text."""
    for link in soup.find_all("a", href=True):
        address, _, anchor = link["href"].partition("#")
        if address in {"", *OWN_PAGES} or address.startswith(("https://", "mailto:")):
            continue
        file = (source.parent / unquote(address)).resolve()
        if file in pages:
            link["href"] = pages[file] + (f"#{anchor}" if anchor else "")
        elif file.exists():  # in the repository, but with no page of its own
            if file.name not in link.get_text():
                link.append(f" ({file.name})")
            link.unwrap()
        else:
            raise SiteError(f"the link to {link['href']} leads nowhere.")


def embed_images(soup: BeautifulSoup, source: Path) -> None:
    """Put every image into the page, and check that it has an alt text."""
    for image in soup.find_all("img"):
        address = unquote(image.get("src", ""))
        if not address.startswith("data:"):
            image["src"] = as_data(source.parent / address, address)
        alt = image.get("alt", "").strip()
        if not alt or alt.startswith("No description has been provided"):
            raise SiteError(f"the image {address[:60]} has no alt text.")
        content = base64.b64decode(image["src"].partition(",")[2])
        width, height = Image.open(BytesIO(content)).size
        image["width"], image["height"] = str(width), str(height)


def as_data(file: Path, address: str) -> str:
    if not file.is_file():
        raise SiteError(f"the image {address} is missing.")
    kind = mimetypes.guess_type(file.name)[0]
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def number_headings(soup: BeautifulSoup) -> None:
    """Give each heading an id, the one that JupyterLab gives it."""
    taken = {"main"}
    for heading in soup.find_all(re.compile("^h[1-6]$")):
        anchor = plain = re.sub(r"\s+", "-", heading.get_text().strip())
        while anchor in taken:
            anchor += f"-{plain}"
        taken.add(anchor)
        heading["id"] = anchor


def only_title(soup: BeautifulSoup) -> Tag:
    """Return the h1."""
    titles = soup.find_all("h1")
    if len(titles) != 1:
        raise SiteError(f"a page has one heading with one #, not {len(titles)}.")
    return titles[0]
