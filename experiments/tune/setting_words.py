"""A judged setting in words: its policy with the numbers, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.wording import joined, with_interval

if TYPE_CHECKING:
    from .goal import Measure
    from .judging import Judged


def said(one: Judged) -> str:
    """``size_or_timeout with max_batch_size 12, max_wait 0.5 ms``."""
    table = one.setting.table
    parts = [f"{name(key)} {value(key, v)}" for key, v in table.items() if key != "kind"]
    if str(table["kind"]) == "optimal":
        parts = ["the table of the semi-Markov optimum"]
    servers = one.setting.servers
    if servers > 1:
        parts.append(f"{servers} servers")
    return str(table["kind"]) + (f" with {', '.join(parts)}" if parts else "")


def name(key: str) -> str:
    """A key without its unit, which stands behind the value."""
    return key.removesuffix("_ms")


def value(key: str, given: object) -> str:
    """A parameter's value with its unit."""
    unit = " ms" if key.endswith("_ms") else ""
    if isinstance(given, list | tuple):
        return f"[{', '.join(f'{item:g}' for item in given)}]{unit}"
    return f"{given:g}{unit}" if isinstance(given, int | float) else f"{given}{unit}"


def figures(one: Judged, objectives: Sequence[Measure]) -> str:
    """``p99 8.87 ± 0.05 ms and busy share 0.91 ± 0.01``."""
    parts = []
    for measure, estimate in zip(objectives, one.worth, strict=True):
        unit = f" {measure.word.unit}" if measure.word.unit else ""
        parts.append(f"{measure.title} {with_interval(estimate)}{unit}")
    return joined(parts)
