"""What a stack costs around its batches, measured on requests of their own before any window.

Bursts of 1 to three times the largest batch are sent, far enough apart that the server has time to
idle.  Of them, and of ordinary traffic, are taken:

1. *enter*: from a lone request's sending to the begin of its batch, less the wait that the policy
   asks for: the way in, and whatever happens between the decision to start and the model.
2. *turnaround*: from the end of a batch to the begin of the next, where that had only waited for
   this end (its requests were all there, and it was full or its timer had run out), less what the
   policy makes a free server wait.  Its part that grows with the size of the next batch is spent
   before that begins, the rest after the batch before.  (Of a policy that learns it grows with the
   size of the batch before.)
3. *overshoot*: how much longer the model took than it was asked to.
4. *leave*: from the end of a batch to the answer, by size.

A decision that comes later by a constant is the same as requests that come in later by it, so that
no more has to be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.export.setting import Costs
from policies.contract import FloatArray, IntArray, Policy, bind
from sim.service import expected_ns

from .contract import OwnBatches, Ruling
from .learned import Past, at_once
from .rig import Window
from .rulings import policy_of
from .timers import Timer, timer_of

APART = 2.0
"""Bursts are so many times as far apart as they take: the server is half busy."""
IDLE_NS = 5_000_000
LONE_SHARE = 0.25
"""Of the bursts are single requests, beside those whose turn it is."""
MARGIN_NS = 1_500_000
"""So long before a batch ends the requests of the next must have been sent, to count as waiting."""
LEAST = 5
"""Samples; fewer say nothing."""
NO_SAMPLES: IntArray = np.zeros(0, dtype=np.int64)
TRIM = 0.98
"""Share of the samples that are kept: what a busy machine adds is no cost of the stack."""


@dataclass(frozen=True, eq=False)
class Overheads:
    """What a stack costs around its batches."""

    enter_ns: IntArray
    """int64 (any,): samples of the way in."""
    turnaround_ns: IntArray
    """int64 (any,): samples of the turnaround, less what grows with the size."""
    per_request_ns: float
    """What each further request of a batch adds to the turnaround before it."""
    overshoot_ns: IntArray
    """int64 (any,): samples."""
    leave_ns: Mapping[int, IntArray]
    """By batch size int64 (any,): samples of the way out."""
    own: tuple[OwnBatches, ...] = ()
    """What the server itself said of its batches."""
    per_answer_ns: float = 0.0
    """What each further request of a batch adds to the turnaround after it."""
    thin: bool = False
    """Whether there were too few lone requests, or batches that followed another."""

    def before_ns(self, size: int) -> int:
        """What is spent before a batch of a size begins."""
        return round(self.per_request_ns * (size - 1))

    def after_ns(self, size: int) -> int:
        """What is spent after a batch of a size has ended, beside the turnaround."""
        return round(self.per_answer_ns * (size - 1))

    @property
    def usual_enter_ns(self) -> int:
        """The median of the way in."""
        return int(np.median(self.enter_ns))

    def leave_of(self, size: int) -> IntArray:
        """Samples of the way out of the size that is nearest."""
        return self.leave_ns[min(self.leave_ns, key=lambda known: abs(known - size))]

    def to_dict(self) -> dict[str, Any]:
        """Medians in ms, and how many samples they are of."""
        leave = np.concatenate(list(self.leave_ns.values()))
        parts = {
            "enter": self.enter_ns, "turnaround": self.turnaround_ns,
            "overshoot": self.overshoot_ns, "leave": leave,
        }  # fmt: skip
        return {
            **{f"{name}_ms": float(np.median(each)) / 1e6 for name, each in parts.items()},
            "per_request_ms": self.per_request_ns / 1e6,
            "per_answer_ms": self.per_answer_ns / 1e6,
            "thin": self.thin,
            "samples": {name: len(each) for name, each in parts.items()},
            "own_batch_ms": {
                str(each.size): each.busy_ns / each.batches / 1e6
                for each in self.own if each.batches
            },
        }  # fmt: skip


def bursts(
    ruling: Ruling, costs: Costs, largest: int, time_ns: int, rng: np.random.Generator
) -> IntArray:
    """When calibrating requests are sent: int64 (any,), bursts of all sizes in random order."""
    timer = timer_of(ruling)
    sizes = sizes_up_to(3 * largest)
    planned: list[int] = []
    now, longest = 0, int(costs.length_edges[-1])
    while now < time_ns:
        for size in rng.permutation(sizes).tolist():
            for count in (size, 1) if rng.random() < LONE_SHARE else (size,):
                planned += [now] * count
                batches = -(-count // largest)
                each_ns = cost_ns(costs, min(count, largest), longest)
                busy_ns = batches * each_ns / ruling.servers + timer.wait_ns
                now += IDLE_NS + int(APART * busy_ns * rng.uniform(0.8, 1.2))
    return np.array(planned, dtype=np.int64)


def sizes_up_to(most: int) -> list[int]:
    """All of the first, then steps of a fifth."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(most, max(sizes[-1] + 1, round(sizes[-1] * 1.2))))
    return sizes


