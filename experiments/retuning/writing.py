"""A scenario with other traffic, and maybe other times, written as files of a folder.

1. Everything that the traffic does not say stays as it was; files that the scenario names are found
   from their absolute path.
2. What is written is what is loaded: the folder is all that the run needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from experiments.assemble import assembled
from experiments.config import load_scenario
from experiments.export.toml_text import key_toml, value_toml
from experiments.overrides import apply_override, parse_override
from experiments.resolve import KeyedError, located, place_of
from experiments.runs import write_atomic
from experiments.scenario import Scenario
from experiments.schema import Spec
from experiments.sentences import ScenarioError, sentence
from experiments.starting.plan import REQUESTS
from experiments.starting.text import comment
from experiments.tables import Table

from .times import Ratio, scaled
from .traffic import Traffic

FILE = "recorded.toml"


def check_base(base: Scenario) -> None:
    """Refuse what no record can stand for.

    Raises:
        ScenarioError: a tier is a backlog.
    """
    if base.workload.backlogs:
        name = next(tier.name for tier in base.tiers if tier.backlog)
        raise ScenarioError(
            f"scenario {base.name}: tier {name} is a backlog that is always there, which no record "
            "tells; give a scenario whose tiers arrive"
        )


def overridden(base: Scenario, overrides: Sequence[str]) -> Scenario:
    """A scenario of a run with keys of it changed, as ``--set`` changes those of a file.

    Raises:
        ScenarioError: an override is wrong.
    """
    if not overrides:
        return base
    keys = given(base.spec)
    for text in overrides:
        apply_override(keys, parse_override(text))
    try:
        return replace(assembled(Spec.model_validate(keys), base.path), name=base.name)
    except ValidationError as error:
        raise ScenarioError(f"{base.name}: {sentence(error, keys)[1]}") from error
    except KeyedError as error:
        raise ScenarioError(f"{base.name}: {error}") from error


def written(
    base: Scenario,
    traffic: Traffic,
    ratio: Ratio | None,
    folder: Path,
    told: Sequence[str],
    policies: Mapping[str, Mapping[str, Any]],
) -> Scenario:
    """Write a scenario and what stands beside it, and load it.

    Args:
        base: whose traffic is replaced.
        traffic: by what.
        ratio: by which times are multiplied; None: they stay.
        folder: is there.
        told: sentences for its head: where the traffic comes from, and what was found.
        policies: more of them, by name.

    Raises:
        ScenarioError: the traffic does not fit the scenario.
        OSError: a file cannot be written.
    """
    keys = given(base.spec)
    keys["name"] = base.name
    _with_absolute_paths(keys, base.path.parent)
    keys["workload"] = _workload(keys["workload"], traffic, len(base.tiers))
    keys["policies"] = {**keys["policies"], **{k: dict(v) for k, v in policies.items()}}
    if ratio is not None:
        scaled(keys["service"], base, ratio, folder)
    for name, text in traffic.files.items():
        write_atomic(folder / name, text)
    path = folder / FILE
    write_atomic(path, toml(keys, told))
    try:
        return load_scenario(path)
    except ScenarioError as error:
        raise ScenarioError(str(error).replace(f"{path}: ", f"{told[0]} ")) from error


def _workload(before: Mapping[str, Any], traffic: Traffic, count: int) -> dict[str, Any]:
    keys = {key: value for key, value in before.items() if key != "arrivals"}
    keys["arrivals"] = traffic.arrivals
    if traffic.replays:
        keys.pop("requests", None)
        keys.pop("duration_s", None)
    elif not {"requests", "duration_s"} & keys.keys():
        keys["requests"] = REQUESTS
    if traffic.lengths is not None:
        keys["lengths"] = traffic.lengths
    if "tiers" not in keys:
        return keys
    tiers = [{k: v for k, v in tier.items() if k != "arrivals"} for tier in keys["tiers"]]
    for place in range(count):
        if traffic.shares:
            tiers[place]["share"] = traffic.shares[place]
        if traffic.of_tiers[place] is not None:
            tiers[place]["lengths"] = traffic.of_tiers[place]
        elif traffic.lengths is not None:
            tiers[place].pop("lengths", None)
    return {**keys, "tiers": tiers}


def _with_absolute_paths(keys: dict[str, Any], folder: Path) -> None:
    """Files that a scenario names beside itself, from anywhere."""

    def absolute(found: Path) -> str:
        return str(found.resolve())

    service = keys["service"]
    for table in (service, *(service.get("cluster", {}).get("others") or ())):
        place = place_of(table["profile"], folder) if "profile" in table else None
        if isinstance(place, Path):
            table["profile"] = absolute(place)
    parts = [keys["workload"], *(keys["workload"].get("tiers") or ())]
    for lengths in [part["lengths"] for part in parts if "lengths" in part]:
        beside = lengths.get("histogram")
        if beside is not None and (folder / beside).is_file():
            lengths["histogram"] = absolute(located(beside, folder))


def given(value: Any) -> Any:
    """Tables as a file would have them: what was given, without defaults."""
    if isinstance(value, Table):
        keys = [key for key in type(value).model_fields if key in value.model_fields_set]
        return {key: given(getattr(value, key)) for key in keys if getattr(value, key) is not None}
    if isinstance(value, Mapping):
        return {key: given(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [given(item) for item in value]
    return value


def toml(keys: Mapping[str, Any], told: Sequence[str]) -> str:
    """A scenario's text, with what is to be said as comments at its head."""
    lines = [line for sentence in told for line in comment(sentence)]
    lines += [f"{key} = {value(item)}" for key, item in keys.items() if not _is_table(item)]
    for name, table in keys.items():
        if name == "policies":
            for policy, rule in table.items():
                lines += ["", f"[policies.{key_toml(policy)}]", *_lines(rule)]
        elif _is_table(table):
            lines += ["", f"[{name}]", *_lines(table)]
    return "\n".join(lines) + "\n"


def _is_table(item: Any) -> bool:
    return isinstance(item, Mapping)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key_toml(key)} = {value(item)}" for key, item in table.items()]


def value(item: Any) -> str:
    """A value on one line, tables included."""
    if isinstance(item, Mapping):
        return f"{{ {', '.join(_lines(item))} }}"
    if isinstance(item, list | tuple):
        return f"[{', '.join(map(value, item))}]"
    return value_toml(item)


__all__ = ["FILE", "check_base", "given", "overridden", "toml", "written"]
