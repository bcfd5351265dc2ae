"""HTML that cannot be broken by what stands in it.

1. Text is escaped where it becomes part of an element; only :class:`Markup` is taken as it is.
2. ``Markup`` comes from :func:`element` and :func:`joined` alone, and from constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "img", "path", "line", "rect", "polygon", "br"})
"""Elements that are written without an end: those of HTML, and empty ones of SVG."""

SELF_CLOSED = frozenset({"path", "line", "rect", "polygon"})
"""Those of SVG, which HTML closes by a slash."""

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: Attribute) -> Markup:
    """One element; children that are no :class:`Markup` are text.

    Args:
        name: of the element.
        children: text or markup; None is left out.
        attributes: a trailing underscore is dropped, and others become dashes; False and None are
            left out, True is an attribute without a value.
    """
    start = f"<{name}{''.join(attribute(*pair) for pair in attributes.items())}"
    if name in VOID:
        return Markup(f"{start}{'/' if name in SELF_CLOSED else ''}>")
    inside = "".join(text_of(child) for child in children if child is not None)
    return Markup(f"{start}>{inside}</{name}>")


def attribute(name: str, value: Attribute) -> str:
    """`` name="value"``, or nothing."""
    if value is None or value is False:
        return ""
    known = name.rstrip("_").replace("_", "-")
    known = "viewBox" if known == "viewbox" else known
    return f" {known}" if value is True else f' {known}="{escape(number(value))}"'


def number(value: str | float) -> str:
    """A coordinate with one decimal, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)


def text_of(child: str) -> str:
    """Markup as it is, text escaped."""
    return child if isinstance(child, Markup) else escape(child, quote=False)


def joined(parts: Iterable[str | None]) -> Markup:
    """Parts one after the other, text escaped."""
    return Markup("".join(text_of(part) for part in parts if part is not None))


def paragraph(text: str, class_: str | None = None) -> Markup:
    """A paragraph of text."""
    return element("p", text, class_=class_)


def listing(text: str, label: str) -> Markup:
    """A file's text, line by line, that can be scrolled."""
    return element("pre", element("code", text), tabindex=0, role="region", aria_label=label)


def folded(summary: str, *inside: str | None, open_: bool = False) -> Markup:
    """What opens on a click, and in print."""
    return element("details", element("summary", summary), *inside, open=open_)
