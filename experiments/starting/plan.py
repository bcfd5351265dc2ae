"""What stands in a first scenario: from wishes, and from a log where there is one.

Keys are those of the scenario file; why each value is what it is goes with it as sentences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.runs import folder_name
from experiments.sentences import ScenarioError
from policies.contract import FloatArray, IntArray

from .arrivals import Chosen, choose_arrivals
from .burstiness import Burstiness
from .lengths import KINDS as LENGTH_KINDS
from .lengths import LengthsFound, choose_lengths
from .log import Log
from .longer import lengthened, replay_text
from .reading import assumed_profile, read
from .rounding import percent
from .wishes import DATASETS, LOAD, PROFILES, Wishes, length_keys, load_profile, model_keys

if TYPE_CHECKING:
    from profiles.latency import Profile

ENOUGH = 112_000
"""Requests that a p99 takes: 10 sections with 100 requests beyond it each, after the warm-up."""
REQUESTS, REQUESTS_MOST = 120_000, 1_000_000
"""The most is what a comparison runs in a few seconds a policy."""
ROUND = 10_000
UNIT_WORDS = {"tokens": "tokens", "audio_ms": "ms"}
ASSUMED = "An assumption: put what your service sees."


@dataclass(frozen=True)
class TierPlan:
    """A table ``[[workload.tiers]]``."""

    name: str
    share: Decimal | None = None
    lengths: LengthsFound | None = None


@dataclass(frozen=True)
class Plan:
    """A scenario before it is text."""

    name: str
    description: str
    arrivals: dict[str, Any]
    arrivals_why: tuple[str, ...]
    service: dict[str, Any]
    requests: int | None = REQUESTS
    requests_why: str = f"A p99 with an interval needs {ENOUGH:,}."
    burstiness: Burstiness | None = None
    chosen: Chosen | None = None
    log: Log | None = None
    lengths: LengthsFound | None = None
    tiers: tuple[TierPlan, ...] = (TierPlan("all"),)
    slo: tuple[Decimal, Decimal] | None = None
    """Percentile and ms, of the first tier."""
    slo_why: str = ""
    servers: int = 1
    servers_why: str = ""
    truncated: str = ""
    """Why longer requests are cut; empty: none is."""
    by_length: bool = False
    """Whether lengths vary, so that rules which look at them are worth a comparison."""
    largest_batch: int = 1
    replayed: int = 0
    """Requests of the file that is played again."""
    assumed: str = ""
    """Which profile stands in where nobody named one."""
    said: str | None = None
    """A histogram that somebody gave."""
    files: dict[str, str] = field(default_factory=dict)
    """Text of the files beside the scenario, by name."""


def planned(wishes: Wishes, name: str) -> Plan:
    """The scenario that somebody wants, before servers and targets are sized.

    Raises:
        ScenarioError: an option, or a line of the log, makes no sense.
    """
    if wishes.profile is not None and wishes.model is not None:
        raise ScenarioError("give --profile or --model, not both")
    if wishes.rate is not None and wishes.load is not None:
        raise ScenarioError("give --rate or --load, not both")
    log = read(wishes)
    named = wishes.profile or (PROFILES["audio_ms" if log and log.unit == "audio_ms" else "tokens"])
    profile = None if wishes.model is not None else load_profile(named)
    service: dict[str, Any] = {"profile": named}
    if profile is None:
        service = {"model": model_keys(wishes.model or "")}
        largest, served = service["model"]["max_batch_size"], "a model of service times"
    else:
        largest, served = profile.largest_batch, profile.name
    if log is None:
        plan = Plan(name, f"{served} under Poisson arrivals", *_assumed(wishes), service)
        plan = _with_said(plan, wishes, profile)
    else:
        plan = _from_log(wishes, log, name, served, service, profile)
    if profile is not None and wishes.profile is None:
        plan = replace(plan, assumed=assumed_profile(named))
    return _about_lengths(replace(plan, largest_batch=largest), profile)


def _assumed(wishes: Wishes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Poisson arrivals at a rate or a load."""
    why = "Poisson: users who know nothing of each other. `batchwright init --from-log` fits a log."
    if wishes.rate is not None:
        return {"process": "poisson", "rate_per_s": wishes.rate}, (why,)
    load = "load is a share of what the servers can do at their best batch size."
    return {"process": "poisson", "load": wishes.load or LOAD}, (f"{why} {load}",)


