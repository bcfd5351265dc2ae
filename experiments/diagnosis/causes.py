"""Why latency is high: a table of causes.

A cause is one function and one row.  The function looks at a run and gives evidence in words, with
the world in which the cause is gone; or None where the evidence is not there.  How much a cause
matters is not guessed from the evidence: it is how much of the judged percentile goes away when
that world is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.parallel import Progress, nothing
from sim.intervals import Difference

from . import causes_arrivals, causes_batches, causes_device, causes_stages
from .gain import difference
from .look import Look
from .sign import Sign
from .world import play


class Cause(NamedTuple):
    """One row of the table."""

    name: str
    """As JSON calls it."""
    because: str
    """Follows *p99 is high because*."""
    find: Callable[[Look], Sign | None]
    usual: bool = False
    """Whether it is there in any service: without a target it is no fault, and beside a cause that
    is not usual it counts half."""


CAUSES = (
    Cause("overload", "more arrives than the servers can do", causes_arrivals.overload),
    Cause("burst", "requests arrive in bursts", causes_arrivals.burst),
    Cause(
        "tier_blocking", "urgent requests wait behind less urgent ones",
        causes_arrivals.tier_blocking,
    ),
    Cause(
        "routing", "requests queue at one server while others are idle", causes_arrivals.routing
    ),
    Cause("memory_limit", "memory keeps batches too small", causes_batches.memory_limit),
    Cause("small_batch", "the batch size limit is too small", causes_batches.small_batch),
    Cause(
        "large_batch", "batches are larger than they need be", causes_batches.large_batch,
        usual=True,
    ),
    Cause("timer", "servers idle while a timer holds requests back", causes_batches.timer),
    Cause("long_requests", "short requests wait for long ones", causes_batches.long_requests),
    Cause(
        "padding", "short requests are padded to the length of long ones", causes_batches.padded,
        usual=True,
    ),
    Cause(
        "absent", "replicas are not there when they are needed", causes_arrivals.absent,
    ),
    Cause("cold_start", "servers were slow at the start", causes_device.cold_start),
    Cause("noisy_neighbour", "servers are slow at times", causes_device.noisy_neighbour),
    Cause("slow_server", "one server is slower than the others", causes_device.slow_server),
    Cause(
        "shared_gpu", "servers that share a GPU slow each other down", causes_device.shared_gpu
    ),
    Cause("slow_device", "batches take longer than the profile says", causes_device.slow_device),
    Cause("slow_pre", "pre-processing is slow", causes_stages.slow_pre),
    Cause("slow_post", "post-processing is slow", causes_stages.slow_post),
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A cause for which there is evidence."""

    name: str
    because: str
    evidence: str
    without_ms: float
    """The judged percentile without it."""
    gain: Difference
    """In ms, paired, of the world without it: negative where latency falls."""
    share: float
    """Of the percentile that goes away without it."""
    usual: bool
    """Whether it is there in any service."""


LEAST = 0.1
"""Share of the percentile that has to go away for a cause to be told at all."""


def findings(look: Look, tell: Progress = nothing) -> list[Finding]:
    """The causes for which there is evidence, the one that matters most first."""
    found = []
    for place, cause in enumerate(CAUSES):
        tell(f"cause: {cause.name}", place, len(CAUSES))
        sign = cause.find(look)
        if sign is None:
            continue
        played = play(sign.world)
        value_ns = look.judged.value_ns(played)
        share = 1.0 - value_ns / look.base_ns if look.base_ns > 0 else 0.0
        if share >= LEAST:
            gain = difference(look.judged.estimate(played), look.base, look.model_error)
            found.append(
                Finding(
                    cause.name, cause.because, sign.words, value_ns / 1e6, gain, share, cause.usual
                )
            )
    return sorted(found, key=lambda one: -one.share * (0.5 if one.usual else 1.0))
