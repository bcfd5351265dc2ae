"""YAML files of stacks, read as tables."""

from __future__ import annotations

from typing import Any

from .contract import ForeignFileError


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
    if not isinstance(found, dict):
        raise ForeignFileError(f"{name}: it must hold a mapping from keys to values")
    return found
