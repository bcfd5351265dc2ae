"""Scenario files: read, changed by ``--set``, checked, and made ready to run.

1. A file is TOML; decimals stay exact until they are nanoseconds.
2. Overrides are applied before anything is checked, so that they can repair and break like the
   file itself.
3. Whatever is wrong is one :class:`ScenarioError`: a sentence with file, key, value and what would
   be right.
4. ``load`` is the offered rate as a share of ``servers / E[min_k S(k, length) / k]``, the rate at
   which every batch has the most efficient size and nothing is padded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .assemble import assembled
from .overrides import TOO_MUCH, apply_override, parse_override, parse_range
from .places import at_home, is_file, is_folder
from .resolve import KeyedError
from .scenario import Scenario
from .schema import Spec
from .sentences import ScenarioError, nearest, sentence

SHIPPED = Path(__file__).parent / "scenarios"

SHIPPED_FOR_TOKENS = Path(__file__).parent / "iteration" / "scenarios"
"""Those of models that generate; :mod:`experiments.iteration` reads them."""

ALL_NAMES = "`batchwright scenarios` lists the names"

__all__ = [
    "Scenario",
    "ScenarioError",
    "is_for_tokens",
    "load_scenario",
    "parse_override",
    "parse_range",
    "scenario_names",
    "token_scenario_names",
]


def scenario_names() -> list[str]:
    """Names of the scenarios that come with the package, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def token_scenario_names() -> list[str]:
    """Names of the scenarios of models that generate, sorted."""
    return sorted(path.stem for path in SHIPPED_FOR_TOKENS.glob("*.toml"))


def load_scenario(source: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Args:
        source: the path of a TOML file, or the name of a scenario that comes with the package.
        overrides: changes such as ``workload.requests=1000000``, applied in their order.

    Raises:
        ScenarioError: the file, an override or something that they name is wrong.
    """
    path = _path_of(source)
    label = path.name if path.parent == SHIPPED else str(source)
    content = _read(path, label)
    if "engine" in content and "service" not in content:
        raise ScenarioError(
            f"{label} has an [engine]: a model that generates, token by token; simulate, compare, "
            "sweep, tune, capacity, diagnose, validate, export and report take it"
        )
    changed = {apply_override(content, parse_override(text)): text for text in overrides}
    try:
        return assembled(_checked(content), path)
    except KeyedError as error:
        place = _place(label, error.key, changed)
        raise ScenarioError(f"{place}: {error}") from error


def is_for_tokens(source: str | Path) -> bool:
    """Whether a scenario file is of a model that generates: it has a table ``[engine]``.

    What cannot be read is not; the command that reads it says why.
    """
    try:
        path = _path_of(source)
        found = _read(path, str(source))
    except ScenarioError:
        return False
    return "engine" in found and "service" not in found


def _path_of(source: str | Path) -> Path:
    names = scenario_names() + token_scenario_names()
    if str(source) in names:
        folder = SHIPPED_FOR_TOKENS if str(source) in token_scenario_names() else SHIPPED
        return folder / f"{source}.toml"
    path = at_home(source)
    if is_file(path):
        return path
    if is_folder(path):
        raise ScenarioError(f"{source} is a folder; give a TOML file or a name; {ALL_NAMES}")
    near = nearest(str(source), names)
    hint = f"did you mean {near}?" if near else ALL_NAMES
    if not near and path.suffix == ".toml":
        hint = f"{ALL_NAMES}, and `batchwright init {source}` writes one"
    raise ScenarioError(f"there is no file or scenario {str(source)!r}; {hint}")


def _read(path: Path, label: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{label} is not text in UTF-8, as TOML has to be") from error
    except OSError as error:
        raise ScenarioError(f"{label} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{label} is not TOML: {error}") from error
    except (ValueError, ArithmeticError, RecursionError) as error:  # a number without end
        raise ScenarioError(f"{label} is not read: {TOO_MUCH}") from error


def _place(label: str, key: str, changed: Mapping[tuple[str, ...], str]) -> str:
    """File, and the override that the key comes from, if it does."""
    parts = tuple(key.split("."))
    table = parts[:-1]
    for overridden, text in reversed(list(changed.items())):
        shared = min(len(parts), len(overridden))
        same_table = len(table) > 1 and table == overridden[:-1]
        if key and (parts[:shared] == overridden[:shared] or same_table):
            return f"{label}, --set {text}"
    return label


def _checked(content: Mapping[str, Any]) -> Spec:
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        key, text = sentence(error, content)
        raise KeyedError(key, text) from error
