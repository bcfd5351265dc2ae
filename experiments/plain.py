"""Results as plain JSON: numbers, text, lists and objects, and never a NaN."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

NO_TEXT = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes of a file's name that are no UTF-8."""


def plain(value: object) -> Any:
    """A value made of JSON's own types: numpy becomes lists and numbers, NaN and infinity null."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    to_list = getattr(value, "tolist", None)  # numpy arrays and scalars
    if to_list is not None:
        return plain(to_list())
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: object, *, indent: int | None = 2) -> str:
    """JSON text of a value, ending in a newline; what is no text in a file's name is escaped."""
    told = plain(value)
    text = json.dumps(told, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    if NO_TEXT.search(text):
        text = json.dumps(told, indent=indent, allow_nan=False) + "\n"
    return text
