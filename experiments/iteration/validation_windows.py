"""Windows of a live run of iterations: what happened, whether it counts, and what it says.

1. All windows of a load replay the same requests.
2. A window counts where the load generator kept to its plan, the scheduler was not stopped, and the
   engine was nearly as fast as when it was calibrated, and stayed so: iterations right before and
   after it say that.  Its own latencies are never looked at for it.
3. Statistics leave nothing out: a window and its prediction begin with an empty engine alike.
4. A *stall* is an iteration that took more than twice what the window's others take, by what the
   calibration expects of each.  A window without its stalls is the same requests again in the
   simulator, fed the window's own times, those of the stalls at the usual level: where nothing
   stalls this gives the window itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.contract import FloatArray, IntArray
from policies.iteration.contract import Rule
from profiles.steps import StepForm
from profiles.steps_runner import Work
from sim.iteration import kernel
from sim.iteration.serving import Serving
from sim.iteration.trace import TokenTrace
from sim.iteration.wall import Readings
from sim.iteration.workload import TokenWorkload
from sim.wall import HEARTBEAT_NS

MS = 1e6
LAG_MOST_MS, GAP_MOST_MS, DRIFT_MOST = 10.0, 50.0, 0.1
STALL_NS = 1_000_000
STALLED = 2.0
"""So many times as long as usual."""
STRETCH = 50
"""Iterations in a row, over which an engine may be slower for a while."""
STATISTICS = {
    "ttft_ms.mean": 0.10,
    "ttft_ms.p50": 0.10,
    "ttft_ms.p99": None,
    "latency_ms.mean": 0.10,
    "latency_ms.p50": 0.10,
    "latency_ms.p99": None,
    "tpot_ms.mean": None,
    "itl_ms.p99": None,
    "output_tokens_per_s": 0.05,
    "busy": None,
    "mean_sequences": None,
    "iterations": None,
}
"""What is compared, and how far off a prediction may be; None: it is only told."""


@dataclass(frozen=True, eq=False)
class LiveWindow:
    """One rule at one load, live, for a while."""

    rule: str
    load: float
    round: int
    """From 0."""
    attempt: int
    trace: TokenTrace
    noticed_ns: IntArray
    """int64 (N,): the instant at which each request was taken in."""
    cpu_ns: IntArray
    """int64 (iterations,): processor time of the engine."""
    pairs: FloatArray
    """float64 (iterations,): of query and key, in the attention of prompts."""
    lag_ms_p99: float
    gap_ms_max: float
    load_average: float | None
    beside: tuple[float, float]
    """Iterations right before and after it, over their calibrated time, in the median."""
    rejected: str
    """Why it does not count, in one clause; empty where it counts."""

    @classmethod
    def of(
        cls,
        where: tuple[str, float, int, int],
        trace: TokenTrace,
        readings: Readings,
        load_average: float | None,
        beside: tuple[float, float] = (1.0, 1.0),
    ) -> LiveWindow:
        """From what was read."""
        before, after = beside
        lag_ms = float(np.quantile(readings.lag_ns or [0], 0.99)) / MS
        late_ns = max(readings.late_ns, default=0)
        gap_ms = (late_ns + (HEARTBEAT_NS if late_ns > STALL_NS else 0)) / MS
        reason = ""
        if lag_ms > LAG_MOST_MS:
            reason = f"requests were sent {lag_ms:.3g} ms late at p99, above {LAG_MOST_MS:.0f} ms"
        elif gap_ms > GAP_MOST_MS:
            reason = f"the scheduler stood still for {gap_ms:.0f} ms"
        elif abs(sum(beside) / 2.0 - 1.0) > DRIFT_MOST:
            times = sum(beside) / 2.0
            reason = f"the engine took {times:.2f} times its calibrated time beside it"
        elif abs(after / before - 1.0) > DRIFT_MOST:
            reason = f"the engine took {after / before:.2f} times as long after it as before"
        return cls(
            *where,
            trace,
            np.array(readings.noticed_ns, dtype=np.int64),
            np.array([answer.cpu_ns for answer in readings.answers], dtype=np.int64),
            pairs_of(trace, readings),
            lag_ms,
            gap_ms,
            load_average,
            beside,
            reason,
        )

    def drift(self, form: StepForm) -> float:
        """What its iterations took in all over what the calibration expects of them."""
        return float(self.took_ns.sum() / self.expected_ns(form).sum())

    def expected_ns(self, form: StepForm) -> FloatArray:
        """What the calibration expects of each iteration, float64 (iterations,)."""
        return expected_ns(self.trace, form, self.pairs)

    def factors(self, form: StepForm) -> FloatArray:
        """How long each iteration took over what is expected, float64 (iterations,)."""
        found: FloatArray = self.took_ns / self.expected_ns(form)
        return found

    def stalls(self, form: StepForm) -> FloatArray:
        """How many times as long as usual those took that stalled, float64 (stalls,)."""
        factors = self.factors(form)
        times: FloatArray = factors / np.median(factors)
        return times[times > STALLED]

    def slowest(self, form: StepForm) -> float:
        """How many times as long as usual the slowest stretch of iterations took."""
        factors = self.factors(form)
        means = np.convolve(factors, np.full(STRETCH, 1.0 / STRETCH), "valid")
        return float(max(means, default=factors.mean()) / np.median(factors))

    def calmed(self, rule: Rule, serving: Serving, form: StepForm) -> dict[str, float]:
        """The statistics without the stalls; those of the window itself where it has none."""
        if not len(self.stalls(form)):
            return summary_of(self.trace)
        factors = self.factors(form)
        usual = float(np.median(factors))
        calm = np.where(factors > STALLED * usual, usual, factors)
        live = self.trace
        workload = TokenWorkload(live.arrival_ns, live.prompt, live.output, live.tier, live.tiers)
        return summary_of(kernel.run(rule, workload, replace(serving, noise=calm)))

    @property
    def took_ns(self) -> IntArray:
        """How long each iteration took, int64 (iterations,)."""
        found: IntArray = self.trace.steps["finish_ns"] - self.trace.steps["start_ns"]
        return found

    def to_dict(self, form: StepForm) -> dict[str, Any]:
        """Plain data, without the trace."""
        return {
            "rule": self.rule,
            "load": self.load,
            "round": self.round,
            "attempt": self.attempt,
            "requests": len(self.trace),
            "iterations": len(self.trace.steps),
            "lag_ms_p99": self.lag_ms_p99,
            "gap_ms_max": self.gap_ms_max,
            "load_average": self.load_average,
            "beside": list(self.beside),
            "rejected": self.rejected,
            "drift": self.drift(form),
            "stalls": len(self.stalls(form)),
            "stall_most": float(max(self.stalls(form), default=1.0)),
            "slowest_stretch": self.slowest(form),
            "cpu_share": float(self.cpu_ns.sum() / self.took_ns.sum()),
            **summary_of(self.trace),
        }


def expected_ns(trace: TokenTrace, form: StepForm, pairs: FloatArray) -> FloatArray:
    """float64 (iterations,): by the calibration."""
    return np.array(
        [
            form.step_ns(Work(row["prefill"], row["sequences"], row["context"], each))
            for row, each in zip(trace.steps, pairs, strict=True)
        ]
    )


def pairs_of(trace: TokenTrace, readings: Readings) -> FloatArray:
    """float64 (iterations,): as ordered; of whole mean prompts where nobody noted them."""
    if len(readings.pairs) == len(trace.steps):
        return np.array(readings.pairs, dtype=np.float64)
    each: FloatArray = trace.steps["prefill"] * 0.5 * (float(trace.prompt.mean()) + 1.0)
    return each


def times_of(trace: TokenTrace) -> tuple[FloatArray, FloatArray]:
    """Time to the first token and latency of those who were served, in ms, float64 (served,)."""
    served = trace.served
    arrival = trace.arrival_ns[served]
    first = trace.instant_ns(trace.token_step[trace.offset[:-1]])[served]
    answered = trace.instant_ns(trace.finished)[served]
    return (first - arrival) / MS, (answered - arrival) / MS


def summary_of(trace: TokenTrace) -> dict[str, float]:
    """The statistics of a window or of a replication, over all who were served."""
    served = trace.served
    ttft, latency = times_of(trace)
    first = trace.instant_ns(trace.token_step[trace.offset[:-1]])[served]
    last = trace.instant_ns(trace.token_step[trace.offset[1:] - 1])[served]
    output = trace.output[served]
    many = output > 1
    tpot = ((last - first)[many] / (output[many] - 1)) / MS
    steps = trace.steps
    took = (steps["finish_ns"] - steps["start_ns"]).astype(np.float64)
    span = float(steps["finish_ns"][-1])
    return {
        **_spread("ttft_ms", ttft),
        **_spread("latency_ms", latency),
        "tpot_ms.mean": float(tpot.mean()) if len(tpot) else float("nan"),
        "itl_ms.p99": _gap_p99(trace),
        "output_tokens_per_s": float(output.sum()) / span * 1e9,
        "busy": float(took.sum()) / span,
        "mean_sequences": float((steps["running"] * took).sum() / took.sum()),
        "iterations": float(len(steps)),
    }


def _gap_p99(trace: TokenTrace) -> float:
    """Of all gaps between two tokens of one request, in ms; NaN where there is none."""
    instants = trace.instant_ns(trace.token_step)
    inside = np.ones(len(instants), dtype=np.bool_)
    inside[trace.offset[:-1]] = False
    inside &= np.repeat(trace.served, trace.output)
    gaps = np.diff(instants, prepend=0)[inside] / MS
    return float(np.quantile(gaps, 0.99)) if len(gaps) else float("nan")


def _spread(name: str, values: FloatArray) -> Mapping[str, float]:
    return {
        f"{name}.mean": float(values.mean()),
        f"{name}.p50": float(np.median(values)),
        f"{name}.p99": float(np.quantile(values, 0.99)),
    }
