"""``validate``: a scenario's policies on a live device, and what the simulator said of it.

1. Before each round, and after the last, the device is calibrated through the same processes.  The
   first calibration also fixes the arrivals: a load is a share of what it found possible.
2. In a round every policy runs at every load, on the same arrivals and lengths, in an order that
   shifts from round to round.  Beside each window sentinel calls tell how fast the device is.
3. A window that the guard rejects is run again, once.  All are kept, and judged at the end by all
   of the calibration.
4. An interruption or a dead server ends the run; the windows so far are judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.config import ScenarioError
from experiments.parallel import Progress, nothing, uninterrupted
from experiments.scenario import Scenario
from policies.contract import Policy
from profiles.store import save
from sim.emulated import EmulatedOpening
from sim.service import Service
from sim.wall import Readings
from sim.worker import ModelOpening, Opening, WorkerError
from sim.workload import Workload

from .able import check_live
from .calibration import Calibration, mixed
from .guard import condition_of
from .preparing import calibrated, calibration_of, cap_of, longest_of, pace_of, ratios_of
from .rig import Rig, Trip, described, load_average
from .shapes import edges_to_reach, quantile_lengths, shapes_within
from .windows import Condition, Window

RETRIES = 1
SENTINEL_SHARE, SENTINEL_MOST_NS = 0.15, 2_000_000_000
"""Time of the calls between two windows: a share of a window, up to two seconds."""
SENTINEL_LEAST, SENTINEL_MOST = 20, 400
"""And how many they are."""
WARM_LENGTHS = 200
"""So many different lengths are called once before anything counts."""
OnWindow = Callable[[Window, Workload, Service], None]
"""Given each window as soon as it is done, with what arrived and what the policy was bound to."""


@dataclass(frozen=True)
class Plan:
    """How long to measure what."""

    loads: tuple[float, ...] = ()
    """Shares of the largest possible rate; empty: the scenario's own."""
    rounds: int = 3
    window_ns: int = 15 * 10**9
    calibration_ns: int = 40 * 10**9
    """For all blocks together."""
    seed: int = 0


class Beside(NamedTuple):
    """What was read beside a window."""

    readings: Readings
    before: list[Trip]
    """Batches of one."""
    after: list[Trip]
    load_average: float | None


@dataclass
class Found:
    """What a campaign has brought so far."""

    scenario: Scenario
    policies: Mapping[str, Policy]
    device: dict[str, Any]
    calibration: Calibration
    service: Service
    """Calibrated by all blocks: what is predicted with."""
    bound_to: Service
    """Calibrated by the first block: what policies know of the device, in every window."""
    workloads: dict[float | None, Workload] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    """What was read beside each window."""
    seconds: float = 0.0
    stopped: str = ""
    """Why it ended early; empty: it did not."""


def opening_of(scenario: Scenario, device: str, model: str | None, precision: str, mode: str,
               threads: int) -> Opening:  # fmt: skip
    """What a server opens: an emulation of the scenario's service, or a model.

    Raises:
        ScenarioError: the scenario does not say which model, or has several.
    """
    check_live(scenario, device)
    if device == "emulated":
        return EmulatedOpening(scenario.draw()[1])
    if model is None:
        from profiles.models import MODELS

        measured = None if scenario.profile is None else scenario.profile.metadata.model
        if measured is None or measured not in MODELS:
            raise ScenarioError(
                f"the profile of scenario {scenario.name} is of {measured or 'no model'}, which is "
                f"not a reference model; name one with --model (batchwright profile measure --list "
                "shows them), or use --device emulated"
            )
        model = measured
    several = scenario.servers > 1
    if several and device.startswith("cuda:"):
        raise ScenarioError(
            f"--device {device} is one GPU, but scenario {scenario.name} has {scenario.servers} "
            "servers; --device cuda gives each a GPU of its own"
        )
    own_gpu = several and device == "cuda"
    return ModelOpening(model, device, precision, mode, threads, each_its_own=own_gpu)


def checked_loads(loads: Sequence[float]) -> tuple[float, ...]:
    """Loads that are shares of what is possible.

    Raises:
        ScenarioError: one is not above 0 and below 1.
    """
    for load in loads:
        if not 0.0 < load < 1.0:
            raise ScenarioError(f"--load must be above 0 and below 1, but got {load:g}")
    return tuple(loads)