def _with_said(plan: Plan, wishes: Wishes, profile: Profile | None) -> Plan:
    """Lengths as they were said, or as somebody assumes them; a histogram is copied."""
    lengths = _lengths_said(wishes, profile)
    if lengths is None or "histogram" not in lengths.keys:
        return replace(plan, lengths=lengths)
    said, file = str(lengths.keys["histogram"]), f"{plan.name}.lengths.csv"
    copied = LengthsFound({"histogram": file}, why=(f"As {said} counts them.",))
    text = Path(said).read_text(encoding="utf-8")
    return replace(plan, lengths=copied, said=said, files={**plan.files, file: text})


def _lengths_said(wishes: Wishes, profile: Profile | None) -> LengthsFound | None:
    if wishes.lengths in LENGTH_KINDS:
        raise ScenarioError(f"--lengths {wishes.lengths} needs --from-log, whose lengths it fits")
    if wishes.lengths is not None:
        return LengthsFound(length_keys(wishes.lengths, profile))
    if profile is None or len(profile.length) == 1:
        return None
    dataset = DATASETS[profile.length_unit]
    return LengthsFound({"dataset": dataset}, why=(ASSUMED,))


def _from_log(
    wishes: Wishes,
    log: Log,
    name: str,
    served: str,
    service: dict[str, Any],
    profile: Profile | None,
) -> Plan:
    burstiness, chosen = choose_arrivals(log.arrival_ns, wishes.arrivals)
    arrivals: dict[str, Any] = {"process": chosen.process, **chosen.keys}
    if wishes.rate is not None or wishes.load is not None:
        arrivals.pop("rate_per_s", None)
        key, value = ("load", wishes.load) if wishes.rate is None else ("rate_per_s", wishes.rate)
        arrivals[key] = value
    plan = Plan(
        name, f"{served} under the arrivals of {log.path.name}", arrivals, chosen.why, service,
        burstiness=burstiness, chosen=chosen, log=log,
    )  # fmt: skip
    said = wishes.lengths is not None and wishes.lengths not in LENGTH_KINDS
    if said or log.length is None:
        plan = _with_said(plan, wishes, profile)
    if chosen.replays:
        return _replayed(*_long_enough(plan, log, wishes), profile)
    return _drawn(plan, log, "auto" if said else wishes.lengths or "auto", profile, said)


def _long_enough(plan: Plan, log: Log, wishes: Wishes) -> tuple[Plan, Log]:
    """A replay that has a p99, unless somebody wants the log as it is."""
    share = 1.0 if log.tier is None else float((log.tier == 0).mean())
    needed = min(math.ceil(REQUESTS / share / ROUND) * ROUND, REQUESTS_MOST)
    if wishes.arrivals == "trace" or len(log) >= needed:
        return plan, log
    longer, why = lengthened(log, needed)
    return replace(
        plan, requests_why=why, arrivals_why=(*plan.arrivals_why, why),
        arrivals={**plan.arrivals, "recorded": len(log)},
    ), longer  # fmt: skip


def _unit_of(log: Log, profile: Profile | None) -> str | None:
    """Lengths count what the profile's do, unless the column's name says otherwise."""
    return log.unit or (None if profile is None else profile.length_unit)


def _replayed(plan: Plan, log: Log, profile: Profile | None) -> Plan:
    """The log as a file that a replay reads: seconds from 0, lengths, numbers of tiers."""
    file = f"{plan.name}.requests.csv"
    arrivals = {"process": "trace", "file": file, **plan.arrivals}
    lengths, tiers = plan.lengths, plan.tiers
    if log.length is not None and lengths is None:
        unit = _unit_of(log, profile)
        usual = unit is None or (profile is not None and unit == profile.length_unit)
        keys = {"column": "length"} | ({} if usual else {"unit": unit})
        lengths = LengthsFound(keys, why=("Each request keeps its own.",))
    if log.tier is not None and len(log.tiers) > 1:
        arrivals["columns"] = {"tier": "tier"}
        tiers = tiers_of(log)
    text = replay_text(log if lengths is not plan.lengths else replace(log, length=None))
    return replace(
        plan, arrivals=arrivals, lengths=lengths, tiers=tiers, requests=None, replayed=len(log),
        files={**plan.files, file: text},
    )  # fmt: skip


