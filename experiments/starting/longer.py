"""A log that is too short for its percentile, made longer: stretches of it, in random order.

1. The log is a ring that is cut at a random place into ten stretches of one length, which are
   joined in random order, again and again (a circular block bootstrap in which each round has
   every request once, so that the rate is the log's).  Bursts, groups, tiers and lengths that
   belong together stay together within a stretch.
   Source: Politis and Romano, A circular block-resampling procedure for stationary data, in
   Exploring the Limits of Bootstrap, Wiley 1992.
2. What changes more slowly than a stretch lasts is not kept: no log of its length could tell it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np

from .log import Log

STRETCHES = 10
"""In a log: with fewer its course would only be repeated, with more a burst would be cut."""
SEED = 1
"""The same log makes the same file."""
NS = 1_000_000_000


def lengthened(log: Log, requests: int) -> tuple[Log, str]:
    """A log of at least ``requests``, and how it was made."""
    arrival = log.arrival_ns
    mean_gap = max(1, round(int(arrival[-1]) / (len(arrival) - 1)))
    ring = int(arrival[-1]) + mean_gap
    span = -(-ring // STRETCHES)
    twice = np.concatenate([arrival, arrival + ring])
    rng = np.random.default_rng(SEED)
    rows, instants, begin = [], [], 0
    for _ in range(-(-requests // len(arrival))):
        cut = int(rng.integers(ring))
        for place in rng.permutation(STRETCHES).tolist():
            first, last = (cut + min(k * span, ring) for k in (place, place + 1))
            low, high = np.searchsorted(twice, [first, last]).tolist()
            rows.append(np.arange(low, high) % len(arrival))
            instants.append(twice[low:high] - first + begin)
            begin += last - first
    taken, arrival_ns = np.concatenate(rows), np.concatenate(instants)
    longer = replace(
        log,
        arrival_ns=arrival_ns - arrival_ns[0],
        length=None if log.length is None else log.length[taken],
        output=None if log.output is None else log.output[taken],
        tier=None if log.tier is None else log.tier[taken],
    )
    why = (
        f"{len(log):,} requests are too few for a p99 with an interval: stretches of "
        f"{span / NS:.3g} s of the log are joined in random order to {len(taken):,}. What changes "
        "more slowly than that is lost; --arrivals trace keeps the log as it is."
    )
    return longer, why


def replay_text(log: Log) -> str:
    """A log as CSV that a replay reads: seconds from 0, then what else is known of a request."""
    instants = [f"{t // NS}.{t % NS:09d}" for t in log.arrival_ns.tolist()]
    parts = {"length": log.length, "output": log.output}
    parts["tier"] = log.tier if len(log.tiers) > 1 else None
    columns = {key: part.tolist() for key, part in parts.items() if part is not None}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arrival_s", *columns])
    writer.writerows(zip(instants, *columns.values(), strict=True))
    return text.getvalue()
