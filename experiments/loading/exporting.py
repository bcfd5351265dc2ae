"""The requests of a window for another tool: the same instants, lengths and tiers, as files.

1. ``plan.json`` has a row for each request: ms from the beginning, length, place of its tier,
   patience in microseconds (0: any).
2. ``about.json`` says where they go and what a request is made of.
3. The script is the same for every scenario; it reads both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from experiments.runs import write_atomic
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError, suggestion
from experiments.serving.open_inference import described
from policies.contract import NEVER
from sim.workload import Workload

from .asking import Wanted, at_load, drawn, scenario_of
from .bodies import SAMPLES_PER_MS, TYPES
from .endpoint import Endpoint, Input, Model, model_of

SCRIPTS = {"k6": ("k6.js", "script.js"), "locust": ("locustfile.txt", "locustfile.py")}
"""By tool: the file that is shipped, and what it is called for the tool."""
RUN = {
    "k6": "k6 run script.js",
    "locust": "locust -f locustfile.py --headless -u 1 --only-summary",
}
BYTES = {"FP32": 4, "INT32": 4, "INT64": 8}
"""Datatypes that the scripts can write as bytes."""
USER_PER_S = 250.0
"""Requests that one virtual user of k6 sends; each is a JavaScript engine of its own."""
STATUSES = (0, 200, 400, 401, 404, 413, 429, 500, 503, 504)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    words: str
    requests: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folder": str(self.folder), "files": [str(path) for path in self.files],
            "requests": self.requests, "words": self.words,
        }  # fmt: skip


def checked_tool(name: str) -> str:
    """A tool that requests can be written for.

    Raises:
        ScenarioError: there is none of that name.
    """
    if name not in SCRIPTS:
        raise ScenarioError(f"--export {name} is no tool; {suggestion(name, SCRIPTS)}")
    return name


def exported(
    source: str,
    settings: Sequence[str],
    wanted: Wanted,
    endpoint: Endpoint,
    model: str | None,
    tool: str,
    folder: Path,
    *,
    binary: bool = False,
) -> Exported:
    """Write the first window of a scenario.

    Raises:
        ScenarioError: the scenario cannot be sent, several loads are asked for, or the tool's
            script cannot make what the model takes.
        OSError: a file cannot be written.
    """
    if len(wanted.loads) > 1:
        raise ScenarioError("--export writes one window: give one --load")
    scenario = scenario_of(source, settings)
    here = at_load(scenario, wanted.loads[0], wanted)
    workload = drawn(here, 0, wanted.seed)
    served, asked = _model(endpoint, model or scenario.name, scenario)
    content = {
        "about.json": _about(here, workload, endpoint, served, tool, binary=binary),
        "plan.json": _plan(workload),
        SCRIPTS[tool][1]: _shipped(SCRIPTS[tool][0]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        write_atomic(folder / name, text)
    note = "" if asked else (
        f"\nnote: {endpoint.url} did not answer, so that requests are those of batchwright serve"
    )  # fmt: skip
    words = f"{len(workload):,} requests; in {folder}: {RUN[tool]}{note}"
    return Exported(folder, tuple(folder / name for name in content), words, len(workload))


def _model(endpoint: Endpoint, name: str, scenario: Scenario) -> tuple[Model, bool]:
    """What the server says of its model; what ours would say where nobody answers."""
    try:
        return model_of(endpoint, name), True
    except ScenarioError as error:
        if "cannot be reached" not in str(error):
            raise
    unit = scenario.workload.unit or scenario.workload.length_unit
    said = described(name, "", unit)["inputs"]
    inputs = tuple(Input(one["name"], one["datatype"], tuple(one["shape"])) for one in said)
    return Model(name, inputs, True, True), False


def _about(
    scenario: Scenario, workload: Workload, endpoint: Endpoint, model: Model, tool: str,
    *, binary: bool,
) -> str:  # fmt: skip
    audio = workload.length_unit == "audio_ms"
    seconds = float(workload.arrival_ns[-1] - workload.arrival_ns[0]) / 1e9
    rate = len(workload) / max(seconds, 1e-3)
    tiers = [
        {"name": tier.name, "percentile": tier.percentile,
         "slo_ms": None if tier.slo_ns == NEVER else tier.slo_ns / 1e6}
        for tier in workload.tiers
    ]  # fmt: skip
    about = {
        "scenario": scenario.name, "url": endpoint._replace(prefix="").url,
        "path": f"{endpoint.prefix}/v2/models/{model.name}/infer", "binary": binary,
        "samples": SAMPLES_PER_MS if audio else 1, "seconds": seconds,
        "users": max(1, round(rate / USER_PER_S)) if tool == "k6" else 1, "statuses": STATUSES,
        "tiers": tiers, "inputs": [_input(one, tool, binary=binary) for one in model.inputs],
    }  # fmt: skip
    return json.dumps(about, indent=2) + "\n"


def _input(one: Input, tool: str, *, binary: bool) -> dict[str, Any]:
    """How the scripts make an input.

    Raises:
        ScenarioError: they cannot.
    """
    if one.datatype != "BYTES" and one.datatype not in TYPES:
        raise ScenarioError(f"input {one.name} has {one.datatype}, which the script does not make")
    if binary and one.datatype not in BYTES:
        raise ScenarioError(
            f"input {one.name} has {one.datatype}, which the script for {tool} does not write as "
            "bytes; leave --binary out"
        )
    kind = "ids"
    if one.datatype == "BYTES":
        kind = "text"
    elif one.datatype.startswith("FP"):
        kind = "noise"
    elif "mask" in one.name or one.datatype == "BOOL":
        kind = "ones"
    elif "type" in one.name or one.datatype.endswith("INT8"):
        kind = "zeros"
    shape = list(one.shape) or [1, -1]
    return {
        "name": one.name, "datatype": one.datatype, "shape": shape, "kind": kind,
        "open": shape[-1] < 0, "bytes": BYTES.get(one.datatype, 0),
    }  # fmt: skip


def _plan(workload: Workload) -> str:
    """A row for each request."""
    count = len(workload)
    instants = ((workload.arrival_ns - workload.arrival_ns[0]) / 1e6).tolist()
    tiers = workload.tier.tolist() or [0] * count
    patience = [
        0 if each >= NEVER else max(1, each // 1000) for each in workload.timeout_ns.tolist()
    ] or [0] * count
    rows = zip(instants, workload.length.tolist(), tiers, patience, strict=True)
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def _shipped(name: str) -> str:
    return (files("experiments.loading") / "shipped" / name).read_text(encoding="utf-8")


__all__ = ["RUN", "SCRIPTS", "Exported", "checked_tool", "exported"]
