"""A run made into its scenario again: from what the manifest keeps of it.

1. Numbers come back as they were written: 2.35 is exactly 2.35.
2. Profile, trace and histogram files are looked up again.  Where they have changed since, the hash
   of the scenario differs, and the run is refused: its figures are about something else.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .runs import MANIFEST, RESULT, RunError

if TYPE_CHECKING:
    from .scenario import Scenario

INFINITE = "inf"
"""How JSON files of a run write an endless time."""


def run_name(folder: Path) -> str:
    """``<scenario>/<command>-<n>``, as messages and files call a run."""
    whole = folder.resolve()
    return f"{whole.parent.name}/{whole.name}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is needed to repeat a run; numbers with a point are exact decimals.

    Raises:
        RunError: it is missing or no JSON object.
    """
    return _read(folder, MANIFEST)


def read_result(folder: Path) -> dict[str, Any]:
    """What a run found; numbers with a point are exact decimals.

    Raises:
        RunError: it is missing or no JSON object.
    """
    return _read(folder, RESULT)


def scenario_of_run(folder: Path) -> Scenario:
    """The scenario that a run was made of, with its overrides.

    Args:
        folder: of the run, as :func:`experiments.runs.resolve_run` gives it.

    Raises:
        RunError: the manifest is damaged, or what the scenario names has changed or gone since.
    """
    from pydantic import ValidationError

    from .assemble import assembled
    from .resolve import KeyedError
    from .schema import Spec
    from .sentences import sentence

    manifest = read_manifest(folder)
    for key in ("scenario", "path", "hash"):
        if key not in manifest:
            raise _damaged(folder, MANIFEST, f"has no {key}")
    content = exact(manifest["scenario"])
    try:
        scenario = assembled(Spec.model_validate(content), Path(manifest["path"]))
    except ValidationError as error:
        _, text = sentence(error, content)
        raise _damaged(folder, MANIFEST, f"holds no scenario: {text}") from error
    except KeyedError as error:
        raise RunError(
            f"run {run_name(folder)} cannot be read back: {error}; run it again"
        ) from error
    if scenario.hash != manifest["hash"]:
        raise RunError(
            f"run {run_name(folder)} was made of other data: the hash of its scenario was "
            f"{manifest['hash'][:12]} and is {scenario.hash[:12]} now, so that a profile, a trace "
            "or a default has changed since; run it again"
        )
    return scenario


def exact(value: Any, key: str = "") -> Any:
    """A JSON value as a scenario file would give it: ``inf`` of a time becomes a number."""
    if isinstance(value, dict):
        return {name: exact(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item, key) for item in value]
    if value == INFINITE and (key == "ms" or key.endswith("_ms")):
        return Decimal(INFINITE)
    return value


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError as error:
        raise RunError(
            f"run {run_name(folder)} has no {name}: it was not finished{_go_on(folder, name)}"
        ) from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, name, f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _damaged(folder, name, "is no JSON object")
    return found


def _go_on(folder: Path, name: str) -> str:
    """How to finish a run: only a tuning has a manifest before it has a result."""
    if name == RESULT and _read(folder, MANIFEST).get("command") == "tune":
        return f"; go on with: batchwright tune {folder} --resume"
    return ""


def _damaged(folder: Path, name: str, how: str) -> RunError:
    return RunError(f"run {run_name(folder)} is damaged: {name} {how}")
