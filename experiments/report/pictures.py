"""Figures that a run has as files, and that no table of numbers could draw again."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from .elements import Markup, element, folded, paragraph

MOST_BYTES = 420_000
"""Of all pictures of a run: they grow by a third in the page."""


def pictures(folder: Path | None, names: Mapping[str, str]) -> Markup | None:
    """Pictures of a run by the stem of their file, as long as there is room; None without any.

    Of SVG and PNG the smaller one is taken.
    """
    if folder is None:
        return None
    left, shown, missing = MOST_BYTES, [], []
    for stem, title in names.items():
        files = [folder / f"{stem}.{kind}" for kind in ("svg", "png")]
        there = sorted((p for p in files if p.is_file()), key=lambda p: p.stat().st_size)
        if not there:
            continue
        if there[0].stat().st_size > left:
            missing.append(there[0].name)
            continue
        left -= there[0].stat().st_size
        shown.append(picture(there[0], title))
    if not shown:
        return None
    note = f"Too large for this page, and in the run's folder: {', '.join(missing)}."
    return folded("More figures", element("div", *shown, class_="pictures"),
                  paragraph(note, "note") if missing else None)  # fmt: skip


def picture(path: Path, title: str) -> Markup:
    """A file inside the page."""
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    data = b64encode(path.read_bytes()).decode()
    return element("figure", element("img", src=f"data:image/{kind};base64,{data}", alt=title))
