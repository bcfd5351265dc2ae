"""Traffic of a record as keys of a scenario, with what was found in sentences.

A process is fitted where one has the figures of the record, as ``batchwright init`` fits a log;
else the record is played again, made longer where it is too short for an interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from experiments.runs import folder_name
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError
from experiments.starting.arrivals import choose_arrivals
from experiments.starting.burstiness import Burstiness
from experiments.starting.lengths import choose_lengths
from experiments.starting.log import Log
from experiments.starting.longer import lengthened, replay_text
from experiments.starting.plan import REQUESTS, REQUESTS_MOST
from experiments.wording import whole_run
from policies.contract import NEVER, IntArray
from sim.intervals import percentile_needs

from .record import Record

TRACE = "traffic.csv"
NORMAL = 1.96
"""Of an interval of 95 %."""
STRAYS = 1e-6
"""Share of a tier of which nobody came."""


@dataclass(frozen=True)
class Traffic:
    """Keys of ``workload``, what stands beside the scenario, and what is to be said."""

    arrivals: dict[str, Any]
    lengths: dict[str, Any] | None
    """Of all tiers; None: each has its own, or all stay as they are."""
    of_tiers: tuple[dict[str, Any] | None, ...]
    """Lengths of each tier; None: as they were."""
    shares: tuple[Decimal, ...]
    replays: bool = False
    """Whether it ends with a file."""
    files: dict[str, str] = field(default_factory=dict)
    """Text by name."""
    told: tuple[str, ...] = ()


def traffic_of(record: Record, base: Scenario) -> Traffic:
    """The traffic of a record.

    Args:
        record: of a server.
        base: what was served; says tiers, unit of lengths, and how many requests a run has.

    Raises:
        ScenarioError: all requests came at one instant.
    """
    log = record.log
    if len(log) < 2 or log.arrival_ns[-1] == log.arrival_ns[0]:
        raise ScenarioError(
            f"the record has {'one request' if len(log) == 1 else 'one instant'} only, which tells "
            "no rate: let more requests come"
        )
    found, chosen = choose_arrivals(log.arrival_ns)
    told = [rate_told(found, base), *chosen.why]
    if record.refused:
        told.append(
            f"{record.refused:,} of them were not served: whoever sends again is in the record "
            "each time."
        )
    if chosen.replays:
        return _replayed(log, base, told)
    told += [sentence for sentence in (short_told(log, base),) if sentence]
    return _drawn(log, base, {"process": chosen.process, **chosen.keys}, told)


def rate_told(found: Burstiness, base: Scenario) -> str:
    """How much arrives, with its interval."""
    burst = found.dispersions[-1].value if found.dispersions else 1.0
    half = NORMAL * math.sqrt(max(burst, 0.0) * found.rate_per_s / found.span_s)
    before = base.offered_rate_per_s
    was = "" if before is None else f"; the scenario has {before:,.4g}"
    return (
        f"{found.requests:,} requests in {found.span_s:,.4g} s: {found.rate_per_s:,.4g} ± "
        f"{half:.2g} per second{was}."
    )


def short_told(log: Log, base: Scenario) -> str:
    """That the record is too short for a percentile of the SLOs; empty where it is not."""
    counts = np.bincount(_tier(log), minlength=len(base.tiers))
    for tier, count in zip(base.tiers, counts.tolist(), strict=True):
        needs = whole_run(percentile_needs(tier.percentile / 100.0))
        if tier.slo_ns != NEVER and count < needs:
            return (
                f"{count:,} requests of {tier.name} are a short record for p{tier.percentile:g}, "
                f"which takes {needs:,}: intervals do not know how another {_span(log)} would "
                "differ."
            )
    return ""


def _span(log: Log) -> str:
    return f"{int(log.arrival_ns[-1]) / 1e9:,.3g} s"


def _tier(log: Log) -> IntArray:
    """The tier of each request, int64 (N,)."""
    return np.zeros(len(log), dtype=np.int64) if log.tier is None else log.tier


def shares_of(counts: IntArray) -> tuple[Decimal, ...]:
    """Shares that add up to 1 exactly; who did not come keeps next to nothing."""
    if len(counts) == 1:
        return ()
    total = int(counts.sum())
    shares = [Decimal(f"{max(int(count) / total, STRAYS):.6f}") for count in counts]
    shares[shares.index(max(shares))] += 1 - sum(shares)
    return tuple(share.normalize() for share in shares)


def wants_lengths(base: Scenario) -> bool:
    """Whether lengths matter in a scenario."""
    return base.profile is not None or len(base.length_edges) > 1


def unit_of(base: Scenario) -> str | None:
    """What lengths count, where anything says it."""
    return base.workload.unit or (None if base.profile is None else base.profile.length_unit)


def _replayed(log: Log, base: Scenario, told: list[str]) -> Traffic:
    """The record itself, long enough for an interval."""
    arrivals: dict[str, Any] = {"process": "trace", "file": TRACE}
    counts = np.bincount(_tier(log), minlength=len(base.tiers))
    wanted = base.spec.workload.requests or REQUESTS
    share = max(float(counts[0]) / len(log), STRAYS)
    needed = min(math.ceil(max(wanted, REQUESTS) / share), REQUESTS_MOST)
    longer = log
    if len(log) < needed:
        longer, _ = lengthened(log, needed)
        arrivals["recorded"] = len(log)
        told.append(
            f"They are too few for a run: stretches of a tenth of the record are joined in random "
            f"order to {len(longer):,}, so that what changes more slowly is lost."
        )
    several = log.tier is not None and len(base.tiers) > 1
    if several:
        arrivals["columns"] = {"tier": "tier"}
    unit = base.workload.unit
    usual = unit is None or (base.profile is not None and base.profile.length_unit == unit)
    column = {"column": "length"} | ({} if usual else {"unit": unit})
    return Traffic(
        arrivals,
        column if log.length is not None and wants_lengths(base) else None,
        (None,) * len(base.tiers),
        shares_of(counts),
        replays=True,
        files={TRACE: replay_text(longer)},
        told=tuple(told),
    )


def _drawn(log: Log, base: Scenario, arrivals: dict[str, Any], told: list[str]) -> Traffic:
    """A process, shares of tiers, and lengths of each."""
    tier, several = _tier(log), len(base.tiers) > 1
    counts = np.bincount(tier, minlength=len(base.tiers))
    shares, files = shares_of(counts), {}
    of_tiers: list[dict[str, Any] | None] = [None] * len(base.tiers)
    if log.length is not None and wants_lengths(base):
        unit = unit_of(base)
        usual = base.profile is not None and unit == base.profile.length_unit
        for place, one in enumerate(base.tiers):
            own = log.length[tier == place]
            if not len(own):
                continue
            name = f"lengths-{folder_name(one.name)}.csv" if several else "lengths.csv"
            found = choose_lengths(own, "auto", unit, name, usual=usual)
            of_tiers[place] = found.keys
            if found.rows:
                rows = "".join(f"{value},{count}\n" for value, count in found.rows)
                files[name] = f"{unit or 'length'},count\n{rows}"
            told.append(f"lengths{f' of {one.name}' if several else ''}: {' '.join(found.why)}")
    if several:
        parts = zip(base.tiers, shares, strict=True)
        told.append(
            "Of the requests "
            + ", ".join(f"{100 * float(share):.3g} % are {one.name}" for one, share in parts)
            + "."
        )
    shared = None if several else of_tiers[0]
    return Traffic(
        arrivals, shared, tuple(of_tiers) if several else (None,), shares, files=files,
        told=tuple(told),
    )  # fmt: skip


__all__ = [
    "Traffic",
    "rate_told",
    "shares_of",
    "short_told",
    "traffic_of",
    "unit_of",
    "wants_lengths",
]
