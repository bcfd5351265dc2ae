"""Everything that is sent, one thing after another: probes, floors, windows.

1. A probe of each tier comes first: what a server refuses for another reason than that it is busy
   is told before anything is measured.
2. Windows of all loads take turns, ``repeats`` times.
3. A window in which the generator did not keep to its plan is sent again, ``RETRIES`` times; of a
   kind none of whose tries counts the least late one stands, and the verdict says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.parallel import Progress
from experiments.scenario import Scenario
from experiments.sentences import RunFailed, ScenarioError
from experiments.stacks.processes import can_be_urgent
from sim.service import expected_ns
from sim.workload import Workload

from .asking import Wanted, at_load, drawn
from .bodies import Bodies, Request
from .endpoint import Endpoint, Model, Reply
from .floor import SERVER, Floor, exact_server, measured, together
from .predict import Rule
from .sending import Plan, Sender
from .window import Window, condition_of, seen_of

RETRIES = 2
BUSY = (429, 503, 504)
"""Refusals that are answers: the server is there, and has too much to do."""
LOGS = "floor"
"""The folder of a run with what a server that is started for the floor says."""


@dataclass(frozen=True)
class Target:
    """Where to, with what, and how."""

    source: str
    settings: Sequence[str]
    scenario: Scenario
    endpoint: Endpoint
    model: Model
    rule: Rule | None
    """None: nothing is predicted."""
    binary: bool = False
    floor: str = "live"


@dataclass
class Driven:
    """What was measured."""

    target: Target
    wanted: Wanted
    scenarios: Mapping[float | None, Scenario]
    floors: list[Floor] = field(default_factory=list)
    """Before each window, and every attempt."""
    windows: list[Window] = field(default_factory=list)
    """Every attempt."""
    interrupted: bool = False

    def counting(self, load: float | None) -> list[Window]:
        """Windows of a load that count: of each the last that kept to its plan, or the least late.

        In the order of their repeats.
        """
        mine = [each for each in self.windows if each.load == load]
        best: dict[int, Window] = {}
        for each in mine:
            before = best.get(each.repeat)
            if before is None or _rank(each) <= _rank(before):
                best[each.repeat] = each
        return [best[repeat] for repeat in sorted(best)]

    def floor_of(self, load: float | None) -> Floor:
        """What the client alone costs at a load."""
        return together([each for each in self.floors if each.load == load])


def _rank(window: Window) -> tuple[bool, float]:
    condition = window.condition
    return bool(condition.rejected), condition.late_ms_max if condition.rejected else 0.0


class Driving:
    """One run."""

    def __init__(self, target: Target, wanted: Wanted, folder: Path, progress: Progress) -> None:
        self.target, self.wanted, self.folder, self.progress = target, wanted, folder, progress
        scenario = target.scenario
        scenarios = {load: at_load(scenario, load, wanted) for load in wanted.loads}
        self.workloads = {
            (load, repeat): drawn(here, repeat, wanted.seed)
            for load, here in scenarios.items()
            for repeat in range(wanted.repeats)
        }
        longest = max(int(each.length.max()) for each in self.workloads.values())
        self.bodies = Bodies(
            target.endpoint, target.model, scenario.tiers, _unit(scenario), longest,
            binary=target.binary, seed=wanted.seed,
        )  # fmt: skip
        self.found = Driven(target, wanted, scenarios)
        self.steps = len(self.workloads)

    def run(self) -> Driven:
        """Send everything, or up to Ctrl-C once there is a window.

        Raises:
            ScenarioError: the server does not take these requests.
            RunFailed: it is gone, or the generator is.
        """
        self.progress("asking the server", 0, self.steps)
        self._probe()
        try:
            with Sender() as sender, self._floor_server() as at:
                for repeat in range(self.wanted.repeats):
                    for load in self.wanted.loads:
                        self._floor(sender, at, load, repeat)
                        self._windows(sender, load, repeat)
        except KeyboardInterrupt:
            if not self.found.windows:
                raise
            self.found.interrupted = True
        return self.found

    def _probe(self) -> None:
        """One request of each tier that there is."""
        first = self.workloads[self.wanted.loads[0], 0]
        tiers = first.tier if len(first.tier) else np.zeros(len(first), dtype=np.int8)
        for tier in np.unique(tiers).tolist():
            who = int(np.flatnonzero(tiers == tier)[0])
            for length in {int(first.length[who]), int(first.length.max())}:
                check_probe(self._ask(self.bodies.request(length, tier)), self.target)

    def _ask(self, request: Request) -> Reply:
        """Send one request by itself."""
        head, _, body = request.data.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
        headers = {name: value for name, _, value in lines}
        whole = body + self.bodies.shared[: request.shares]
        path = head.decode().split(" ", 2)[1]
        return self.target.endpoint._replace(prefix="").ask(path, "POST", whole, headers)

    @contextmanager
    def _floor_server(self) -> Iterator[str]:
        """The address of a server for the floor; empty where none is started."""
        target = self.target
        if target.floor != SERVER:
            yield ""
            return
        folder = self.folder / LOGS
        folder.mkdir(parents=True)
        log, name = folder / "server.log", target.model.name
        table = None if target.rule is None else target.rule.table
        with exact_server(
            target.source, target.settings, name, table, log, urgent=can_be_urgent()
        ) as at:
            yield at

    def _floor(self, sender: Sender, at: str, load: float | None, repeat: int) -> None:
        """The client alone; again where the generator did not keep to its plan."""
        self.progress("measuring what the client alone costs", self._done, self.steps)
        for _ in range(1 + RETRIES):
            found = measured(
                sender, self.target.floor, at, self.found.scenarios[load], load,
                self.workloads[load, repeat], self.bodies,
            )  # fmt: skip
            self.found.floors.append(found)
            if found.calm:
                break

    @property
    def _done(self) -> int:
        """Windows that were driven, whatever their attempts."""
        return len({(each.load, each.repeat) for each in self.found.windows})

    def _windows(self, sender: Sender, load: float | None, repeat: int) -> None:
        """One at a load; again where the generator did not keep to its plan."""
        at = "" if load is None else f" at load {load:g}"
        self.progress(f"window {repeat + 1} of {self.wanted.repeats}{at}", self._done, self.steps)
        workload = self.workloads[load, repeat]
        for attempt in range(1 + RETRIES):
            window = self._window(sender, load, repeat, attempt, workload)
            self.found.windows.append(window)
            if not window.condition.rejected:
                break

    def _window(
        self, sender: Sender, load: float | None, repeat: int, attempt: int, workload: Workload
    ) -> Window:
        endpoint, requests = self.target.endpoint, self.bodies.requests(workload)
        shared = self.bodies.shared
        plan = Plan(
            endpoint.host, endpoint.port, (workload.arrival_ns - workload.arrival_ns[0]).tolist(),
            [one.data for one in requests], keeps=True, shared=shared,
            shares=[one.shares for one in requests] if shared else (),
        )  # fmt: skip
        answers = sender.run(plan)
        check_answers(answers.status.tolist(), answers.content, endpoint)
        condition = condition_of(answers, single_ns(self.target.scenario, workload))
        return Window(load, repeat, attempt, workload, answers, seen_of(workload, answers),
                      condition)  # fmt: skip


def check_probe(reply: Reply, target: Target) -> None:
    """Refuse to go on with a server that does not take a request.

    Raises:
        ScenarioError: with the sentence of the server.
    """
    if reply.status == 200 or reply.status in BUSY:
        return
    raise ScenarioError(
        f"{target.endpoint.url} does not take the requests of scenario {target.scenario.name}: it "
        f"answers {reply.status}, {reply.says}"
    )


def check_answers(status: Sequence[int], content: Sequence[bytes], endpoint: Endpoint) -> None:
    """Refuse a window in which most requests failed.

    Raises:
        RunFailed: the server is gone, or something is wrong with it.
    """
    wrong = [place for place, each in enumerate(status) if each != 200 and each not in BUSY]
    if 2 * len(wrong) <= len(status):
        return
    first = wrong[0]
    why = "did not answer"
    if status[first]:
        why = f"answered {status[first]}, {Reply(status[first], content[first]).says}"
    raise RunFailed(f"{endpoint.url} {why}, to {len(wrong):,} of {len(status):,} requests")


def single_ns(scenario: Scenario, workload: Workload) -> float:
    """What a single request of usual length takes."""
    table, edges = scenario.service_ns[0], scenario.length_edges
    usual = int(np.clip(np.median(workload.length), edges[0], edges[-1]))
    return float(expected_ns(table, edges, 1, usual))


def _unit(scenario: Scenario) -> str:
    return scenario.workload.unit or scenario.workload.length_unit


def kinds(driven: Driven) -> Iterator[tuple[float | None, list[Window]]]:
    """Loads with the windows that count; none without any."""
    for load in driven.wanted.loads:
        windows = driven.counting(load)
        if windows:
            yield load, windows


__all__ = ["Driven", "Driving", "Target", "kinds"]
