"""What Prometheus kept of a server, as traffic: by the minute, and by bins of lengths.

1. Arrivals of a minute are what the counter rose by.  Within a minute, users are taken to be
   independent (Poisson) and the rate to be constant: bursts that are shorter are not in what
   Prometheus keeps.
2. Lengths are those of the histogram's buckets, within which all are taken as equally frequent;
   the histogram is of all tiers together.
3. Of several servers each is taken to get an equal share.
4. A counter that falls began again at 0.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np

from experiments.scenario import Scenario
from experiments.sentences import ScenarioError
from policies.contract import FloatArray

from .asking import Asked
from .times import Ratio, ratio_of
from .traffic import Traffic, shares_of, unit_of, wants_lengths

PREFIX = "batchwright_"
STEP_S = 60
MINUTES_LEAST = 3
POINTS_A_BIN = 16
"""Lengths that stand for those of a bin."""
EDGE_S = 0.001
"""A rate changes within a millisecond from one minute to the next."""
REQUESTS_LEAST = 100
WITHIN = (
    "Within a minute users are taken to be independent: bursts that are shorter are not in what "
    "Prometheus keeps, but in the record of a server."
)

Series = Mapping[tuple[str, ...], FloatArray]


class Found(NamedTuple):
    """Traffic, and what batches took over the profile of the server."""

    traffic: Traffic
    ratio: Ratio | None


def is_prometheus(asked: Asked) -> bool:
    """Whether a Prometheus answers."""
    content = asked.ask("/api/v1/status/buildinfo").content
    return isinstance(content, dict) and content.get("status") == "success"


def found_of(asked: Asked, base: Scenario, since_s: int) -> Found:
    """What Prometheus kept of the last so many seconds.

    Raises:
        ScenarioError: it kept nothing of batchwright, or of other tiers than the scenario has.
    """
    end_s = int(time.time())
    span = (end_s - max(since_s, MINUTES_LEAST * STEP_S), end_s)
    arrivals = risen(asked, "arrivals_total", span, ("tier",))
    if not arrivals:
        raise ScenarioError(
            f"{asked.shown} has no {PREFIX}arrivals_total of the last {since_s:,} s: does it "
            "scrape the server (batchwright serve --write-monitoring), and did requests come?"
        )
    names = [tier.name for tier in base.tiers]
    strange = sorted({key[0] for key in arrivals} - set(names))
    if strange:
        raise ScenarioError(
            f"{asked.shown} has requests of tier {strange[0]!r}, but scenario {base.name} has "
            f"{', '.join(names)}: give the scenario that was served"
        )
    by_tier = {name: minutes_of([a for key, a in arrivals.items() if key[0] == name])
               for name in names}  # fmt: skip
    minutes = minutes_of(list(by_tier.values()))
    known = np.flatnonzero(~np.isnan(minutes))
    total = float(np.nansum(minutes))
    if len(known) < MINUTES_LEAST or total < REQUESTS_LEAST:
        raise ScenarioError(
            f"{asked.shown} has {total:,.0f} requests in {len(known)} minutes, which is too "
            f"little: at least {REQUESTS_LEAST} in {MINUTES_LEAST}, or give a longer --since"
        )
    servers = max(1, len({key[1:] for key in arrivals}))
    traffic = _traffic(asked, base, span, minutes[known[0] : known[-1] + 1] / servers, servers)
    counts = np.array([np.nansum(part) for part in by_tier.values()])
    return Found(_with_shares(traffic, counts), _ratio(asked, span))


def risen(
    asked: Asked, name: str, span: tuple[int, int], labels: Sequence[str]
) -> dict[tuple[str, ...], FloatArray]:
    """What a counter rose by in each minute, float64 (minutes,); NaN where it is not known.

    Args:
        asked: Prometheus.
        name: of the counter, without the prefix.
        span: from and to, Unix time.
        labels: that tell series apart, beside job and instance, which end each key.
    """
    start_s, end_s = span
    query = {"query": PREFIX + name, "start": start_s, "end": end_s, "step": STEP_S}
    answer = asked.ask(f"/api/v1/query_range?{urlencode(query)}")
    content = answer.content
    if not isinstance(content, dict) or content.get("status") != "success":
        raise ScenarioError(f"{asked.shown} does not answer: {answer.error}")
    found = {}
    for series in content["data"]["result"]:
        metric = series["metric"]
        key = tuple(str(metric.get(label, "")) for label in (*labels, "job", "instance"))
        level = np.full((end_s - start_s) // STEP_S + 1, np.nan)
        for at, text in series["values"]:
            level[round((float(at) - start_s) / STEP_S)] = float(text)
        rise = np.diff(level)
        found[key] = np.where(rise < 0, level[1:], rise)
    return found


def minutes_of(parts: Sequence[FloatArray]) -> FloatArray:
    """The sum of what is known in each minute; NaN where nothing is."""
    if not parts:
        return np.zeros(0)
    stacked = np.stack(parts)
    total: FloatArray = np.nansum(stacked, axis=0)
    total[np.isnan(stacked).all(axis=0)] = np.nan
    return total


def _with_shares(traffic: Traffic, counts: Any) -> Traffic:
    return replace(traffic, shares=shares_of(counts))


def _traffic(
    asked: Asked, base: Scenario, span: tuple[int, int], minutes: FloatArray, servers: int
) -> Traffic:
    """Arrivals of one server by the minute, float64 (minutes,), as a rate that steps."""
    rates = np.nan_to_num(minutes) / STEP_S
    count = float(np.nansum(minutes))
    spread_told = (
        f"{count:,.0f} requests in {len(rates)} minutes: {rates.mean():,.4g} per second on "
        f"average, {rates.min():,.4g} to {rates.max():,.4g}."
    )
    told = [spread_told, WITHIN]
    if servers > 1:
        told.append(f"They came to {servers} servers; the scenario is one of them.")
    arrivals = {"process": "rate_curve", "points": curve(rates)}
    lengths, files = None, {}
    if wants_lengths(base):
        rows = _lengths(asked, span, base)
        if rows:
            unit = unit_of(base) or "length"
            files["lengths.csv"] = f"{unit},count\n" + "".join(f"{a},{b}\n" for a, b in rows)
            lengths = {"histogram": "lengths.csv"}
            told.append(
                "Lengths are those of the buckets of a histogram of all tiers, within which all "
                "are taken as equally frequent."
            )
    none = (None,) * len(base.tiers)
    return Traffic(arrivals, lengths, none, (), files=files, told=tuple(told))


def curve(rates: FloatArray) -> list[list[float]]:
    """Points of a rate that is constant for a minute each."""
    points: list[list[float]] = []
    for minute, rate in enumerate(rates.tolist()):
        begin = minute * STEP_S
        shown = float(f"{rate:.6g}")
        points.append([round(begin + EDGE_S * (minute > 0), 3), shown])
        points.append([float(begin + STEP_S), shown])
    return points


def _lengths(asked: Asked, span: tuple[int, int], base: Scenario) -> list[tuple[int, int]]:
    """Lengths and counts; none where nobody kept them."""
    longest = int(base.length_edges[-1])
    by_end: dict[float, float] = {}
    for key, rise in risen(asked, "request_length_bucket", span, ("le",)).items():
        by_end[float(key[0])] = by_end.get(float(key[0]), 0.0) + float(np.nansum(rise))
    rows: dict[int, int] = {}
    low, before = 0, 0.0
    for end in sorted(by_end):
        high = min(int(min(end, longest)), longest)
        count, before = by_end[end] - before, by_end[end]
        if count > 0.5:
            for length, part in spread(low, max(high, low + 1), round(count)):
                rows[length] = rows.get(length, 0) + part
        low = max(low, high)
    return sorted(rows.items())


def spread(low: int, high: int, count: int) -> list[tuple[int, int]]:
    """So many requests over the lengths above ``low`` up to ``high``."""
    at = np.unique(np.linspace(low + 1, high, min(POINTS_A_BIN, high - low)).round().astype(int))
    ends = np.rint(np.linspace(0, count, len(at) + 1)).astype(int)
    return [(int(a), int(n)) for a, n in zip(at, np.diff(ends), strict=True) if n]


def _ratio(asked: Asked, span: tuple[int, int]) -> Ratio | None:
    """Time of devices over what the profile expected of it, minute by minute."""
    busy = minutes_of(list(risen(asked, "device_busy_seconds_total", span, ()).values()))
    usual = minutes_of(list(risen(asked, "device_expected_seconds_total", span, ()).values()))
    count = minutes_of(list(risen(asked, "batch_size_count", span, ()).values()))
    if not len(busy) == len(usual) == len(count) or not len(busy):
        return None
    known = ~np.isnan(busy + usual + count) & (usual > 0) & (count > 0)
    each = count[known].round().astype(int)
    return ratio_of(np.repeat(busy[known] / each, each), np.repeat(usual[known] / each, each))


__all__ = ["Found", "curve", "found_of", "is_prometheus", "minutes_of", "risen", "spread"]
