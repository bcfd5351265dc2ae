"""The words for what can be made small or large: ``p99``, ``busy``, ``energy``, ``capacity``, ...

1. A word names one number of a run, its unit, and whether less or more of it is better.
2. ``p50`` to ``p99`` and ``p99.9`` are percentiles of latency; ``p999`` is p99.9, as in results.
   With ``wait_`` before it, ``mean`` or a percentile is that of the wait.
3. ``bound_share`` is of a backlog: its throughput over what no rule can exceed.
4. Nothing is measured here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sim.measures import SERVED_SHARE

PERCENTILE = re.compile(r"(wait_)?p(\d{1,2}(?:\.\d+)?|999)")


LATENCIES = ("latency_ms.", "wait_ms.")


class Word(NamedTuple):
    """What a word means."""

    statistic: str
    """A name of ``sim.measures.Group.estimates``; empty where it is derived from several."""
    title: str
    unit: str = ""
    more_is_better: bool = False


RATES: dict[str, Word] = {
    "mean": Word("latency_ms.mean", "mean latency", "ms"),
    "wait_mean": Word("wait_ms.mean", "mean wait", "ms"),
    "busy": Word("utilisation", "busy share of the servers"),
    "useful": Word("useful_fraction", "useful share of the servers", more_is_better=True),
    "padding": Word("padding_waste", "share of padding"),
    "batch_size": Word("mean_batch_size", "mean batch size", more_is_better=True),
    "in_system": Word("mean_number_in_system", "mean number in the system"),
    "throughput": Word("throughput_per_s", "throughput", "/s", more_is_better=True),
    "bound_share": Word("share_of_bound", "share of the bound", more_is_better=True),
    "goodput": Word("goodput_per_s", "goodput", "/s", more_is_better=True),
    "served": Word(SERVED_SHARE, "share served", more_is_better=True),
    "attainment": Word("slo_attainment", "share within the SLO", more_is_better=True),
    "energy": Word("", "energy per request", "J"),
    "cost": Word("", "cost per million requests"),
    "capacity": Word("", "largest rate that meets every SLO", "/s", more_is_better=True),
}
"""Words that are not percentiles."""


def word_of(text: str) -> Word | None:
    """What a word means; None where it means nothing."""
    if text in RATES:
        return RATES[text]
    share = share_of(text)
    if share is None:
        return None
    what = "wait" if text.startswith("wait_") else "latency"
    return Word(f"{what}_ms.{percentile_name(share)}", text.replace("_", " "), "ms")


def is_of_arrivals(word: Word) -> bool:
    """Whether only requests that arrive have it: a backlog waits from the beginning."""
    waits = (*LATENCIES, "slo_attainment", SERVED_SHARE, "mean_number_in_system")
    return word.statistic.startswith(waits)


def is_of_served(word: Word) -> bool:
    """Whether only requests that are served have it, so that it gains by turning others away."""
    return word.statistic.startswith(LATENCIES)


def share_of(text: str) -> float | None:
    """The share of a percentile, 0.99 for ``p99`` and ``wait_p99``; None for other words."""
    match = PERCENTILE.fullmatch(text)
    if match is None:
        return None
    share = 0.999 if match[2] == "999" else round(float(match[2]) / 100, 9)
    return share if 0 < share < 1 else None


def percentile_name(share: float) -> str:
    """The name of a percentile in results: ``p99``, ``p999`` for 99.9 %, ``p97.5``."""
    return "p999" if share == 0.999 else f"p{100 * share:.9g}"
