"""Which queue a server's jobs are in: ``--queue URL``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from experiments.sentences import ScenarioError, suggestion
from experiments.serving.offer import Offer

from .contract import JobQueue
from .memory import MemoryQueue

if TYPE_CHECKING:
    from experiments.serving.web import Front

    from .office import Office

SCHEMES = ("redis", "rediss", "unix")


def queue_of(url: str | None, model: str, capacity: int, keep_s: float, lease_s: float) -> JobQueue:
    """A queue that is not open yet.

    Args:
        url: of Redis; None: Python's own, in memory.
        model: what the jobs are for.
        capacity: jobs that may be unfinished.
        keep_s: how long results are kept.
        lease_s: a server that is silent for so long has lost its jobs.

    Raises:
        ScenarioError: the address is none.
        ModuleNotFoundError: Redis' client is not installed.
    """
    if url is None:
        return MemoryQueue(capacity, keep_s)
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ScenarioError(
            "--queue must be the address of Redis, as redis://127.0.0.1:6379/0, rediss:// or "
            f"unix:///PATH, but begins with {scheme + ':' if scheme else url[:40]!r}"
        )
    from .redis_streams import RedisQueue

    try:
        return RedisQueue(url, model, capacity, keep_s, lease_s)
    except ValueError as error:
        raise ScenarioError(f"--queue is no address of Redis: {error}") from None


def jobs_tier(offer: Offer, named: str | None) -> int:
    """The tier of jobs: the one that is named, or the last one, which is the least urgent.

    Raises:
        ScenarioError: there is none of this name.
    """
    names = [tier.name for tier in offer.tiers]
    if named is None:
        return len(names) - 1
    if named not in names:
        raise ScenarioError(f"--jobs-tier: there is no tier {named!r}; {suggestion(named, names)}")
    return names.index(named)


def jobs_beside(
    offer: Offer,
    url: str | None,
    tier: str | None,
    capacity: int,
    keep_s: float,
    lease_s: float,
    say: Callable[[str], None],
) -> Callable[[Front], Office]:
    """What a server calls when it begins, to have jobs beside its requests.

    Args:
        offer: what is served.
        url: of Redis; None: Python's own queue.
        tier: of jobs; None: the last one.
        capacity: jobs that may be unfinished.
        keep_s: how long results are kept.
        lease_s: a server that is silent for so long has lost its jobs.
        say: told what people should know, in a sentence.

    Raises:
        ScenarioError: one of these is wrong.
        ModuleNotFoundError: Redis' client is not installed.
    """
    place = jobs_tier(offer, tier)
    queue = queue_of(url, offer.name, capacity, keep_s, lease_s)

    def begin(front: Front) -> Office:
        from .office import Office

        return Office(queue, place, front, say)

    return begin


__all__ = ["jobs_beside", "jobs_tier", "queue_of"]