def cost_ns(costs: Costs, size: int, longest: int) -> int:
    """What a batch of the model costs; beyond the table as the model adds it up."""
    most = len(costs.service_ns)
    if size > most:
        return cost_ns(costs, most, longest) + cost_ns(costs, size - most, longest)
    return int(expected_ns(costs.service_ns, costs.length_edges, size, longest))


def nominal_ns(window: Window, costs: Costs) -> IntArray:
    """int64 (M,): what the model was asked to take for each batch of a window."""
    longest = np.zeros(len(window.size), dtype=np.int64)
    member = window.batch >= 0
    np.maximum.at(longest, window.batch[member], window.length[member])
    return np.array(
        [
            cost_ns(costs, size, int(most))
            for size, most in zip(window.size.tolist(), longest.tolist(), strict=True)
        ],
        dtype=np.int64,
    )


def overheads_of(
    windows: Sequence[Window], ruling: Ruling, costs: Costs, own: tuple[OwnBatches, ...] = ()
) -> Overheads:
    """What calibrating requests say, in one or several windows.

    What there are no samples of counts as nothing; :attr:`Overheads.thin` says so.
    """
    timer = timer_of(ruling)
    enter_ns = _entered(_trimmed(np.concatenate([_alone(each) for each in windows])), timer)
    if timer.kind == "learned":
        policy = bind(policy_of(ruling), costs.service_ns, costs.length_edges)
        pairs = [_turnarounds_at_once(each, policy) for each in windows]
    else:
        usual_ns = int(np.median(_some(enter_ns)))
        pairs = [_turnarounds(each, timer, usual_ns) for each in windows]
    sizes, gap_ns = (np.concatenate(column) for column in zip(*pairs, strict=True))
    each_ns = _slope(sizes, gap_ns)
    per_request_ns, per_answer_ns = (0.0, each_ns) if timer.kind == "learned" else (each_ns, 0.0)
    rest_ns = np.maximum(0, gap_ns - np.rint(each_ns * (sizes - 1)).astype(np.int64))
    overshoot_ns = [each.end_ns - each.begin_ns - nominal_ns(each, costs) for each in windows]
    return Overheads(
        _some(enter_ns), _some(_trimmed(rest_ns)), per_request_ns,
        _some(_trimmed(np.concatenate(overshoot_ns))),
        leave_by_size(windows, 1) or {1: _some(NO_SAMPLES)}, own, per_answer_ns,
        thin=len(gap_ns) < LEAST or (len(enter_ns) < LEAST and timer.kind != "learned"),
    )  # fmt: skip


def leave_by_size(windows: Sequence[Window], least: int) -> dict[int, IntArray]:
    """By batch size int64 (any,): ways out, of sizes with at least so many requests."""
    size = np.concatenate([each.size[each.batch[each.good]] for each in windows])
    leave_ns = np.concatenate(
        [(each.done_ns - each.end_ns[each.batch])[each.good] for each in windows]
    )
    return {
        int(each): _trimmed(leave_ns[size == each])
        for each, count in zip(*np.unique(size, return_counts=True), strict=True)
        if count >= least
    }


