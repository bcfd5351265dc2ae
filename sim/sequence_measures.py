"""What a run says of its sequences: how long they wait for a slot, and how late their requests are.

1. The warm-up is left out and sections are cut as in :mod:`sim.metrics`; a sequence counts where it
   begins.  How many there were and how many were timed out is of the whole run.
2. The wait for a slot is from a sequence's first arrival until it has one.
3. Its worst latency is the largest of its requests that were served: what a listener notices.
4. A slot is used from when a sequence has it until it is given back.
5. A request overtakes where it starts before the one before it in its sequence was answered; under
   a sticky rule none does.
6. An unstable run has neither waits nor latencies: they grow with its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from policies.contract import FloatArray, IntArray

from .intervals import TAIL_PER_SECTION, Estimate, percentiles, ratio, refused
from .sections import Sections, overlap
from .trace import SERVED, Trace

MS = 1e-6
"""Milliseconds in a nanosecond."""

TAILS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
"""The percentiles over sequences; there are fewer of them than of requests."""


@dataclass(frozen=True)
class SequenceMeasures:
    """The sequences of a run under one policy."""

    sequences: int
    timed_out: int
    """Sent nothing for so long that they lost their slots."""
    slots: int
    """Of all servers together; 0 where the policy is not sticky."""
    waited: Estimate
    """Share of the sequences that waited for a slot."""
    to_slot_ms: dict[str, Estimate]
    """``mean`` and percentiles of the wait for a slot."""
    worst_ms: dict[str, Estimate]
    """``mean`` and percentiles, over sequences, of the largest latency of a request."""
    slot_utilisation: Estimate | None
    """Share of the slots' time in which a sequence has them; None where there are none."""
    open: Estimate
    """Sequences that are open at a time: from the first arrival to the last."""
    overtaking: Estimate
    """Share of the requests that overtook one of their own sequence."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        single = {"waited": self.waited, "open": self.open, "overtaking": self.overtaking}
        if self.slot_utilisation is not None:
            single["slot_utilisation"] = self.slot_utilisation
        return {
            "sequences": self.sequences,
            "timed_out": self.timed_out,
            "slots": self.slots,
            **{name: one.value for name, one in single.items()},
            "intervals": {name: one.to_json() for name, one in single.items()},
            "to_slot_ms": {key: one.to_json() for key, one in self.to_slot_ms.items()},
            "worst_ms": {key: one.to_json() for key, one in self.worst_ms.items()},
        }


class _Found(NamedTuple):
    """One replication; arrays are per sequence that counts, in order, or per section."""

    counts: IntArray
    """int64 (sections,), sequences that begin in each."""
    to_slot_ns: IntArray
    worst_ns: IntArray
    served: IntArray
    """int64 (sections,), those of them with a latency."""
    held_ns: FloatArray
    open_ns: FloatArray
    overtaking: IntArray
    following: IntArray
    """int64 (sections,), requests that had one before them."""


def measure_sequences(
    traces: Sequence[Trace],
    sections: Sequence[Sections],
    refusal: str = "",
    tail: int = TAIL_PER_SECTION,
) -> SequenceMeasures | None:
    """The sequences of a run; None where requests belong to none.

    Args:
        traces: the replications of one scenario under one policy.
        sections: of each.
        refusal: why there are no waits, where the run is not stable.
        tail: as :func:`sim.metrics.measure`.
    """
    times = traces[0].sequences
    if times is None:
        return None
    found = [_found(trace, cuts) for trace, cuts in zip(traces, sections, strict=True)]
    lasts_ns = np.concatenate([np.diff(cuts.edges_ns) for cuts in sections])
    begun, requests = _of(found, "counts"), _of(found, "following")
    slots = times.slots * traces[0].servers
    to_slot = _spread(_of(found, "to_slot_ns"), begun, refusal, tail)
    if not slots:
        to_slot = {key: refused(int(begun.sum()), reason="there are no slots") for key in to_slot}
    waited = _starts(_of(found, "to_slot_ns") > 0, begun)
    return SequenceMeasures(
        sequences=sum(len(_times(trace).slot) for trace in traces),
        timed_out=sum(int(_times(trace).timed_out.sum()) for trace in traces),
        slots=slots,
        waited=ratio(waited, begun, begun, (0.0, 1.0)),
        to_slot_ms=to_slot,
        worst_ms=_spread(_of(found, "worst_ns"), _of(found, "served"), refusal, tail),
        slot_utilisation=ratio(_of(found, "held_ns"), lasts_ns * slots, requests, (0.0, 1.0))
        if slots
        else None,
        open=ratio(_of(found, "open_ns"), lasts_ns, requests),
        overtaking=ratio(_of(found, "overtaking"), requests, requests, (0.0, 1.0)),
    )


def _times(trace: Trace) -> Any:
    assert trace.sequences is not None, "all replications have them or none"
    return trace.sequences


def _of(found: Sequence[_Found], name: str) -> Any:
    """A column of all replications."""
    return np.concatenate([getattr(one, name) for one in found])


def _found(trace: Trace, cuts: Sections) -> _Found:
    times = _times(trace)
    of, count = times.sequence, len(times.slot)
    ids = np.arange(len(of))
    first, last = np.zeros((2, count), dtype=np.int64)
    last[of], first[of[::-1]] = ids, ids[::-1]
    begins = np.searchsorted(first, cuts.ids)
    begun = slice(begins[0], begins[-1])
    arrived_ns = trace.arrival_ns[first]
    seated_ns = np.where(times.seated_ns >= 0, times.seated_ns, arrived_ns)
    worst = np.full(count, -1)
    served = trace.status == SERVED
    np.maximum.at(worst, of[served], (trace.finish_ns - trace.arrival_ns)[served])
    has = worst >= 0
    end_ns = int(cuts.edges_ns[-1])
    held = times.seated_ns >= 0
    until_ns = np.where(times.freed_ns >= 0, times.freed_ns, end_ns)[held]
    until_ns = np.maximum(until_ns, times.seated_ns[held])
    follows, overtakes = _overtaking(trace)
    return _Found(
        np.diff(begins),
        (seated_ns - arrived_ns)[begun],
        worst[begun][has[begun]],
        np.diff(np.append(0, np.cumsum(has))[begins]),
        overlap(times.seated_ns[held], until_ns, cuts.edges_ns),
        overlap(arrived_ns, trace.arrival_ns[last], cuts.edges_ns),
        np.diff(np.append(0, np.cumsum(overtakes))[cuts.ids]),
        np.diff(np.append(0, np.cumsum(follows))[cuts.ids]),
    )


def _overtaking(trace: Trace) -> tuple[Any, Any]:
    """Whether a request was served after another of its sequence, and whether it overtook it."""
    served = np.flatnonzero(trace.status == SERVED)
    order = served[np.argsort(_times(trace).sequence[served], kind="stable")]
    one, after = order[:-1], order[1:]
    same = _times(trace).sequence[one] == _times(trace).sequence[after]
    follows, overtakes = np.zeros((2, len(trace)), dtype=np.bool_)
    follows[after[same]] = True
    overtakes[after[same & (trace.start_ns[after] < trace.finish_ns[one])]] = True
    return follows, overtakes


def _starts(holds: Any, counts: IntArray) -> IntArray:
    """How many of each section hold, int64 (sections,)."""
    return np.asarray(np.diff(np.append(0, np.cumsum(holds))[np.append(0, np.cumsum(counts))]))


def _spread(values: IntArray, counts: IntArray, refusal: str, tail: int) -> dict[str, Estimate]:
    """Mean and percentiles in ms of values in order of their sections; reordered in place."""
    n = int(counts.sum())
    if refusal:
        return dict.fromkeys(("mean", *TAILS), refused(n, reason=refusal))
    cuts = np.append(0, np.cumsum(counts))
    mean = ratio(np.diff(np.append(0, np.cumsum(values))[cuts]), counts, counts)
    tails = percentiles(values, cuts, list(TAILS.values()), tail)
    named = {"mean": mean} | dict(zip(TAILS, tails, strict=True))
    return {key: one.scaled(MS) for key, one in named.items()}
