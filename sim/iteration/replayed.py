"""A live run again in the simulator, with the times of its own iterations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from policies.contract import IntArray, Tier
from policies.iteration.contract import Rule
from policies.iteration.times import StepTimes

from .model import run
from .serving import Serving
from .trace import STEP, TokenTrace
from .workload import TokenWorkload

WORK = ("context", "blocks", "prefill", "sequences", "running", "waiting", "joined", "left")
"""What an iteration is made of, as columns of a trace."""


class Replay(NamedTuple):
    """A simulated run beside the live one."""

    trace: TokenTrace
    """Latencies in it count from the planned arrivals, as in the live trace."""
    same: int
    """Iterations from the first on that are made of the same work as the live ones."""
    exact: bool
    """Whether every iteration and every token is as it was live, to the nanosecond."""


@dataclass(frozen=True, eq=False)
class Recorded(Serving):
    """Recorded times, under which a rule knows what it knew live."""

    known: Serving | None = None

    def bound(self, rule: Rule, tiers: tuple[Tier, ...]) -> Rule:
        """Bound to what was known."""
        return super().bound(rule, tiers) if self.known is None else self.known.bound(rule, tiers)


def replayed(rule: Rule, live: TokenTrace, noticed_ns: IntArray, serving: Serving) -> Replay:
    """Simulate a live run's requests as its scheduler met them.

    An iteration of the simulator takes what the live one of the same number took, and a request
    arrives when the live scheduler noticed it.  Rules that read the instants of arrivals see those;
    a rule that asked for an instant is asked at it, and not late as it was live.

    Args:
        rule: not bound.
        live: what happened.
        noticed_ns: int64 (N,), of each request.
        serving: what the rule was bound to live.
    """
    workload = TokenWorkload(noticed_ns, live.prompt, live.output, live.tier, live.tiers)
    took = (live.steps["finish_ns"] - live.steps["start_ns"]).astype(np.float64)
    recorded = Recorded(serving.engine, StepTimes(fixed_ns=1.0), took, serving)
    trace = run(rule, workload, recorded)
    trace = replace(trace, arrival_ns=live.arrival_ns)
    count = min(len(trace.steps), len(live.steps))
    alike = np.ones(count, dtype=np.bool_)
    for name in WORK:
        alike &= trace.steps[name][:count] == live.steps[name][:count]
    same = count if alike.all() else int(np.argmin(alike))
    exact = len(trace.steps) == len(live.steps) and all(
        np.array_equal(trace.steps[name], live.steps[name]) for name in STEP.names or ()
    )
    return Replay(trace, same, exact and np.array_equal(trace.token_step, live.token_step))