def _drawn(plan: Plan, log: Log, wanted: str, profile: Profile | None, said: bool) -> Plan:
    """Tiers by their shares, each with lengths of its own."""
    several = log.tier is not None and len(log.tiers) > 1
    tiers = tiers_of(log) if several else plan.tiers
    if log.length is None or said:
        return _enough(replace(plan, tiers=tiers))
    unit, files = _unit_of(log, profile), dict(plan.files)
    usual = profile is not None and unit == profile.length_unit

    def found(length: IntArray, ending: str) -> LengthsFound:
        file = f"{plan.name}.lengths{ending}.csv"
        lengths = choose_lengths(length, wanted, unit, file, usual=usual)
        if lengths.rows:
            rows = "".join(f"{value},{count}\n" for value, count in lengths.rows)
            files[file] = f"{unit or 'length'},count\n{rows}"
        return lengths

    if not several:
        return replace(plan, lengths=found(log.length, ""), files=files)
    tiers = tuple(
        replace(tier, lengths=found(log.length[log.tier == place], f"-{folder_name(tier.name)}"))
        for place, tier in enumerate(tiers)
    )
    return _enough(replace(plan, tiers=tiers, files=files))


def _enough(plan: Plan) -> Plan:
    """So many requests that the first tier, which has the target, has enough of them."""
    first = plan.tiers[0]
    if first.share is None:
        return plan
    needed = math.ceil(ENOUGH / first.share / ROUND) * ROUND
    why = f"A p99 with an interval needs {ENOUGH:,} of {first.name}."
    if needed > REQUESTS_MOST:
        why = f"{why} That would be {needed:,} of all: a mean, or a p95, needs fewer."
    return replace(plan, requests=min(needed, REQUESTS_MOST), requests_why=why)


def tiers_of(log: Log) -> tuple[TierPlan, ...]:
    """Names and shares; the shares add up to 1 exactly."""
    if log.tier is None or len(log.tiers) < 2:
        return (TierPlan("all"),)
    counts = np.bincount(log.tier, minlength=len(log.tiers)).tolist()
    shares = [Decimal(f"{max(count / len(log), 1e-6):.6f}") for count in counts]
    largest = shares.index(max(shares))
    shares[largest] += 1 - sum(shares)
    return tuple(
        TierPlan(name, share.normalize()) for name, share in zip(log.tiers, shares, strict=True)
    )


def _about_lengths(plan: Plan, profile: Profile | None) -> Plan:
    """Whether they vary, and which of them the profile does not know."""
    length, weight = _all_lengths(plan)
    varied = len(length) > 1 and (profile is None or len(profile.length) > 1)
    plan = replace(plan, by_length=varied)
    if profile is None or length.max() <= profile.longest:
        return plan
    share = 100.0 * float(weight[length > profile.longest].sum() / weight.sum())
    unit = UNIT_WORDS[profile.length_unit]
    cut = (
        f"{percent(share)} of requests are longer than the {profile.longest:,} {unit} that the "
        f"profile knows (up to {length.max():,}): they are cut to that."
    )
    return replace(plan, truncated=cut)


def _all_lengths(plan: Plan) -> tuple[IntArray, FloatArray]:
    """Lengths that occur, int64 (V,), and their weights, float64 (V,)."""
    from sim.lengths import Dataset, Histogram

    keys = {} if plan.lengths is None else plan.lengths.keys
    recorded = None if plan.log is None else plan.log.length
    if recorded is not None and not {"dataset", "constant"} & set(keys) and plan.said is None:
        values, counts = np.unique(recorded, return_counts=True)
        return values, counts.astype(np.float64)
    if "dataset" in keys or plan.said is not None:
        pmf = Histogram(plan.said).pmf() if plan.said else Dataset(keys["dataset"]).pmf()
        return pmf.length, pmf.probability
    return np.array([keys.get("constant", 1)]), np.ones(1)
