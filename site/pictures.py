"""Write the README's pictures: what cells of the notebooks have stored, none picked.

python site/pictures.py
"""

import base64
import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
# name of the file: the notebook, and words that only one cell with an output has
PICTURES = {
    "game.gif": ("00_the_game", "from ganlib.plots import film"),
    "asked_digits.png": ("10_conditional_gan", "show_asked(G, table)"),
    "outlines.png": ("11_cyclegan", "def strip(x, there, back)"),
}


def stored_picture(name: str) -> bytes:
    """Return the content of a picture, a GIF or a PNG file."""
    notebook, words = PICTURES[name]
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", 4).cells
    (cell,) = (cell for cell in cells if words in cell.source and cell.get("outputs"))
    found = {}
    for output in cell.outputs:
        found |= output.get("data", {})
    if name.endswith(".gif"):  # inside the HTML, as nbformat has no place for GIFs
        found["image/gif"] = re.search(r"gif;base64,([^\"]+)", found["text/html"])[1]
    return base64.b64decode(found[f"image/{name[-3:]}"])


if __name__ == "__main__":
    for name in PICTURES:
        (NOTEBOOKS / "images" / name).write_bytes(stored_picture(name))
