"""A whole trial: the client's floor, then each variant's server, calibrated, driven, predicted."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.loading.asking import Wanted, at_load
from experiments.parallel import Progress
from policies.contract import IntArray
from sim.workload import Workload

from . import Row
from .asking import Asked, burst_lengths, drawn
from .calibrate import bursts
from .conditions import STALL_MS
from .contract import StackFailed, Wish
from .fitting import LOAD, Stream
from .outcome import DEFAULT, TUNED, Trial
from .processes import can_be_urgent
from .rig import Rig, Sent, Window, floor, module_of, running
from .variant import Measured, Variant

SERVER = "server"
"""The folder of a run with what each server loaded, said and logged."""

RETRIES = 2
"""Of a window in which the machine stalled."""
FLOOR_NS = 2_000_000_000
WARM_NS = 1_000_000_000
STREAM_DRAW = 1_000
"""The calibration's own stream: further windows have the numbers from 0."""


@dataclass(frozen=True)
class Plan:
    """How long is measured."""

    loads: tuple[float | None, ...]
    window_ns: int
    repeats: int
    calibration_ns: int
    default: bool
    seed: int = 0
    urgent: bool = True
    """Whether servers run before all ordinary processes, where that is allowed."""


def run_trial(
    asked: Asked, row: Row, plan: Plan, python: Path, folder: Path, progress: Progress
) -> Trial:
    """Run a stack's server and hold it against the simulator.

    Args:
        asked: what is tried.
        row: the stack.
        plan: how long.
        python: the interpreter that has the stack.
        folder: of the run.
        progress: told what is done.

    Raises:
        StackFailed: the server did not start, ended, or did not answer.
        NotExpressible: the stack cannot do what the policy does.
    """
    from .judging import judged

    began = time.perf_counter()
    campaign = Campaign(asked, row, plan, python, folder, progress)
    campaign.run()
    return judged(campaign, time.perf_counter() - began)