class Campaign:
    """One validation; :meth:`run` does it."""

    def __init__(
        self,
        scenario: Scenario,
        policies: Mapping[str, Policy],
        plan: Plan,
        folder: Path,
        *,
        emulated: bool,
        progress: Progress = nothing,
        on_window: OnWindow = lambda _window, _workload, _service: None,
    ) -> None:
        self.scenario, self.policies, self.plan, self.folder = scenario, policies, plan, folder
        self.progress, self.on_window = progress, on_window
        edges = scenario.length_edges
        pool = np.minimum(scenario.draw()[0].length.astype(np.int64), edges[-1])
        lengths = (
            edges_to_reach(edges, int(pool.min()), int(pool.max()))
            if emulated
            else quantile_lengths(pool, longest_of(scenario))
        )
        self.kinds = tuple(scenario.draw()[1].grouping.profiles.tolist())
        block_ns = plan.calibration_ns / (plan.rounds + 1) / len(set(self.kinds))
        single_ns = float(np.mean(np.interp(pool, edges, scenario.service_ns[0, 0])))
        self.pace = pace_of(scenario, plan.loads, pool, np.random.default_rng(plan.seed))
        self.calls = shapes_within(
            scenario.service_ns[0] + int(single_ns + self.pace.mean_idle_ns), edges, lengths,
            cap_of(policies.values(), scenario.service_ns.shape[1]), block_ns,
        )  # fmt: skip
        self.trips: list[Trip] = []
        self.single_ns = single_ns
        self.steps, self.step = 1, 0

    def run(self, opening: Opening, *, spins: bool) -> Found:
        """Measure everything, or up to an interruption.

        Raises:
            WorkerError, KeyboardInterrupt: before the first window was done.
        """
        began = time.perf_counter()
        self._tell("opening the device")
        with Rig(opening, self.scenario.draw()[1], spins=spins) as rig:
            self._tell("warming up")
            alone = np.unique(self.pace.pool)[:WARM_LENGTHS].tolist()
            rig.warm_up([*self.calls, *((1, length) for length in alone)])
            self._tell("calibrating")
            self._calibrate(rig, 0)
            found = self._prepared(rig)
            try:
                self._rounds(rig, found)
            except (KeyboardInterrupt, WorkerError) as error:
                if not found.windows:
                    raise
                interrupted = isinstance(error, KeyboardInterrupt)
                found.stopped = "interrupted" if interrupted else str(error)
        found.calibration = self._calibration(rig)
        found.service = _service(found.scenario, found.calibration)
        found.windows = [
            replace(window, condition=self._condition(beside, found.calibration))
            for window, beside in zip(found.windows, found.beside, strict=True)
        ]
        for profile in found.calibration.profiles:
            save(profile, self.folder)
        found.seconds = time.perf_counter() - began
        return found

    def _rounds(self, rig: Rig, found: Found) -> None:
        names = list(self.policies)
        self.steps = self.plan.rounds * len(found.workloads) * len(names)
        beside = self._sentinel(rig)
        for number in range(self.plan.rounds):
            order = names[number % len(names) :] + names[: number % len(names)]
            again: list[tuple[float | None, str]] = []
            for load in found.workloads:
                for name in order:
                    beside, accepted = self._window(rig, found, (load, name, number, 0), beside)
                    self.step += 1
                    if not accepted:
                        again.append((load, name))
            for load, name in again * RETRIES:
                beside, _ = self._window(rig, found, (load, name, number, 1), beside)
            self._tell("calibrating")
            self._calibrate(rig, number + 1)
            found.calibration = self._calibration(rig)

    def _window(
        self, rig: Rig, found: Found, what: tuple[float | None, str, int, int], before: list[Trip]
    ) -> tuple[list[Trip], bool]:
        load, name, number, attempt = what
        at = "" if load is None else f" at load {load:g}"
        self._tell(f"round {number + 1}: {name}{at}" + (" again" if attempt else ""))
        workload = found.workloads[load]
        trace, readings = rig.window(self.policies[name], workload, found.bound_to)
        after = self._sentinel(rig)
        beside = Beside(readings, before, after, load_average())
        condition = self._condition(beside, found.calibration)
        late_ns = None if workload.closed is not None else np.array(readings.lag_ns)
        window = Window(name, load, number, attempt, trace, condition, late_ns)
        with uninterrupted():
            found.windows.append(window)
            found.beside.append(beside)
            self.on_window(window, workload, found.bound_to)
        return after, condition.accepted

    def _condition(self, beside: Beside, calibration: Calibration) -> Condition:
        """What the readings say, as far as the device has been calibrated."""
        before, after = (ratios_of(one, calibration) for one in (beside.before, beside.after))
        return condition_of(beside.readings, before, after, self.single_ns, beside.load_average)

    def _sentinel(self, rig: Rig) -> list[Trip]:
        """Batches of one beside a window."""
        each_ns = self.single_ns + self.pace.mean_idle_ns
        time_ns = min(SENTINEL_MOST_NS, SENTINEL_SHARE * self.plan.window_ns)
        calls = int(np.clip(time_ns / each_ns, SENTINEL_LEAST, SENTINEL_MOST))
        return rig.sentinel(calls, self.pace)

    def _calibrate(self, rig: Rig, block: int) -> None:
        self.trips += rig.calibrate(block, self.calls, self.pace)

    def _calibration(self, rig: Rig) -> Calibration:
        return calibration_of(self.trips, self.scenario, described(rig.about), self.kinds)

    def _prepared(self, rig: Rig) -> Found:
        """The calibrated scenario, and one workload for each load."""
        calibration = self._calibration(rig)
        found = Found(
            self.scenario, self.policies, described(rig.about), calibration,
            calibration.service(self.scenario.servers), calibration.service(self.scenario.servers),
        )  # fmt: skip
        saved = [save(profile, self.folder) for profile in calibration.profiles]
        for load in self.plan.loads or (None,):
            here = calibrated(self.scenario, saved, load, self.plan.window_ns)
            found.workloads[here.load if load is None else load] = here.draw()[0]
            found.scenario = here
        found.service = found.bound_to = _service(found.scenario, calibration)
        return found

    def _tell(self, what: str) -> None:
        self.progress(what, self.step, self.steps)


def _service(scenario: Scenario, calibration: Calibration) -> Service:
    """The calibrated service, with the scenario's limits."""
    drawn = scenario.draw()[1]
    found = replace(
        calibration.service(scenario.servers),
        capacity=drawn.capacity,
        capacity_counts_in_system=drawn.capacity_counts_in_system,
        longest_admitted=drawn.longest_admitted,
        tier_capacity=drawn.tier_capacity,
        cluster=drawn.cluster,
    )
    return mixed(found, calibration) if calibration.others else found


__all__ = ["Campaign", "Condition", "Found", "Plan", "opening_of"]