def _alone(window: Window) -> IntArray:
    """int64 (any,): from sending to the begin, of requests that found nothing else there."""
    alone = np.flatnonzero(window.good)
    alone = alone[window.size[window.batch[alone]] == 1]
    place = window.batch[alone]
    ended = np.concatenate([[-(2**62)], np.maximum.accumulate(window.end_ns)])[place]
    idle = window.sent_ns[alone] > ended
    found: IntArray = (window.begin_ns[place] - window.sent_ns[alone])[idle]
    return found


def _entered(alone_ns: IntArray, timer: Timer) -> IntArray:
    """int64 (any,): ways in, which are what is left of lone requests' times without the wait.

    Where the timer does not start with the request, half of the wait is its mean: only the mean of
    all is known.  A wait that is learned is not known here: the stream says how long the way is.
    """
    if timer.kind == "learned":
        return np.zeros(len(alone_ns), dtype=np.int64)
    if timer.kind != "window" or not timer.wait_ns or not len(alone_ns):
        return np.maximum(0, alone_ns - timer.wait_ns)
    mean_ns = round(float(np.mean(alone_ns))) - timer.wait_ns // 2
    return np.full(len(alone_ns), max(0, mean_ns), dtype=np.int64)


def _turnarounds(window: Window, timer: Timer, enter_ns: int) -> tuple[IntArray, IntArray]:
    """Sizes and turnarounds of the batches that had only waited for the one before.

    The timer of a request starts when it has come in.
    """
    count = len(window.size)
    last, first = np.full(count, -(2**62)), np.full(count, 2**62)
    member = window.batch >= 0
    np.maximum.at(last, window.batch[member], window.sent_ns[member])
    np.minimum.at(first, window.batch[member], window.sent_ns[member])
    sizes, gaps = [], []
    before: dict[int, int] = {}
    for place, instance in enumerate(window.instance.tolist()):
        previous, before[instance] = before.get(instance), place
        if previous is None or last[place] > window.end_ns[previous] - MARGIN_NS:
            continue
        size, end_ns = int(window.size[place]), int(window.end_ns[previous])
        wait_ns = timer.free_server_waits_ns(size, end_ns - int(first[place]) - enter_ns)
        if timer.kind in ("oldest", "sealed") and wait_ns:
            continue  # the turnaround is over before the timer is, and does not show
        sizes.append(size)
        gaps.append(int(window.begin_ns[place]) - end_ns - wait_ns)
    return np.array(sizes, dtype=np.int64), np.array(gaps, dtype=np.int64)


def _turnarounds_at_once(window: Window, policy: Policy) -> tuple[IntArray, IntArray]:
    """Sizes of batches, and turnarounds after them, where a policy that learns then waited no more.

    Its dispatcher also writes the answers of the batch before, so that the turnaround grows with
    that one's size.
    """
    first = np.full(len(window.size), 2**62)
    member = window.batch >= 0
    np.minimum.at(first, window.batch[member], window.sent_ns[member])
    now = Past(first, window.begin_ns, window.end_ns, window.size)
    late = np.flatnonzero(at_once(window.before, now, window.sent_ns, window.batch, policy))
    return window.size[late - 1], window.begin_ns[late] - window.end_ns[late - 1]


def _slope(sizes: IntArray, gap_ns: IntArray) -> float:
    """What each further request adds to a turnaround: the median of the slopes between all pairs.

    Theil and Sen's estimate, which single late turnarounds do not move; at least 0.
    """
    first, second = np.triu_indices(len(sizes), 1)
    apart = sizes[second] - sizes[first]
    differ = apart != 0
    if not differ.any():
        return 0.0
    rises: FloatArray = (gap_ns[second] - gap_ns[first])[differ] / apart[differ]
    return max(0.0, float(np.median(rises)))


def _trimmed(samples: IntArray) -> IntArray:
    """Without the largest of them, in which the machine did something else."""
    if len(samples) < LEAST:
        return samples
    return np.sort(samples)[: max(LEAST, int(TRIM * len(samples)))]


def _some(samples: IntArray) -> IntArray:
    """At least one sample: nothing, where there is none."""
    return samples if len(samples) else np.zeros(1, dtype=np.int64)