class Campaign:
    """What is measured, one thing after another."""

    def __init__(
        self, asked: Asked, row: Row, plan: Plan, python: Path, folder: Path, progress: Progress
    ) -> None:
        self.asked, self.row, self.plan = asked, row, plan
        self.python, self.folder, self.progress = python, folder, progress
        self.urgent = plan.urgent and can_be_urgent()
        self.module = module_of(row)
        a_window = Wanted(window_ns=plan.window_ns)
        self.scenarios = {load: at_load(asked.scenario, load, a_window) for load in plan.loads}
        self.floors: list[dict[str, float | None]] = []
        self.interrupted = False
        self.variants = [self._variant(TUNED, asked.wish, f"policy {asked.name}")]
        if plan.default:
            bare = self.module.bare(asked.wish)
            self.variants.append(self._variant(DEFAULT, bare.wish, bare.words))
        self.steps = len(self.variants) * (2 + len(plan.loads) * plan.repeats) + 1
        self.step = 0

    def run(self) -> None:
        """Measure everything, or up to Ctrl-C once there is a window."""
        (self.folder / SERVER).mkdir(parents=True)
        try:
            self._floors()
            for variant in self.variants:
                self._serve(variant)
        except KeyboardInterrupt:
            if not any(variant.measured for variant in self.variants):
                raise
            self.interrupted = True
        self.variants = [variant for variant in self.variants if variant.measured]
        for variant in self.variants:
            variant.calibrate()

    def _variant(self, name: str, wish: Wish, words: str) -> Variant:
        return Variant(name, wish, words, self.module.policy(wish))

    def _tell(self, what: str, steps: int = 1) -> None:
        self.progress(what, self.step, self.steps)
        self.step += steps

    def _floors(self) -> None:
        """The client against a bare server, at the rate of each load."""
        self._tell("measuring what the client alone costs")
        body = self.module.request(0, 1).body
        for load, scenario in self.scenarios.items():
            instants = drawn(scenario, self.asked.wish.costs, 0).arrival_ns
            instants = instants[instants <= instants[0] + FLOOR_NS]
            log = self.folder / SERVER / "echo.log"
            answers = floor(instants - instants[0], body, log, urgent=self.urgent)
            latency_ms = answers.latency_ns[answers.good] / 1e6
            if not len(latency_ms):
                raise StackFailed("the echo server answered nothing")
            p50, p99 = np.quantile(latency_ms, (0.5, 0.99)).tolist()
            self.floors.append({"load": load, "p50_ms": p50, "p99_ms": p99})

    def _serve(self, variant: Variant) -> None:
        """Start the variant's server, calibrate, and drive all windows."""
        place = self.folder / SERVER / variant.name
        self._tell(f"{variant.name}: starting {self.row.title}")
        urgent = self.urgent
        try:
            with running(self.row, variant.wish, place, self.python, urgent=urgent) as rig:
                self._rounds(rig, variant)
        finally:
            for scratch in getattr(self.module, "SCRATCH", ()):
                shutil.rmtree(place / scratch, ignore_errors=True)

    def _rounds(self, rig: Rig, variant: Variant) -> None:
        """Windows at all loads, again and again, with a part of the calibration around each."""
        rng = np.random.default_rng(self.plan.seed)
        self._tell(f"{variant.name}: calibrating")
        rig.send(*self._bursts(variant, WARM_NS, rng))
        self._calibrate(rig, variant, 0, rng)
        for repeat in range(self.plan.repeats):
            self._windows(rig, variant, repeat)
            self._calibrate(rig, variant, repeat + 1, rng)
        own = getattr(self.module, "own_batches", None)
        variant.own = tuple(own(rig.ports)) if own is not None else ()

    def _calibrate(self, rig: Rig, variant: Variant, block: int, rng: np.random.Generator) -> None:
        """Bursts, then ordinary traffic; again where the machine stalled."""
        for _ in range(1 + RETRIES):
            found = self._calibrated(rig, variant, block, rng)
            if max(variant.condition_of(each).worst_ms for each in found) <= STALL_MS:
                break
        bursts_seen, stream_seen = found
        variant.bursts.append(bursts_seen)
        variant.streams.append(Stream(self._stream(variant, block), stream_seen))

    def _calibrated(
        self, rig: Rig, variant: Variant, block: int, rng: np.random.Generator
    ) -> tuple[Window, Window]:
        """One part of the calibration: bursts and a stream as they were served."""
        burst = rig.send(*self._bursts(variant, self._part_ns, rng))
        stream = self._stream(variant, block)
        sent = rig.send(stream.arrival_ns, stream.length)
        bursts_seen, stream_seen = rig.windows([burst, sent])
        if not bursts_seen.good.any():
            raise StackFailed(f"{self.row.title} answered nothing: {rig.server.last_lines()}")
        return bursts_seen, stream_seen

    @property
    def _part_ns(self) -> int:
        """How long bursts, or ordinary traffic, of one part of the calibration take."""
        return self.plan.calibration_ns // (self.plan.repeats + 1) // 2

    def _stream(self, variant: Variant, block: int) -> Workload:
        """Ordinary traffic of one part of the calibration."""
        load = None if self.plan.loads == (None,) else self._stream_load(variant)
        here = at_load(self.asked.scenario, load, Wanted(window_ns=self._part_ns))
        return drawn(here, variant.wish.costs, STREAM_DRAW + block)

    def _bursts(
        self, variant: Variant, time_ns: int, rng: np.random.Generator
    ) -> tuple[IntArray, NDArray[np.int32]]:
        """Instants and lengths of calibrating bursts."""
        costs = variant.wish.costs
        at_ns = bursts(variant.ruling, costs, variant.wish.largest_batch, time_ns, rng)
        return at_ns, burst_lengths(variant.wish, len(at_ns), rng)

    def _stream_load(self, variant: Variant) -> float:
        """Half the load, or half of what the variant can do at all, where that is less."""
        ruling, costs = variant.ruling, variant.wish.costs
        size = int(ruling.table.get("max_batch_size", 0) or 1)
        size = min(size, len(costs.service_ns))
        able = size / float(costs.service_ns[size - 1, -1]) * ruling.servers * 1e9
        return min(LOAD, LOAD * able / self.asked.scenario.rate_max_per_s)

    def _windows(self, rig: Rig, variant: Variant, repeat: int) -> None:
        """One at each load; one in which the machine stalled is repeated."""
        for load in self.plan.loads:
            at = "" if load is None else f" at load {load:g}"
            self._tell(f"{variant.name}{at}, {repeat + 1} of {self.plan.repeats}")
            workload = drawn(self.scenarios[load], variant.wish.costs, repeat)
            for attempt in range(1 + RETRIES):
                found = self._window(rig, variant, workload)
                condition = variant.condition_of(found)
                variant.measured.append(Measured(load, repeat, attempt, workload, found, condition))
                if not condition.stalled:
                    break

    def _window(self, rig: Rig, variant: Variant, workload: Workload) -> Window:
        sent: Sent = rig.send(workload.arrival_ns, workload.length)
        (found,) = rig.windows([sent])
        if not found.good.any():
            raise StackFailed(f"{self.row.title} answered nothing: {rig.server.last_lines()}")
        return found


__all__ = ["Campaign", "Measured", "Plan", "Variant", "run_trial"]
