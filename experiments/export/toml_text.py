"""A policy as the table that is pasted into a scenario file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def policy_toml(name: str, table: Mapping[str, Any]) -> str:
    """``[policies.NAME]`` with its keys, one a line."""
    lines = [f"{key} = {value_toml(value)}" for key, value in table.items()]
    return "\n".join([f"[policies.{key_toml(name)}]", *lines]) + "\n"


def key_toml(name: str) -> str:
    """A key, in quotes where TOML wants them."""
    return name if BARE_KEY.fullmatch(name) else value_toml(name)


def value_toml(value: Any) -> str:
    """A value as TOML writes it; decimals exactly, with digits and a point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(value_toml(item) for item in value)}]"
    if isinstance(value, Decimal) and value.is_finite():
        text = f"{value:f}"
        return text if "." in text else f"{text}.0"
    return "inf" if isinstance(value, Decimal) else str(value)
