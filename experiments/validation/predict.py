"""What the simulator says of a live window, in three ways.

1. *Replay*: it is fed the times that the window's own batches took, and how late each request was
   noticed.  This tests its logic.
2. *A priori*: it knows the calibration alone: the table, and at what level the device was right
   before and after each window.  Every replication has jitter drawn from the calibrated residuals
   (correlated from batch to batch as those were), one drift of the whole device, and a table of
   medians from resampled calibration calls, since these were few.  All replications run the
   window's own requests.  The point is their median, which a few slow draws at a high load do not
   move; from their 5th to their 95th percentile is the interval of 90 % for *one* window.
3. *Drift-corrected*: as 2 without a drawn drift, but slowed as a whole by the one factor that the
   window's batches took in sum over what the calibration expects of them.

Policies stay bound to the calibrated table, as they were live: what happens to the service times is
luck, which they do not know.  With several servers they see running batches end when the
resampled table expects it (in the compiled kernel), within the error of a median.  So are rules
bound that stand before replicas of several profiles.

The drift is a factor exp(N(0, s)) on the level.  Where the level was read before and after every
window, s is how far two such readings differ: their own error, and what the device does meanwhile.
Otherwise a window drifts, and so did the mean of the calibration's blocks; and a few blocks tell
little of their spread.  Then s is that spread times sqrt(1 + 1/blocks), widened until 90 % of the
normal distribution reach as far as 90 % of Student's with blocks - 1 degrees of freedom: the usual
prediction interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray, IntArray, Policy
from profiles.noise import NoiseTable
from sim import kernel, model
from sim.recorded import RecordedTimes, profile_ns
from sim.service import SCORE_LIMIT, Service
from sim.service_times import DrawnTimes
from sim.trace import Trace
from sim.workload import Workload

from .calibration import Calibration
from .luck import Luck
from .summary import SHARES, STATISTICS, summary_of
from .windows import Window

REPLICATIONS = 200
"""The 5th percentile of 200 is the 10th smallest: known to +-3 % of probability."""
CORRECTED = 20
"""Replications behind each drift-corrected value, which has no interval."""
LOW, HIGH = 0.05, 0.95


class Replay(NamedTuple):
    """A window simulated with its own times."""

    trace: Trace
    shared_batches: float
    """Share of its batches that the window made too, of the same requests."""


def replayed(
    policy: Policy,
    workload: Workload,
    service: Service,
    live: Trace,
    late_ns: IntArray | None = None,
) -> Replay:
    """A window's requests in the simulator, with the times of the window's own batches.

    Args:
        policy: not bound.
        workload: the window's own.
        service: the calibrated one, to which the policy is bound.
        live: what happened in the window.
        late_ns: how long after its arrival each request was noticed there.
    """
    times = RecordedTimes(live, service)
    trace = model.run(policy, workload, service, times=times, late_ns=late_ns)
    return Replay(trace, times.found_share)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Replications of one policy on one workload."""

    values: dict[str, FloatArray]
    """By statistic float64 (replications,)."""
    latency_ms: FloatArray
    """float64 (replications, shares): latency that these shares of the requests are within."""
    pooled_ms: FloatArray
    """float64 (any,), increasing: the latencies of all replications together."""
    batch_share: FloatArray
    """float64 (replications, largest batch + 1): share of batches by size."""
    tiers: dict[str, dict[str, FloatArray]]
    """By tier as ``values``; empty where there is one tier."""

    def point(self, statistic: str, tier: str | None = None) -> float:
        """Median of the replications."""
        return float(np.median(self._of(tier)[statistic]))

    def interval(self, statistic: str, tier: str | None = None) -> tuple[float, float]:
        """Where 90 % of the windows should be."""
        low, high = np.quantile(self._of(tier)[statistic], (LOW, HIGH))
        return float(low), float(high)

    def _of(self, tier: str | None) -> dict[str, FloatArray]:
        return self.values if tier is None else self.tiers[tier]


def predicted(
    policy: Policy,
    workload: Workload,
    service: Service,
    luck: Sequence[Luck],
    engine: str = "kernel",
) -> Forecast:
    """Run a policy once for each draw of luck.

    Args:
        policy: not bound.
        workload: the window's own.
        service: the calibrated one, to which the policy is bound.
        luck: the replications.
        engine: ``kernel``, or ``simpy`` for rules that do not compile.
    """
    run = _compiled if engine == "kernel" else _simulated
    found = [summary_of(run(policy, workload, service, one)) for one in luck]
    width = service.largest_batch + 1
    padded = [np.pad(one.batch_share, (0, width - len(one.batch_share))) for one in found]
    return Forecast(
        {name: np.array([one.values[name] for one in found]) for name in STATISTICS},
        np.stack([quantiles(one.latency_ms) for one in found]),
        np.sort(np.concatenate([one.latency_ms for one in found])),
        np.stack(padded),
        {
            tier: {name: np.array([one.tiers[tier][name] for one in found]) for name in values}
            for tier, values in found[0].tiers.items()
        },
    )


def _compiled(policy: Policy, workload: Workload, service: Service, luck: Luck) -> Trace:
    (bound, *others), _ = service.policies(policy, workload.tiers)
    if others:
        return kernel.run(policy, workload, luck.service_like(service))
    return kernel.run_bound(bound, workload, luck.service_like(service))


def _simulated(policy: Policy, workload: Workload, service: Service, luck: Luck) -> Trace:
    return model.run(policy, workload, service, times=DrawnTimes(luck.service_like(service)))


def quantiles(latency_ms: FloatArray) -> FloatArray:
    """float64 (shares,): latencies at the shares of :data:`SHARES`; NaN where there are none."""
    if not len(latency_ms):
        return np.full(len(SHARES), math.nan)
    found: FloatArray = np.quantile(latency_ms, SHARES)
    return found


def drift_spread(calibration: Calibration, windows: Sequence[Window] = ()) -> float:
    """Standard deviation of the log of the drift that a prediction draws.

    Where the device's level was read before and after every window, a prediction is at that level,
    and what is left is how far two such readings differ.  Otherwise it is the drift between the
    blocks of the calibration; nothing is known of it where there is one block.
    """
    from scipy.stats import norm, t

    changes = [window.condition.change for window in windows if window.condition.accepted]
    known = [change for change in changes if change is not None]
    if known and len(known) == len(changes):
        return math.sqrt(float(np.mean(np.square(known))) / 2)
    blocks = len(calibration.block_factors)
    if blocks < 2:
        return 0.0
    wider = float(t.ppf(HIGH, blocks - 1) / norm.ppf(HIGH))
    return calibration.drift_sd * math.sqrt(1.0 + 1.0 / blocks) * wider


def drift_of(live: Trace, service: Service, jitter: NoiseTable) -> float:
    """What a window's batches took in sum, over what the calibration expects of them.

    The mean of the jitter is part of what is expected, so that a window without drift has 1.
    """
    took_ns = (live.batch_finish_ns - live.batch_start_ns).sum()
    usual = mean_factors(jitter)[jitter.class_of_size[live.batch_size]]
    return float(took_ns / (profile_ns(live, service) * usual).sum())


def mean_factors(jitter: NoiseTable) -> FloatArray:
    """float64 (classes,): mean of the jitter of each class of batch sizes."""
    from scipy.special import ndtri

    scores = np.clip(ndtri((np.arange(4096) + 0.5) / 4096), -SCORE_LIMIT, SCORE_LIMIT)
    knots = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, jitter.quantiles.shape[1])
    return np.array([np.interp(scores, knots, row).mean() for row in jitter.quantiles])
