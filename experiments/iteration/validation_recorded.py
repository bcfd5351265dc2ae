"""A live window of iterations on disk, for a replay at any time.

Three files in a folder: ``window.json`` (engine, rule, times, device), ``requests.csv`` (one row
per request: ``arrival_ns, noticed_ns, prompt, output, tier, token_steps``, the last with the
iteration of each token, spaces between) and ``iterations.csv`` (one row per iteration, the columns
of :data:`sim.iteration.trace.STEP`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policies.contract import IntArray, Tier
from policies.iteration import RULES
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes
from profiles.store import write_whole
from sim.iteration.replayed import Replay, replayed
from sim.iteration.serving import Serving
from sim.iteration.trace import STEP, TokenTrace
from sim.trace import SERVED

from .validation_windows import LiveWindow

FORMAT = 1
FACTS, REQUESTS, ITERATIONS = "window.json", "requests.csv", "iterations.csv"
COLUMNS = ("arrival_ns", "noticed_ns", "prompt", "output", "tier", "token_steps")


class RecordedWindow(NamedTuple):
    """What a folder holds."""

    rule: Rule
    serving: Serving
    trace: TokenTrace
    """Of requests that were all served; who was put back is not kept by request."""
    noticed_ns: IntArray
    device: Mapping[str, Any]

    def replay(self) -> Replay:
        """The window in the simulator."""
        return replayed(self.rule, self.trace, self.noticed_ns, self.serving)


def save(
    folder: str | Path,
    window: LiveWindow,
    rule: Rule,
    serving: Serving,
    device: Mapping[str, Any],
) -> list[Path]:
    """Write a window, all of whose requests were served.

    Raises:
        ValueError: somebody was not served.
    """
    trace, folder = window.trace, Path(folder)
    if not trace.served.all():
        raise ValueError("a window is recorded where every request was served")
    folder.mkdir(parents=True, exist_ok=True)
    kind = next(name for name, known in RULES.items() if isinstance(rule, known))
    facts = {
        "format": FORMAT,
        "rule": {"kind": kind, **rule._asdict()},  # type: ignore[attr-defined]
        "engine": serving.engine._asdict(),
        "times": [np.asarray(part).tolist() for part in serving.times],
        "load": window.load,
        "tiers": [tier.name for tier in trace.tiers],
        "device": dict(device),
    }
    tokens = [
        " ".join(map(str, trace.token_step[a:b]))
        for a, b in zip(trace.offset[:-1], trace.offset[1:], strict=True)
    ]
    columns = (trace.arrival_ns, window.noticed_ns, trace.prompt, trace.output, trace.tier, tokens)
    steps = [COLUMNS_OF_STEPS, *trace.steps.tolist()]
    paths = [folder / name for name in (FACTS, REQUESTS, ITERATIONS)]
    write_whole(paths[1], _text([COLUMNS, *zip(*columns, strict=True)]))
    write_whole(paths[2], _text(steps))
    write_whole(paths[0], (json.dumps(facts, indent=2, default=str) + "\n").encode())
    return paths


def load(folder: str | Path) -> RecordedWindow:
    """Read a window back."""
    folder = Path(folder)
    facts = json.loads((folder / FACTS).read_text())
    if facts["format"] != FORMAT:
        raise ValueError(f"{folder / FACTS}: `format` must be {FORMAT}, not {facts['format']!r}")
    requests = _rows(folder / REQUESTS)
    rows = _rows(folder / ITERATIONS)
    steps = np.array([tuple(int(row[name]) for name in COLUMNS_OF_STEPS) for row in rows], STEP)
    columns = {
        name: np.array([int(row[name]) for row in requests], dtype=np.int64) for name in COLUMNS[:5]
    }
    parameters = dict(facts["rule"])
    rule: Rule = RULES[parameters.pop("kind")](**parameters)
    serving = Serving(Engine(**facts["engine"]), _times(facts["times"]))
    tokens = [int(step) for row in requests for step in row["token_steps"].split()]
    trace = _trace(
        columns,
        np.array(tokens, dtype=np.int32),
        steps,
        serving.engine,
        tuple(Tier(name) for name in facts["tiers"]),
    )
    return RecordedWindow(rule, serving, trace, columns["noticed_ns"], facts["device"])


COLUMNS_OF_STEPS = tuple(STEP.names or ())


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def _times(parts: list[Any]) -> StepTimes:
    arrays = [np.array(part, dtype=np.float64) for part in parts[5:]]
    return StepTimes(*parts[:5], *arrays)


def _trace(
    columns: Mapping[str, IntArray],
    tokens: Any,
    steps: Any,
    engine: Engine,
    tiers: tuple[Tier, ...],
) -> TokenTrace:
    """Requests that were all served; the rest is what follows from their tokens."""
    count, output = len(columns["prompt"]), columns["output"].astype(np.int32)
    offset = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(output, out=offset[1:])
    tier = columns["tier"].astype(np.int8)
    return TokenTrace(
        arrival_ns=columns["arrival_ns"],
        prompt=columns["prompt"].astype(np.int32),
        output=output,
        tier=tier,
        lane=np.zeros(count, dtype=np.int16),
        status=np.full(count, SERVED, dtype=np.int8),
        admitted=np.full(count, -1, dtype=np.int32),
        finished=tokens[offset[1:] - 1],
        preempted=np.zeros(count, dtype=np.int32),
        recomputed=np.zeros(count, dtype=np.int64),
        offset=offset,
        token_step=tokens,
        steps=steps,
        blocks=engine.blocks,
        tiers=tiers,
    )


def _text(rows: list[Any]) -> bytes:
    return ("\n".join(",".join(map(str, row)) for row in rows) + "\n").encode()
