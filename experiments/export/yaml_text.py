"""YAML files of stacks, read as tables."""

from __future__ import annotations

from typing import Any

from .contract import ForeignFileError

MOST_VALUES = 100_000
"""A deployment has some hundreds; aliases of aliases may be without end."""


def unfolded(tree: Any) -> int:
    """How many values there are where every alias is written out; stops above ``MOST_VALUES``."""
    count, waiting = 0, [tree]
    while waiting and count <= MOST_VALUES:
        here = waiting.pop()
        count += 1
        if isinstance(here, dict):
            waiting.extend(here.values())
        elif isinstance(here, list | tuple | set):
            waiting.extend(here)
    return count


def yaml_table(name: str, text: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        name: of the file, for sentences.
        text: what it holds.

    Raises:
        ForeignFileError: it is not YAML, or something else than a mapping.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark is not None else name
        raise ForeignFileError(f"{where}: it is not YAML") from error
    except (ValueError, RecursionError) as error:  # no date, or nested hundreds deep
        raise ForeignFileError(f"{name}: a value of it is none: {error}") from error
    if unfolded(found) > MOST_VALUES:
        raise ForeignFileError(f"{name}: its aliases unfold to more than {MOST_VALUES:,} values")
    if not isinstance(found, dict):
        raise ForeignFileError(f"{name}: it must hold a mapping from keys to values")
    return found
