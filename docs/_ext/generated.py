"""Parts of pages that are made from the code: where a page says ``<!-- generated: NAME -->``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import commands
import rules
import scenario_keys
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
MADE: dict[str, Callable[[], str]] = {
    "commands": commands.markdown,
    "scenario": scenario_keys.markdown,
    "policies": rules.policies,
    "routers": rules.routers,
    "autoscalers": rules.autoscalers,
    "iterations": rules.iterations,
    "engine": scenario_keys.of_tokens,
}


def fill(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put what is made into a page that asks for it."""

    def made(place: re.Match[str]) -> str:
        if place[1] not in MADE:
            raise ExtensionError(f"{name}: {place[1]!r} is none of {', '.join(MADE)}")
        return MADE[place[1]]()

    source[0] = PLACE.sub(made, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx asks for this."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
