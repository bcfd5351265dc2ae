"""Predicted beside measured, through HTTP: ``batchwright serve`` under ``batchwright load``.

``python -m experiments.bench_load FOLDER [CASE ...]`` starts a server whose model sleeps the
profile's times for each case, sends windows at its loads, and writes ``load-CASE.json`` into the
folder: the tables of the docs are made of them.  Server and generator run before all ordinary
processes where the system allows it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from experiments.bench_serve import SCENARIO as OVERLOADED
from experiments.cli_load import Typed, target_of
from experiments.cli_speech import console
from experiments.loading.driving import Driving
from experiments.loading.floor import address_in
from experiments.loading.judging import judged
from experiments.loading.outcome import Loaded
from experiments.loading.shown import loaded_tables
from experiments.runs import write_atomic
from experiments.stacks.contract import Command
from experiments.stacks.processes import can_be_urgent, serving

TIERS = """
name = "two-tiers"
description = "BERT-base on one T4: people who wait, and reports that can"
[workload]
requests = 20_000
arrivals = { process = "poisson", load = 0.6 }
lengths = { dataset = "imdb" }
[[workload.tiers]]
name = "interactive"
share = 0.6
slo = { percentile = 99, ms = 100.0 }
[[workload.tiers]]
name = "reports"
share = 0.4
slo = { percentile = 99, ms = 2000.0 }
[service]
profile = "bert-base-t4-tensorrt-fp16"
over_length = "truncate"
capacity = { requests = 256 }
[policies.priority]
kind = "priority"
max_batch_size = 4
"""


class Case(NamedTuple):
    """What is served, and how it is loaded."""

    source: str
    """A scenario's name, or the text of one."""
    policy: str
    loads: tuple[float | None, ...] = (0.3, 0.6, 0.8)
    binary: bool = False
    window_s: float = 15.0
    repeats: int = 3


CASES = {
    "bert-t4": Case("bert-t4", "length_bucketed"),
    "two-tiers": Case(TIERS, "priority"),
    "speech": Case("speech", "length_bucketed", binary=True),
    "overload": Case(OVERLOADED, "greedy", (0.8, 1.0, 10.0), window_s=10.0, repeats=2),
}
"""``overload``: a model that serves 200 requests/s, at its limit and at ten times that."""


@contextmanager
def served(source: str, policy: str, log: Path) -> Iterator[str]:
    """The address of a server."""
    command = Command(
        [sys.executable, "-c", "from experiments.cli import main; main()", "serve", source,
         "--policy", policy, "--port", "0", "--json", "--no-drift"], {},
    )  # fmt: skip
    with serving(command, log, urgent=can_be_urgent()) as server:
        yield address_in(server, log)


def measured(case: Case, folder: Path) -> Loaded:
    """Serve, send, predict."""
    source = case.source
    if "\n" in source:
        file = folder / "scenario.toml"
        file.write_text(source)
        source = str(file)
    with served(source, case.policy, folder / "serve.log") as url:
        typed = Typed(
            url, source, None, None, (), case.loads, None, round(case.window_s * 1e9), None,
            case.repeats, 0, case.binary, "auto", None, folder, json=False, quiet=True,
        )  # fmt: skip
        driving = Driving(target_of(typed), typed.wanted, folder, tell)
        return judged(driving.run())


def tell(what: str, done: int, total: int) -> None:
    """How far it is."""
    sys.stderr.write(f"{done}/{total} {what}\n")


def main(folder: Path, names: Sequence[str]) -> None:
    """Measure, print, keep."""
    for name in names or CASES:
        with TemporaryDirectory() as place:
            found = measured(CASES[name], Path(place))
        for part in loaded_tables(found):
            console().print(part)
        write_atomic(folder / f"load-{name}.json", found.to_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
