"""Formulas that need neither JavaScript nor a network: MathML, and a font for it."""

import base64
import unicodedata
from importlib.metadata import distribution
from io import BytesIO

from fontTools import subset
from fontTools.ttLib import TTFont
from math_core import LatexError, LatexToMathML

# Strict: an unknown command is an error here, not red text in the page.
CONVERTER = LatexToMathML(fancy_error=False)

# Roots, braces and bars grow with what they hold only in a font that knows how, and
# many phones and Linux systems have none. ziamath includes STIX Two Math (its license,
# OFL, allows embedding it); nothing else of ziamath is used.
FONT = distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")

# What a browser draws though no formula contains it: the signs of roots and bars,
# and for a single letter (x in MathML) its slanted form, a character of its own.
SIGNS = "√‾¯ˆ_{}()[]|‖ "
SLANTED = [chr(c) for c in (0x210E, *range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C))]


class SiteError(Exception):
    """The reason why the site cannot be built, in one sentence."""


def to_mathml(latex: str, *, display: bool) -> str:
    """Return a formula as MathML; ``display`` gives it a line of its own.

    Raises SiteError, which quotes the formula, when it cannot be converted.
    """
    try:
        mathml = CONVERTER.convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        cause = str(error).partition(": ")[2].rstrip(".") or str(error)
        raise SiteError(f"the formula ${latex.strip()}$: {cause}.") from None
    # math-core 0.9 draws \overline and \underline with a combining line (U+0332), which
    # strikes the letters through or vanishes: replace it with lines that stretch.
    mathml = mathml.replace("\u0332</mo></mover>", "\u203e</mo></mover>")
    return mathml.replace("\u0332</mo></munder>", "_</mo></munder>")


def math_font(characters: str) -> str:
    """Return a CSS rule that embeds the math font, cut down to these characters."""
    slanted = (c for c in SLANTED if unicodedata.normalize("NFKC", c) in characters)
    characters = "".join([characters, SIGNS, *slanted])
    options = subset.Options(flavor="woff", hinting=False, name_IDs=["*"])
    options.layout_features = ["ssty", "dtls", "flac"]  # indices, dots, flat accents
    with FONT.open("rb") as file:
        font = TTFont(file, recalcTimestamp=False)  # same input, same bytes
        narrow_roots(font)
        subsetter = subset.Subsetter(options)
        subsetter.populate(text=characters)
        subsetter.subset(font)
        font.flavor, small = options.flavor, BytesIO()
        font.save(small)
    data = base64.b64encode(small.getvalue()).decode()
    source = f"url(data:font/woff;base64,{data}) format('woff')"
    return f"@font-face {{ font-family: 'Course Math'; src: {source}; }}"


def narrow_roots(font: TTFont) -> None:
    """Give the root sign one width at all heights, the one of the lowest.

    Whichever sign it draws, Chromium leaves as much room as the widest needs, so that a
    gap follows each root.
    """
    variants, root = font["MATH"].table.MathVariants, font.getBestCmap()[ord("√")]
    place = variants.VertGlyphCoverage.glyphs.index(root)
    sizes = variants.VertGlyphConstruction[place]
    names = {size.VariantGlyph for size in sizes.MathGlyphVariantRecord}
    names |= {part.glyph for part in sizes.GlyphAssembly.PartRecords}
    width, _ = font["hmtx"][root]
    for name in names - {root}:
        glyph, (advance, left) = font["glyf"][name], font["hmtx"][name]
        glyph.coordinates.scale((width / advance, 1))
        glyph.coordinates.toInt()
        glyph.recalcBounds(font["glyf"])
        font["hmtx"][name] = (width, round(left * width / advance))
