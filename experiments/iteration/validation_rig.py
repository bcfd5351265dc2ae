"""Engine, load and scheduler of a live run of iterations, and what is measured with them.

1. The scheduler (this process) and the engine keep to cores of their own where there are two, and
   the scheduler goes before ordinary processes where the system allows it.  The engine does where
   that is asked for: on a machine that others use, too, it is otherwise measured with them.
2. Calibration and windows take the same way through the same processes: the scheduler's own work,
   the pipe, the model, and the way back are all in the time of an iteration.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from policies.contract import NEVER
from policies.iteration import Continuous
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes
from profiles.measure import quiet_memory
from profiles.steps_campaign import StepCampaign, measured
from profiles.steps_plan import Cell, StepWishes
from sim.iteration.engines import Opening
from sim.iteration.orders import PRETEND, order_of
from sim.iteration.serving import Serving
from sim.iteration.station import IterationStation
from sim.iteration.trace import TokenTrace
from sim.iteration.wall import Readings, run_live
from sim.iteration.worker import IterationWorker
from sim.iteration.workload import TokenWorkload, workload_of
from sim.load_generator import Load, LoadGenerator, OwnSchedule
from sim.timing import cores, now_ns, pin, shared_out, urgent
from sim.wall import HANGING_NS

Progress = Callable[[str, int, int], None]

NO_LIMIT = 1 << 30
"""Of slots and tokens: an emulation holds as many as are asked for."""


class IterationRig:
    """Everything that a live run needs, open until the end of a ``with``."""

    def __init__(self, opening: Opening, engine: Engine, *, first: bool = False) -> None:
        """Start the processes.

        Args:
            opening: how the engine's process opens what computes.
            engine: what is to be run.
            first: whether the engine goes before ordinary processes.
        """
        self.engine, self._before = engine, cores()
        own, (theirs,) = shared_out(1)
        pin(own[:1])
        self.load: Load = OwnSchedule()
        if len(own) > 1:
            self.load = LoadGenerator(own[1:], spins=True)
        self.worker = IterationWorker(opening, theirs, first=first)
        try:
            self.about: Mapping[str, Any] = self.worker.about()
            urgent()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.close()

    def close(self) -> None:
        """End all processes, and give the cores back."""
        self.worker.close()
        self.load.close()
        pin(self._before)
        urgent(wanted=False)

    def calibrate(self, wishes: StepWishes, progress: Progress) -> StepCampaign:
        """Measure the engine's iterations through the same processes.

        Raises:
            ProfileError: a wish cannot be granted, or not within the budget.
        """
        return measured(_Seen(self), wishes, self.timed, progress=progress)

    def timed(self, cell: Cell) -> int:
        """Ns of one iteration as a window has it: from its turn to the next one's."""
        station = made_ready(cell, self.engine)
        began_ns = now_ns()
        station.arrive(station.arrived)
        station.ask(0)
        order = order_of(station.start(0), (), PRETEND)
        self.worker.start(order)
        if not select.select([self.worker.fileno()], [], [], HANGING_NS / 1e9)[0]:
            raise self.worker.hanging(HANGING_NS)
        self.worker.answer()
        station.complete(1)
        took_ns = now_ns() - began_ns
        assert order.work == cell.work, "the iteration that was asked for is the one that ran"
        return took_ns

    def window(
        self, rule: Rule, workload: TokenWorkload, serving: Serving
    ) -> tuple[TokenTrace, Readings]:
        """One live run."""
        with quiet_memory():
            return run_live(rule, workload, serving, self.worker, self.load)


def made_ready(cell: Cell, engine: Engine) -> IterationStation:
    """A station whose next iteration is a given one: it comes when the last request arrives.

    That one is refused, being too long, so that its arrival adds nothing to the iteration.
    """
    prompts, generated, computed = [], [], []
    for piece, decodes in zip(cell.pieces, cell.decoding, strict=True):
        prompts.append(max(1, piece.before if decodes else piece.before + piece.tokens))
        generated.append(int(decodes))
        computed.append(piece.before)
    count = len(prompts)
    outputs = [2] * count + [1]
    longest = max(engine.longest if engine.longest < NEVER else 0, *(p + 2 for p in prompts))
    plain = Engine(
        sequences=max(engine.sequences, count), block_tokens=engine.block_tokens, longest=longest
    )
    workload = workload_of(
        np.zeros(count + 1, dtype=np.int64),
        np.array([*prompts, longest + 1]),
        np.array(outputs),
    )
    station = IterationStation(Continuous(), workload, Serving(plain, StepTimes(1.0)))
    for request in range(count):
        station.arrive(request)
        station.generated[request] = generated[request]
        station.computed[request] = computed[request]
        if computed[request]:
            station.lanes[0].remove(request)
            station.batch.append(request)
            station.held[request] = -(-computed[request] // engine.block_tokens)
    return station


class _Seen:
    """The rig as what is measured."""

    def __init__(self, rig: IterationRig) -> None:
        self.rig = rig
        self.name = str(rig.about["model"])
        self.slots = int(rig.about.get("slots", NO_LIMIT))
        known = rig.engine.longest if rig.engine.longest < NEVER else NO_LIMIT
        self.longest = int(rig.about.get("longest", known))

    def about(self) -> dict[str, Any]:
        """That of the engine."""
        told = {key: value for key, value in self.rig.about.items() if key not in ("pid", "cores")}
        return {"device": "cpu", "precision": "fp32", **told}
