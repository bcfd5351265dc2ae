"""What a user's own model is called: as its file, or as the folder around it."""

from __future__ import annotations

from pathlib import Path

SAYS_NOTHING = ("model", "config", "onnx")
"""Names that every exported model has: then the folder around says which it is."""


def own_name(path: Path) -> str:
    """The nearest name that says something, from a file or folder outwards."""
    place = path.resolve()
    inner = place.name if place.is_dir() else place.stem
    names = (inner, *(parent.name for parent in place.parents))
    return next((name for name in names if name and name not in SAYS_NOTHING), "model")
