r"""Formulas as SVG inside the page, drawn by matplotlib: nothing is fetched, none needs a script.

What ``matplotlib.mathtext`` knows can be written: fractions, roots, sums, Greek, ``\text``,
``\left(``; environments such as ``align`` cannot.  The colour is that of the text around it, and
a reader who listens hears the source.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxTranslator

logger = logging.getLogger(__name__)

FONT = FontProperties(size=100.0, math_fontfamily="stix")
SIZE = 1.1
"""Of a formula, in em of the text: Times looks small beside a sans serif."""
EDGE = 5.0
"""Room around a drawing, in hundredths of its em: letters lean out of their boxes."""
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
SPELLINGS = (
    (re.compile(r"\\(big|Big|bigg|Bigg)[lr]?(?![A-Za-z])"), ""),
    (re.compile(r"\\([lgn])e(?![A-Za-z])"), r"\\\1eq"),
    (re.compile(r"\\operatorname(?![A-Za-z])"), r"\\mathrm"),
)
"""What TeX spells in another way than matplotlib."""


class FormulaError(ValueError):
    """A formula that cannot be drawn."""


def svg_of(formula: str) -> str:
    """A formula as an SVG element that sits on the line of the text.

    Args:
        formula: without dollars.

    Raises:
        FormulaError: matplotlib does not know the formula.
    """
    text = f"${' '.join(formula.split())}$"
    for spelling, known in SPELLINGS:
        text = spelling.sub(known, text)
    try:
        box = MathTextParser("path").parse(text, dpi=72, prop=FONT)
        drawn = TextPath((0.0, 0.0), text, size=100.0, prop=FONT)
    except ValueError as error:
        raise FormulaError(f"matplotlib cannot draw {text}: {error}") from error
    wide, high, low = box.width + 2 * EDGE, box.height + 2 * EDGE, box.depth + EDGE
    width, height, depth = (SIZE * one / 100.0 for one in (wide, high, low))
    return (
        f'<svg role="img" aria-label="{escape(formula, quote=True)}" '
        f'viewBox="{-EDGE:g} {low - high:.1f} {wide:.1f} {high:.1f}" style="width:{width:.3f}em;'
        f'height:{height:.3f}em;vertical-align:{-depth:.3f}em">'
        f'<path fill="currentColor" d="{_outline(drawn)}"/></svg>'
    )


def _outline(drawn: Path) -> str:
    """A path as SVG writes it, with y downwards."""
    words = []
    for points, code in drawn.iter_segments(curves=True, simplify=False):
        if code == Path.CLOSEPOLY:
            words.append("Z")
            continue
        numbers = (f"{value:.1f}" for x, y in points.reshape(-1, 2) for value in (x, -y))
        words.append(LETTERS[code] + " ".join(numbers))
    return "".join(words)


def drawing_of(formula: str, node: nodes.Node) -> str:
    """A formula as SVG; its source and a warning where it cannot be drawn."""
    try:
        return svg_of(formula)
    except FormulaError as error:
        logger.warning("%s", error, location=node)
        return f"<code>{escape(formula)}</code>"


def inline(translator: SphinxTranslator, node: nodes.math) -> None:
    """A formula in a sentence."""
    translator.body.append(f'<span class="math">{drawing_of(node.astext(), node)}</span>')
    raise nodes.SkipNode


def block(translator: SphinxTranslator, node: nodes.math_block) -> None:
    """A formula on lines of its own: each line is drawn."""
    lines = [line for line in re.split(r"\\\\|\n\s*\n", node.astext()) if line.strip()]
    drawn = "<br>".join(drawing_of(line, node) for line in lines)
    translator.body.append(f'<div class="math">{drawn}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx asks for this."""
    app.add_html_math_renderer("mathtext", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
