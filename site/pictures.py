"""Write the README's images: what cells of the notebooks have stored, none picked.

python site/pictures.py
"""

import base64
import io
import re
from pathlib import Path

import nbformat
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
# name of the file: the notebook, words that only one cell with an output has, and the
# part of a figure (left, top, right, bottom), in pixels
PICTURES = {
    "game.gif": ("00_the_game", "from ganlib.plots import film", None),
    "asked_digits.png": ("10_conditional_gan", "show_asked(G, table)", None),
    "outlines.png": ("11_cyclegan", "def strip(x, there, back)", (5, 205, 506, 361)),
}


def stored_picture(name: str) -> bytes:
    """Return the content of an image, a GIF or a PNG file."""
    notebook, words, part = PICTURES[name]
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", 4).cells
    (cell,) = (c for c in cells if words in c.source and c.get("outputs"))
    found = {}
    for output in cell.outputs:
        found |= output.get("data", {})
    if name.endswith(".gif"):  # inside the HTML, as nbformat has no place for GIFs
        found["image/gif"] = re.search(r"gif;base64,([^\"]+)", found["text/html"])[1]
    content = base64.b64decode(found[f"image/{name[-3:]}"])
    if part:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(content)).crop(part).save(buffer, "png")
        content = buffer.getvalue()
    return content


if __name__ == "__main__":
    for name in PICTURES:
        (NOTEBOOKS / "images" / name).write_bytes(stored_picture(name))
