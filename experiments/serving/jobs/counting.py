"""What becomes of jobs, as Prometheus metrics beside those of requests.

What is counted is what this server saw; how many wait, run or are dead is of the whole queue, which
servers may share.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter

from experiments.serving.meters import PREFIX, Meters

from .contract import Counts, State

OVER = (State.done, State.failed, State.dead, State.cancelled)
WHY = ("server", "refused")


class JobCounts:
    """A :class:`~.feeding.Tally`."""

    def __init__(self, meters: Meters) -> None:
        registry = meters.registry
        self._came = Counter(PREFIX + "jobs_submitted", "Jobs that came.", registry=registry)
        over = Counter(PREFIX + "jobs", "Jobs that are over.", ("outcome",), registry=registry)
        self._over = {state: over.labels(state.value) for state in OVER}
        again = Counter(
            PREFIX + "jobs_retries", "Jobs that were tried again.", ("why",), registry=registry
        )
        self._again = {why: again.labels(why) for why in WHY}
        self._full = Counter(
            PREFIX + "jobs_refused", "Jobs that found a full queue.", registry=registry
        )
        self._meters = meters

    def came(self, jobs: int) -> None:
        """They are accepted."""
        self._came.inc(jobs)

    def refused(self, jobs: int) -> None:
        """There was no room for them."""
        self._full.inc(jobs)

    def ended(self, state: State) -> None:
        """A job is over."""
        self._over[state].inc()

    def tried_again(self, why: str) -> None:
        """A job was refused, or is run for the second time."""
        self._again[why].inc()

    def show(self, counts: Callable[[], Counts], capacity: int, there: Callable[[], bool]) -> None:
        """What is read only when somebody asks for metrics."""
        watch = self._meters.watch
        unfinished = "Jobs of the queue, whichever server has them."
        watch("jobs_unfinished", unfinished, lambda: float(counts().waiting), state="waiting")
        watch("jobs_unfinished", unfinished, lambda: float(counts().running), state="running")
        watch("jobs_dead", "Jobs whose servers died twice.", lambda: float(counts().dead))
        watch("jobs_oldest_seconds", "Age of the oldest one that is not over.",
              lambda: counts().oldest_s)  # fmt: skip
        watch("jobs_capacity", "Jobs that may be unfinished.", lambda: float(capacity))
        watch("jobs_connected", "Whether the queue can be reached.", lambda: float(there()))


__all__ = ["JobCounts"]
