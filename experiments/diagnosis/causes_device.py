"""Causes that lie in the servers: slow at the start, at times, one of them, or throughout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.contract import FloatArray

from .look import Look
from .pace import Pace, on_gpu
from .seen import Mask
from .servers import on_own_gpus
from .sign import Sign, hundred, ms
from .stretches import SLOWER, Stretches, stretches_of
from .world import World


def _stretches(look: Look) -> Stretches:
    return stretches_of(look.seen, look.slowdown)


def at_usual(look: Look, batches: Mask, usual: FloatArray) -> World:
    """The world in which some batches run at their server's usual pace."""
    slowdown = np.where(batches, np.minimum(usual, look.slowdown), look.slowdown)
    mine = [np.flatnonzero(look.seen.batch_server == k) for k in range(look.seen.servers)]
    pace = Pace(look.world.pace.start_ns, tuple(slowdown[own] for own in mine))
    return replace(look.world, pace=pace)


MOST_SLOW = 0.75
"""Where the pace is slow for longer than this, it is the usual one."""
OPENING = 10.0
"""A first batch that starts so many usual batch times after the first arrival was waited for."""


def cold_start(look: Look) -> Sign | None:
    """The first batches ran slowly, or started late, and the slow requests came then."""
    found = _stretches(look)
    late_ns = look.world.ready_ns - int(look.seen.queued_ns.min()) if look.world.ready_ns else 0
    late = late_ns > OPENING * float(np.median(look.seen.took_ns))
    if not found.cold.any() and not late:
        return None
    parts = []
    if found.cold.any():
        ratio = float(np.median((look.slowdown / found.usual)[found.cold]))
        parts.append(
            f"the first {int(found.cold.sum())} batches took {ratio:.2g} times as long as the same "
            "batches later"
        )
    if late:
        parts.append(f"the first batch started {ms(late_ns)} after the first request")
    early = look.seen.arrival_ns[look.slow] - look.seen.arrival_ns[0] < 0.2 * look.seen.span_ns
    parts.append(f"{hundred(float(early.mean()))} of the slow requests came in the first fifth")
    world = at_usual(look, found.cold, found.usual)
    return Sign("; ".join(parts), replace(world, ready_ns=0))


def noisy_neighbour(look: Look) -> Sign | None:
    """In stretches of time batches take longer than the same batches at other times."""
    found = _stretches(look)
    share = float(found.slow.mean())
    if not 0.01 <= share <= MOST_SLOW or int(found.slow.sum()) < 10:
        return None
    ratio = float(np.median((look.slowdown / found.usual)[found.slow]))
    inside = look.met(look.slow, found.slow)
    words = (
        f"in {found.stretches} stretch{'es' if found.stretches > 1 else ''} ({hundred(share)} of "
        f"the batches) a batch took {ratio:.2g} times as long as the same batch at other times; "
        f"{hundred(float(inside.mean()))} of the slow requests met one, as when something else "
        "uses the GPU"
    )
    return Sign(words, at_usual(look, found.slow, found.usual))


TOGETHER = 1.15
"""How much longer batches take beside others, from which servers are in each other's way."""
MANY = 20
"""Batches of which a median is taken."""


def shared_gpu(look: Look) -> Sign | None:
    """Batches take longer while another one runs on the same GPU."""
    s, group = look.seen, look.world.service.grouping
    known = float(group.slowdown.max()) > TOGETHER
    if s.servers < 2:
        return None
    if known:
        together = on_gpu(s, group.gpus)
        ratio = float(group.slowdown[np.minimum(together, len(group.slowdown) - 1)].mean())
        beside = float((together > 1).mean())
        words = (
            f"{hundred(beside)} of the batches start beside another one on the same GPU; batches "
            f"take {ratio:.2f} times as long for it"
        )
        return Sign(words, on_own_gpus(look.world)) if ratio > 1.0 else None
    together = on_gpu(s, np.zeros(s.servers, dtype=np.int64))
    calm = ~_stretches(look).slow
    counts = [k for k in range(1, s.servers + 1) if (calm & (together == k)).sum() >= MANY]
    if len(counts) < 2 or counts[0] != 1:
        return None
    level = {k: float(np.median(look.slowdown[calm & (together == k)])) for k in counts}
    ratio = level[counts[-1]] / level[1]
    if ratio < TOGETHER:
        return None
    each = np.interp(together, counts, [level[k] / level[1] for k in counts])
    words = (
        f"a batch takes {ratio:.2f} times as long while {counts[-1] - 1} other"
        f"{'s run' if counts[-1] > 2 else ' runs'}, as when servers share one GPU"
    )
    return Sign(words, at_usual(look, each > 1.0, look.slowdown / each))


ALONE = 1.2
"""How much slower a server has to be than the median of the others."""


def slow_server(look: Look) -> Sign | None:
    """One of several servers is slower than the others throughout."""
    s = look.seen
    if s.servers < 2:
        return None
    mine = [look.slowdown[s.batch_server == server] for server in range(s.servers)]
    typical = np.array([np.median(one) if len(one) > 20 else np.nan for one in mine])
    if np.isnan(typical).any():
        return None
    worst = int(np.argmax(typical))
    others = float(np.median(np.delete(typical, worst)))
    ratio = float(typical[worst]) / others
    if ratio < ALONE or np.quantile(mine[worst], 0.2) < others:
        return None
    batches = s.batch_server == worst
    ran = s.batch[look.slow]
    on_it = float((s.batch_server[ran[ran >= 0]] == worst).mean()) if (ran >= 0).any() else 0.0
    words = (
        f"server {worst} takes {ratio:.2g} times as long as the others for the same batches; "
        f"{hundred(on_it)} of the slow requests ran on it, {hundred(float(batches.mean()))} of all "
        "batches"
    )
    return Sign(words, at_usual(look, batches, look.slowdown / ratio))


def slow_device(look: Look) -> Sign | None:
    """Batches take longer than the profile says, always."""
    if not look.known_largest:
        return None
    usual = _stretches(look).usual
    ratio = float(np.median(usual))
    if ratio < SLOWER:
        return None
    words = f"batches take {ratio:.2g} times as long as the profile says, all the time"
    everything = np.ones(len(usual), dtype=bool)
    return Sign(words, at_usual(look, everything, look.slowdown / ratio))
