"""Causes that lie in how batches are made: their size, the timer, and who shares one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.contract import IntArray, Policy
from policies.size_or_timeout import SizeOrTimeout

from .look import Look
from .pace import table_ns
from .retuning import wait_of, with_cap, with_wait
from .sign import Sign, hundred, ms

BINDS = 0.5
"""Share of the slow requests that have to have met a full batch."""
BETTER = 1.2
"""How much more a larger batch has to do per second to be worth it."""


def small_batch(look: Look) -> Sign | None:
    """Batches are full, requests stay behind, and larger ones would do more per second."""
    most = look.reachable().largest_batch
    if look.known_largest and look.cap >= look.known_largest:
        return None
    return _binding(look, most, "")


def memory_limit(look: Look) -> Sign | None:
    """The same at the largest batch that the service can run."""
    if not look.known_largest or look.cap < look.known_largest:
        return None
    return _binding(look, look.beyond.largest_batch, ", the largest that fits")


def _binding(look: Look, most: int, which: str) -> Sign | None:
    """Full batches among what the slow requests met; the best larger size is simulated."""
    if most <= look.cap:
        return None
    met = float(look.met(look.slow, look.full).mean())
    service = look.beyond if most > look.world.service.largest_batch else look.world.service
    own = look.per_s_at(service, look.cap)
    sizes = [size for size in _doublings(look.cap, most) if size > look.cap]
    rates = [look.per_s_at(service, size) for size in sizes]
    best = int(np.argmax(rates))
    if met < BINDS or rates[best] < BETTER * own:
        return None
    enough = next(k for k, rate in enumerate(rates) if rate >= 0.97 * rates[best])
    size = sizes[enough]
    words = (
        f"{hundred(met)} of the slow requests met a full batch of {look.cap}{which} that left "
        f"others behind; batches of {size} would do {rates[enough] / own:.2f} times as much per "
        "second"
    )
    return Sign(
        words, replace(look.world, policy=with_cap(look.world.policy, size), service=service)
    )


def _doublings(low: int, high: int) -> list[int]:
    """``low``, twice as many, ... up to and including ``high``."""
    sizes = [low]
    while sizes[-1] * 2 < high:
        sizes.append(sizes[-1] * 2)
    return [*sizes, high]


HELD = 0.1
"""Share of the slow requests' latency that a timer has to take."""


def timer(look: Look) -> Sign | None:
    """Requests are held back while their server is idle."""
    slow, held = look.slow, look.held_share
    if held < HELD:
        return None
    wait = wait_of(look.world.policy)
    idle = 1.0 - look.busy[1]
    words = (
        f"{hundred(held)} of the slow requests' latency passes while their server is idle "
        f"({ms(float(np.median(look.held_ns[slow])))} of it in the middle"
        + (f", the rule waits up to {ms(wait)}" if 0 < wait < 2**62 else "")
        + f"); servers are idle {hundred(idle)} of the time"
    )
    return Sign(words, replace(look.world, policy=eager(look)))


def eager(look: Look) -> Policy:
    """The rule without its wait; one that waits for full batches serves whoever is there."""
    policy = with_wait(look.world.policy, 0, look.cap)
    return policy if hasattr(look.world.policy, "max_wait_ns") else SizeOrTimeout(look.cap, 0)


LONG = 2.0
"""A request is long where it makes a usual batch run so many times as long as the median does."""
FEW = 0.3
"""Long ones are the exception: at most this share."""


def long_requests(look: Look) -> Sign | None:
    """Slow requests that are not long themselves share a batch with, or wait for, long ones."""
    length = look.seen.length
    usual, limit = int(np.median(length)), _limit(look)
    long = length > limit
    if not long.any() or long.mean() > FEW:
        return None
    longest = look.seen.batch_longest > limit
    victims = look.slow[~long[look.slow]]
    if len(victims) < 0.2 * len(look.slow):
        return None
    met = float(look.met(victims, longest).mean())
    every = float(look.met(look.own, longest).mean())
    if met < BINDS:
        return None
    words = (
        f"{hundred(met)} of the slow requests that are short met a batch with one of more than "
        f"{limit:,} {look.seen.length_unit} ({hundred(every)} of all did; {long.mean():.1%} of "
        f"requests are so long, the median is {usual:,}); "
        f"{hundred(padding(look))} of the padded work is padding"
    )
    cut = np.where(long, usual, length)
    return Sign(words, replace(look.world, length=cut))


PADDED = 0.25
"""Share of the work that is padding, from which it is worth a look."""


def padded(look: Look) -> Sign | None:
    """Requests of all lengths share batches, and each costs as much as the longest."""
    waste = padding(look)
    if waste < PADDED or long_requests(look) is not None:
        return None
    length, unit = look.seen.length, look.seen.length_unit
    low, middle, high = np.quantile(length, (0.1, 0.5, 0.99)).astype(np.int64).tolist()
    words = (
        f"{hundred(waste)} of the padded work is padding: lengths are {low:,} to {high:,} {unit} "
        f"(p10 to p99, median {middle:,}), and batches run as long as their longest"
    )
    mean = np.full(len(length), int(np.rint(length.mean())))
    return Sign(words, replace(look.world, length=mean))


def padding(look: Look) -> float:
    """Share of the padded lengths that is padding."""
    ran = look.seen.batch >= 0
    padded = float((look.seen.batch_size * look.seen.batch_longest).sum())
    return 1.0 - float(look.seen.length[ran].sum()) / max(padded, 1.0)


def _limit(look: Look) -> int:
    """The length above which a usual batch runs ``LONG`` times as long."""
    lengths: IntArray = np.unique(look.seen.length)
    ran = look.seen.batch[look.seen.batch >= 0]
    size = np.full(len(lengths), int(np.median(look.seen.batch_size[ran])))
    times = table_ns(look.world.service, 0, size, lengths)
    usual = float(np.interp(np.median(look.seen.length), lengths, times))
    above = times > LONG * usual
    return int(lengths[np.argmax(above)]) - 1 if above.any() else int(lengths[-1])


def large_batch(look: Look) -> Sign | None:
    """Most of the time is the batch itself, and smaller ones would keep up."""
    if look.slow_shares[3] < 0.5 or look.cap < 2:
        return None
    service, need = look.world.service, 1.25 * look.rate_per_s / look.world.service.servers
    sizes = [max(1, look.cap // part) for part in (2, 4, 8)]
    enough = [size for size in dict.fromkeys(sizes) if look.per_s_at(service, size) >= need]
    if not enough:
        return None
    size = min(enough)
    mean = float(look.seen.batch_size.mean())
    words = (
        f"{hundred(float(look.slow_shares[3]))} of the slow requests' latency is their own batch "
        f"(limit {look.cap}, mean size {mean:.1f}); batches of at most {size} would keep up"
    )
    return Sign(words, replace(look.world, policy=with_cap(look.world.policy, size)))
