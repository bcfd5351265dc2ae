"""Causes that lie before and after the servers: the workers of pre- and post-processing."""

from __future__ import annotations

from dataclasses import replace

from .look import Look
from .sign import Sign, hundred

SLOW = 0.25
"""Share of the slow requests' latency from which a stage is worth a look."""


def slow_pre(look: Look) -> Sign | None:
    """Slow requests spend much of their time before they reach the servers' queue."""
    waits, works = float(look.slow_shares[0]), float(look.slow_shares[1])
    if waits + works < SLOW or look.world.pre is None:
        return None
    words = _words("pre-processing", waits, works, look.seen.pre_workers, look.busy[0])
    return Sign(words, replace(look.world, pre=None))


def slow_post(look: Look) -> Sign | None:
    """Slow requests spend much of their time after their batch."""
    waits, works = float(look.slow_shares[4]), float(look.slow_shares[5])
    if waits + works < SLOW or look.world.post is None:
        return None
    words = _words("post-processing", waits, works, look.seen.post_workers, look.busy[2])
    return Sign(words, replace(look.world, post=None))


def _words(stage: str, waits: float, works: float, workers: int, busy: float) -> str:
    many = f"its {workers} workers are" if workers > 1 else "its one worker is"
    return (
        f"{hundred(waits + works)} of the slow requests' latency is {stage} "
        f"({hundred(waits)} waiting for a worker, {hundred(works)} being worked on); "
        f"{many} busy {hundred(busy)} of the time"
    )
