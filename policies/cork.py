"""A wait that is learned, and requests that are let go: BentoML's dispatcher."""

from __future__ import annotations

from typing import NamedTuple

from .contract import FloatArray, IntArray, Tier, View, fire, shared, shed, wait_until
from .parameters import largest_or, within
from .space import Size, Space, Time

TICK_NS = 1_000_000
"""How long the dispatcher sleeps before it looks again."""
TICK_S = 1e-3
DECAY = 0.95
SAMPLES, SKIPPED = 50, 2
"""Batches that a fit is made of, and how many are left out at first."""
REFRESH_S = 5.0
"""No fit is younger."""
TRAINING = 11
"""Batches that are not dispatched by the rule: nine as they come, then one of 2 and one of 3."""

LOOK_NS, WAITED, A, B, WAIT, REFRESHED, TRAINED, PATIENCE, SEEN = range(9)
"""Cells of the memory: when it looks again, how long the first request of the running batch had
waited, the fit ``a n + b`` of durations, the mean wait, when that was fitted (-1 / 0 before), how
often training has fitted it, how long training waits, and how many samples there are."""
RING = 9
"""The samples: sizes, durations and waits, in s, ``SAMPLES`` each."""


class Cork(NamedTuple):
    """Dispatch all that wait once waiting on would cost more than batches usually wait.

    BentoML has no wait to set.  One batch runs at a time.  When it looks, at an arrival at an empty
    queue and every ms after, with ``n`` waiting, the first for ``w0`` and the last for ``wn``:

    - the oldest is cancelled if ``n > 1`` and ``w0 + a n + b`` is ``max_latency_ns`` or more, where
      ``a n + b`` is a fit to the durations of the last 50 batches (so ``n`` is the whole queue);
      a lone one that finds a batch running when it has waited so long itself;
    - while a batch runs, nothing else happens;
    - fewer than ``max_batch_size`` wait on while ``n (wn + 1 ms + a)`` is at most 0.95 of the mean
      wait of the first request of those 50 batches;
    - else up to ``max_batch_size`` go.

    The fit is renewed at most every 5 s.  The first eleven batches train it.  So ``max_latency_ns``
    is no delay, but a bound above which requests are shed; the wait feeds on itself.

    This is ``CorkDispatcher`` of ``bentoml/_internal/marshal/dispatcher.py`` for requests of one
    row and a function that awaits; BentoML's ``workers`` are replicas, each with its own queue.
    """

    max_batch_size: int = 0
    max_latency_ns: int = 60_000_000_000

    @property
    def sheds(self) -> bool:
        """Requests that cannot be in time are cancelled."""
        return True

    @property
    def memory_slots(self) -> int:
        """What was learned."""
        return RING + 3 * SAMPLES

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_latency_ms"))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Cork:
        """Check the parameters against the profile's largest batch."""
        within("max_latency_ns", self.max_latency_ns, 1)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def observe(self, view: View) -> None:
        """Keep how large a batch was, how long it took and how long it had waited."""
        memory = view.memory
        train(memory, view.finished, self.max_batch_size, self.max_latency_ns / 1e9)
        if view.finished <= SKIPPED:
            return
        place = RING + int(memory[SEEN]) % SAMPLES
        memory[place] = view.finished_size
        memory[place + SAMPLES] = view.finished_service_ns / 1e9
        memory[place + 2 * SAMPLES] = memory[WAITED] if view.finished > TRAINING else 0.0
        memory[SEEN] += 1
        now_s = view.now_ns / 1e9
        if memory[REFRESHED] == 0.0 or now_s - memory[REFRESHED] >= REFRESH_S:
            memory[REFRESHED] = now_s
            refresh(memory)

    def decide(self, view: View) -> int:
        """See the class."""
        memory, latency_s = view.memory, self.max_latency_ns / 1e9
        if view.now_ns < memory[LOOK_NS]:
            return wait_until(int(memory[LOOK_NS]))
        running = view.size.sum() > 0
        started = view.finished + (1 if running else 0)
        train(memory, started, self.max_batch_size, latency_s)
        waiting = view.waiting[0]
        first_s = (view.now_ns - view.oldest_ns[0]) / 1e9
        last_s = (view.now_ns - view.arrival_ns[view.tail[0]]) / 1e9
        a, b = slope(memory, latency_s), base(memory, latency_s)
        if started < TRAINING:
            size = training_size(started, self.max_batch_size)
            late = first_s >= latency_s and waiting > required(started)
            early = size > 1 and waiting < size and size * a + b + first_s <= memory[PATIENCE]
        else:
            late = waiting > 1 and first_s + a * waiting + b >= latency_s
            late = late or (waiting == 1 and running and first_s >= latency_s)
            early = waiting < self.max_batch_size
            early = early and waiting * (last_s + TICK_S + a) <= memory[WAIT] * DECAY
        if late:
            return shed(view, 0, 1)
        if running or early or view.server < 0:
            memory[LOOK_NS] = view.now_ns + TICK_NS
            return wait_until(view.now_ns + TICK_NS)
        memory[WAITED] = first_s
        return fire(view, 0, min(waiting, self.max_batch_size))


@shared
def required(started: int) -> int:
    """How many training keeps from being cancelled, when so many batches have begun."""
    if started < SKIPPED + 6:
        return SKIPPED - started
    return 6 if started == 8 else (5 if started == 9 else 3)


@shared
def training_size(started: int, largest: int) -> int:
    """The batch that training waits for."""
    return min(max(1, started - 7), largest)


@shared
def slope(memory: FloatArray, latency_s: float) -> float:
    """Of the fit, in s for one more request; before the first fit a guess."""
    return float(memory[A]) if memory[A] > 0.0 else min(2.0, latency_s * 2.0 / 30)


@shared
def base(memory: FloatArray, latency_s: float) -> float:
    """Of the fit, in s for a batch of none; before the first fit a guess."""
    return float(memory[B]) if memory[A] > 0.0 else min(1.0, latency_s * 1.0 / 30)


@shared
def train(memory: FloatArray, started: int, largest: int, latency_s: float) -> None:
    """Fit anew where training asks for it: when its ninth, tenth and eleventh batch have begun."""
    while memory[TRAINED] < 3 and started >= 9 + memory[TRAINED]:
        refresh(memory)
        memory[TRAINED] += 1
        size = training_size(8 + int(memory[TRAINED]), largest)
        wait_s = (size * 2 + 1) * slope(memory, latency_s) + base(memory, latency_s)
        memory[PATIENCE] = min(latency_s * DECAY, wait_s) if size > 1 else 0.0


@shared
def refresh(memory: FloatArray) -> None:
    """Least squares of durations on sizes; where all sizes are one, of the least norm."""
    count = min(int(memory[SEEN]), SAMPLES)
    if count == 0:
        return
    size = duration = wait = 0.0
    for place in range(RING, RING + count):
        size += memory[place]
        duration += memory[place + SAMPLES]
        wait += memory[place + 2 * SAMPLES]
    size, duration, wait = size / count, duration / count, wait / count
    spread = product = 0.0
    for place in range(RING, RING + count):
        spread += (memory[place] - size) ** 2
        product += (memory[place] - size) * (memory[place + SAMPLES] - duration)
    if spread > 0.0:
        a = product / spread
        b = duration - a * size
    else:
        a = duration * size / (size * size + 1.0)
        b = duration / (size * size + 1.0)
    memory[A] = max(0.000001, a)
    memory[B] = max(0.0, b)
    memory[WAIT] = wait
