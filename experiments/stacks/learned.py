"""What a policy that learns knows when a window begins: its memory after the batches before it.

BentoML's dispatcher waits as long as its last fifty batches have waited, as of some instant in the
last 5 s (:mod:`policies.cork`).  A window that is simulated from an empty memory begins with the
training of a server that has just started, which the real one has had long before.  So the memory
is that of the server: the policy observes the batches that it had made until then, by the server's
own log.  What was learned in a window itself is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.contract import FIRE, FloatArray, IntArray, Policy, View, bind, memory_slots
from policies.cork import WAITED, Cork
from policies.example_view import Waiting, example_view
from sim.model import Model
from sim.service import Service
from sim.service_times import ServiceTimes
from sim.station import Station
from sim.trace import Trace
from sim.workload import Workload

from .model_files import Logged

BoolArray = NDArray[np.bool_]
NOTHING: IntArray = np.zeros(0, dtype=np.int64)


class Timed(ServiceTimes, Protocol):
    """How long batches keep a server, and of that the model."""

    model_ns: list[int]


class Past(NamedTuple):
    """M batches that a server had made before an instant, which is 0; in order of their ends."""

    first_sent_ns: IntArray = NOTHING
    """int64 (M,): when the first of their requests was sent."""
    begin_ns: IntArray = NOTHING
    """int64 (M,)."""
    end_ns: IntArray = NOTHING
    """int64 (M,)."""
    size: IntArray = NOTHING
    """int64 (M,)."""
    longest: IntArray = NOTHING
    """int64 (M,): the longest of their requests."""

    @classmethod
    def of(
        cls, batches: Sequence[Logged], sent_ns: IntArray, length: IntArray, now_ns: int
    ) -> Past:
        """Of a server's log, up to an instant.

        Args:
            batches: all that were logged.
            sent_ns: int64 (any,), when requests were sent, by identity.
            length: int64 (any,), of requests, by identity.
            now_ns: the instant.
        """
        done = sorted((each for each in batches if each.end_ns < now_ns), key=lambda b: b.end_ns)
        columns = [
            (
                int(sent_ns[list(each.identities)].min()) - now_ns,
                each.begin_ns - now_ns,
                each.end_ns - now_ns,
                len(each.identities),
                int(length[list(each.identities)].max()),
            )
            for each in done
        ]
        return cls(*np.array(columns, dtype=np.int64).reshape(-1, 5).T)

    def at(self, now_ns: int) -> Past:
        """The same where the instant is not 0."""
        return self._replace(
            first_sent_ns=self.first_sent_ns + now_ns,
            begin_ns=self.begin_ns + now_ns,
            end_ns=self.end_ns + now_ns,
        )


class Learner:
    """A policy that learns of the model's times alone, not of the turnaround after them.

    BentoML's dispatcher takes the time when the result of the model is there; then the loop that it
    shares writes the answers, which keeps it from starting another batch.
    """

    def __init__(self, policy: Any, model_ns: Sequence[int], before: int) -> None:
        """Wrap a policy.

        Args:
            policy: that of the stack.
            model_ns: how long the models of the batches took; it grows with them.
            before: how many batches are not among these.
        """
        self.policy, self.model_ns, self.before = policy, model_ns, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def bind(self, *profile: Any) -> Learner:
        """Bind the policy."""
        return Learner(self.policy.bind(*profile), self.model_ns, self.before)

    def decide(self, view: View) -> int:
        """As the policy."""
        answer: int = self.policy.decide(view)
        return answer

    def observe(self, view: View) -> None:
        """As the policy, of the model's time."""
        took_ns = self.model_ns[view.finished - 1 - self.before]
        self.policy.observe(view._replace(finished_service_ns=took_ns))


def learns(policy: Policy) -> bool:
    """Whether what a policy does follows from batches long ago."""
    return isinstance(policy, Cork)


def run_after(
    past: Past, enter_ns: int, policy: Policy, workload: Workload, service: Service, times: Timed
) -> Trace:
    """Simulate requests that come to a server with a past.

    Args:
        past: of the server; its instant 0 is that of the workload.
        enter_ns: how long its requests took to come in.
        policy: one that learns, not yet bound.
        workload: the requests.
        service: of the server.
        times: of its batches.
    """
    count = len(past.size)
    known = bind(policy, service.service_ns[0], service.length_edges, servers=service.servers)
    memory = remembered(past, enter_ns, known)
    station = Station(Learner(policy, times.model_ns, count), workload, service)
    for queue in station.queues:
        queue.memory[:] = memory
        queue.finished = (count, 0, 0)
    found = Model(station, times)
    found.env.run()
    return station.trace()


def remembered(past: Past, enter_ns: int, policy: Policy) -> FloatArray:
    """float64 (memory_slots,): the memory of a policy that has observed batches.

    Args:
        past: the batches.
        enter_ns: how long their requests took to come in.
        policy: bound, one that learns.
    """
    memory = np.zeros(memory_slots(policy))
    for place in range(len(past.size)):
        _observed(past, place, 0, enter_ns, memory, policy)
    return memory


def at_once(past: Past, now: Past, sent_ns: IntArray, batch: IntArray, policy: Policy) -> BoolArray:
    """Whether a policy would have begun each batch when the one before it ended: bool (M,).

    Args:
        past: what the server had done before.
        now: the batches, in order of their begin.
        sent_ns: int64 (N,): when requests were sent.
        batch: int64 (N,): the batch of each.
        policy: bound, one that learns.
    """
    memory = remembered(past, 0, policy)
    found = np.zeros(len(now.size), dtype=np.bool_)
    for place, end_ns in enumerate(now.end_ns[:-1].tolist()):
        _observed(now, place, len(past.size), 0, memory, policy)
        here = np.flatnonzero((batch > place) & (sent_ns <= end_ns))
        if len(here):
            waiting = [Waiting(int(each)) for each in sent_ns[here]]
            view = example_view(end_ns, waiting, finished=(len(past.size) + place + 1, 0, 0))
            found[place + 1] = policy.decide(view._replace(memory=memory.copy())) == FIRE
    return found


def _observed(
    past: Past, place: int, before: int, enter_ns: int, memory: FloatArray, policy: Any
) -> None:
    """Let a policy observe a batch, before which there were others."""
    begun_ns = int(past.begin_ns[place])
    memory[WAITED] = max(0, begun_ns - int(past.first_sent_ns[place]) - enter_ns) / 1e9
    ended_ns = int(past.end_ns[place])
    policy.observe(
        example_view(ended_ns, ())._replace(
            finished=before + place + 1,
            finished_size=int(past.size[place]),
            finished_service_ns=ended_ns - begun_ns,
            memory=memory,
        )
    )
