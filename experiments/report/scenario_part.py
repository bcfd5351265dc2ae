"""The scenario of a run, what it was made with, and the files that came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.export.toml_text import key_toml, value_toml
from experiments.plain import dumps
from experiments.wording import joined as listed

from .amounts import Facts, count, rate
from .elements import Markup, element, folded, joined, listing, paragraph
from .found import Run, exports_of, winner_of
from .tables import facts

LONGEST = 2000
"""Characters of a line of the scenario that are shown."""


def scenario_part(run: Run) -> Markup | None:
    """What was run, in words, and every key of it."""
    if not run.manifest:
        return None
    keys = "\n".join(key_lines(run.manifest.get("scenario") or {}))
    return joined([
        element("h3", "Scenario"),
        facts(told(run), "scenario"),
        folded("Every key of the scenario", listing(keys, "scenario")),
    ])  # fmt: skip


def told(run: Run) -> dict[str, str | None]:
    """The facts that a reader asks for first."""
    scenario, about = run.manifest.get("scenario") or {}, run.about
    profile = run.manifest.get("profile") or {}
    workload = scenario.get("workload") or {}
    offered, load = about.get("offered_rate_per_s"), about.get("load")
    seeds = about.get("seeds") or run.manifest.get("seeds") or {}
    replications = about.get("replications") or 1
    times = f" in each of {replications} replications" if replications > 1 else ""
    return {
        "Service": about.get("service"),
        "Device": profile.get("device"),
        "Profile": listed([str(profile[k]) for k in ("name", "source") if profile.get(k)]),
        "Noise": profile.get("noise"),
        "Arrivals": arrivals(workload, offered, load),
        "Lengths": None if not workload.get("lengths") else pairs(workload["lengths"]),
        "Prompts": None if not workload.get("prompts") else pairs(workload["prompts"]),
        "Outputs": None if not workload.get("outputs") else pairs(workload["outputs"]),
        "Tiers": listed([tier(one) for one in workload.get("tiers") or ()]),
        "Requests": f"{count(about['requests'])}{times}" if "requests" in about else None,
        "Seeds": ", ".join(f"{name} {seed}" for name, seed in seeds.items()),
        "Hash": run.manifest.get("hash"),
    }


def arrivals(workload: Facts, offered: float | None, load: float | None) -> str:
    """``poisson, 2,348 requests/s, load 0.60``."""
    own = [one["arrivals"] for one in workload.get("tiers") or () if one.get("arrivals")]
    tables = [workload["arrivals"]] if workload.get("arrivals") else own
    parts = list(dict.fromkeys(str(one.get("process")) for one in tables))
    parts += [] if offered is None else [f"{rate(offered)} requests/s"]
    parts += [] if load is None else [f"load {load:.2f}"]
    return ", ".join(parts)


def tier(one: Facts) -> str:
    """``interactive (p99 <= 20 ms)``."""
    slo = one.get("slo") or {}
    if not slo:
        return str(one.get("name"))
    if "ms" in slo:
        return f"{one.get('name')} (p{slo['percentile']:g} <= {slo['ms']:g} ms)"
    words = {"ttft_ms": "first token", "tpot_ms": "each after it", "latency_ms": "all"}
    limits = [f"{said} <= {slo[key]:g} ms" for key, said in words.items() if key in slo]
    return f"{one.get('name')} ({', '.join(limits)} for {slo['percentile']:g} %)"


def pairs(table: Facts) -> str:
    """``distribution lognormal, median 64``; a nested table in braces."""
    words = {key: value for key, value in table.items() if isinstance(value, str)}
    parts = [f"{key} {value}" for key, value in words.items()]
    parts += [f"{key} {inline(value)}" for key, value in table.items() if key not in words]
    return ", ".join(parts)[:LONGEST]


def key_lines(table: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Every key with its value, a line each, as ``--set`` takes it and TOML reads it."""
    for key, value in table.items():
        name = f"{before}{key_toml(str(key))}"
        if isinstance(value, Mapping) and value:
            yield from key_lines(value, f"{name}.")
        elif value is not None:
            text = f"{name} = {inline(value)}"
            yield text if len(text) <= LONGEST else f"{text[:LONGEST]}... # shortened"


def inline(value: Any) -> str:
    """A value as TOML writes it, tables in braces."""
    if isinstance(value, Mapping):
        parts = (f"{key_toml(str(k))} = {inline(v)}" for k, v in value.items() if v is not None)
        return f"{{ {', '.join(parts)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(inline, value))}]"
    return value_toml(value)


def files_part(run: Run) -> Markup | None:
    """The winner, and what was exported, with their text."""
    if run.folder is None:
        return None
    parts: list[Markup] = []
    winner = winner_of(run.folder)
    if winner is not None:
        parts.append(element("h3", "The winner, for a scenario file"))
        parts.append(folded(winner.name, listing(winner.text, winner.name), open_=True))
    exports = exports_of(run.folder)
    if exports:
        parts.append(element("h3", "Exported files"))
    for stack, files in exports.items():
        parts.append(paragraph(f"{stack}: {listed([file.name for file in files])}", "what"))
        parts += [folded(file.name, listing(file.text, file.name), open_=len(files) == 1)
                  for file in files]  # fmt: skip
    return joined(parts) if parts else None


def manifest_part(run: Run) -> Markup | None:
    """How to repeat the run: when, with what, on which machine, and the manifest whole."""
    if not run.manifest:
        return None
    manifest = run.manifest
    machine, known = manifest.get("machine") or {}, manifest.get("versions") or {}
    command = manifest.get("command_line") or ()
    about = {
        "Command": " ".join(map(str, command)),
        "Started": manifest.get("started"),
        "Finished": manifest.get("finished"),
        "Status": manifest.get("status"),
        "Versions": ", ".join(f"{name} {version}" for name, version in known.items()),
        "Machine": ", ".join(f"{value} {name}" if name == "cpus" else str(value)
                             for name, value in machine.items() if value is not None),
        "Scenario file": manifest.get("path"),
    }  # fmt: skip
    return joined([
        element("h3", "Manifest"),
        facts(about, "manifest"),
        folded("manifest.json", listing(dumps(manifest), "manifest.json")),
    ])  # fmt: skip
