"""Scenario files with an ``[engine]``: read, changed by ``--set``, checked, made ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from experiments.config import _path_of, _place, _read
from experiments.overrides import apply_override, parse_override
from experiments.resolve import KeyedError
from experiments.sentences import ScenarioError, sentence

from .assemble import assembled
from .scenario import TokenScenario
from .schema import TokenSpec


def load_scenario(source: str | Path, overrides: Sequence[str] = ()) -> TokenScenario:
    """Read a scenario of a model that generates.

    Args:
        source: the path of a TOML file, or the name of a scenario that comes with the package.
        overrides: changes such as ``engine.max_num_seqs=64``, applied in their order.

    Raises:
        ScenarioError: the file, an override or something that they name is wrong.
    """
    path = _path_of(source)
    label = path.name if str(source) == path.stem else str(source)
    found = _read(path, label)
    changed = {apply_override(found, parse_override(text)): text for text in overrides}
    try:
        return assembled(_checked(found), path)
    except KeyedError as error:
        raise ScenarioError(f"{_place(label, error.key, changed)}: {error}") from error


def _checked(found: Mapping[str, Any]) -> TokenSpec:
    try:
        return TokenSpec.model_validate(found)
    except ValidationError as error:
        key, text = sentence(error, found)
        raise KeyedError(key, text) from error
