"""What a run of iterations says, each number with its interval.

1. Counts are of the whole run; everything else leaves out the warm-up, the first 10 % of the
   requests, and is cut into sections as :mod:`sim.sections` does.
2. ``ttft``: from arrival to the first token.  ``tpot``: from the first token to the last, over the
   tokens after the first.  ``itl``: each gap between two tokens of one request.  ``latency``: from
   arrival to the answer.  All are of requests that were served.
3. A request keeps its objectives when it keeps all that its tier has; one that is refused or
   unfinished keeps none.  Goodput is the rate of those that do.
4. Rates and means over time are of the window from the first request that is kept to the last
   arrival; tokens and answers count when they come.
5. An unstable run has no latency of any kind: it grows with its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray
from sim.intervals import (
    TAIL_PER_SECTION,
    Difference,
    Estimate,
    paired,
    percentiles,
    ratio,
    refused,
)
from sim.sections import Sections, section_ids, sections_each
from sim.trace import REJECTED, SERVED, UNFINISHED

from .engine_use import by_time, engine_use
from .gaps import Gaps, gap_spread, gaps_of
from .measures import MS, OF_GROUP, SHARES, SPREADS, Targets, TokenGroup, TokenMeasures
from .trace import TokenTrace


def measure(
    traces: TokenTrace | Sequence[TokenTrace],
    targets: Sequence[Targets] = (),
    *,
    drifts: bool = False,
    saturation_per_s: float | None = None,
    offered_per_s: float | None = None,
    tail: int = TAIL_PER_SECTION,
) -> TokenMeasures:
    """Every number of a run.

    Args:
        traces: one trace, or the replications of one scenario under one rule.
        targets: of each tier; by default nothing is promised.
        drifts: whether the engine is faster or slower from one replication to the next.
        saturation_per_s: what the rule serves when requests never run out.
        offered_per_s: what arrives; above saturation latencies are refused.
        tail: requests beyond a percentile that a section must have.
    """
    traces = (traces,) if isinstance(traces, TokenTrace) else tuple(traces)
    known = None not in (saturation_per_s, offered_per_s)
    stable = not known or offered_per_s < saturation_per_s  # type: ignore[operator]
    reason = ""
    if not stable:
        reason = f"{offered_per_s:.4g} requests/s arrive, {saturation_per_s:.4g}/s can be served"
    runs = [_Run(trace, len(traces), drifts=drifts) for trace in traces]
    tiers = traces[0].tiers
    promised = tuple(targets) or (Targets(),) * len(tiers)
    groups = tuple(
        _group(tier.name, runs, (k,), promised, reason, tail) for k, tier in enumerate(tiers)
    )
    every = tuple(range(len(tiers)))
    overall = _group("overall", runs, every, promised, reason, tail)
    return TokenMeasures(
        overall,
        groups,
        engine_use([(run.trace, run.sections) for run in runs]),
        saturation_per_s,
        stable,
    )


def paired_difference(
    first: TokenMeasures, second: TokenMeasures, statistic: str, tier: str | None = None
) -> Difference:
    """How two rules differ in one statistic on the same arrivals, lengths and noise."""
    return paired(first.estimates(tier)[statistic], second.estimates(tier)[statistic])


class _Run:
    """One replication: what each request got, and where it is cut."""

    def __init__(self, trace: TokenTrace, replications: int, *, drifts: bool) -> None:
        self.trace = trace
        count = sections_each(replications, drifts=drifts)
        ids = section_ids(trace.tier, trace.tiers, len(trace), count)
        edges = np.zeros(count + 1, dtype=np.int64)
        if len(trace):
            edges = trace.arrival_ns[np.minimum(ids, len(trace) - 1)]
        self.sections = Sections(ids, edges)
        self.ends_ns: IntArray = np.append(trace.steps["finish_ns"], -1)
        self.first_ns = self._token_ns(trace.offset[:-1])
        self.last_ns = self._token_ns(trace.offset[1:] - 1)
        self.answer_ns = trace.instant_ns(trace.finished)

    def _token_ns(self, places: IntArray) -> IntArray:
        found: IntArray = self.ends_ns[self.trace.token_step[places]]
        return found

    def chosen(self, tiers: Sequence[int]) -> NDArray[np.bool_]:
        """Which requests are served and of these tiers."""
        served = self.trace.served
        if len(tiers) < len(self.trace.tiers):
            served = served & np.isin(self.trace.tier, tiers)
        return served

    def spread_ns(self, name: str, tiers: Sequence[int]) -> tuple[FloatArray, IntArray]:
        """Values of the served requests that count, in order, and how many each section has."""
        trace, kept = self.trace, self.chosen(tiers)
        values: FloatArray
        if name == "ttft_ms":
            values = (self.first_ns - trace.arrival_ns).astype(np.float64)
        elif name == "latency_ms":
            values = (self.answer_ns - trace.arrival_ns).astype(np.float64)
        else:
            kept = kept & (trace.output > 1)
            values = (self.last_ns - self.first_ns) / np.maximum(trace.output - 1, 1)
        cuts = self.sections.ids
        counts = np.array([np.count_nonzero(kept[a:b]) for a, b in pairwise(cuts)])
        return values[cuts[0] : cuts[-1]][kept[cuts[0] : cuts[-1]]], counts

    def kept_promise(self, targets: Sequence[Targets]) -> NDArray[np.bool_]:
        """Which requests kept all objectives of their tiers."""
        trace = self.trace
        limits = np.array([each[:3] for each in targets], dtype=np.float64)[trace.tier]
        tpot = (self.last_ns - self.first_ns) / np.maximum(trace.output - 1, 1)
        kept: NDArray[np.bool_] = trace.served.copy()
        kept &= self.first_ns - trace.arrival_ns <= limits[:, 0]
        kept &= tpot <= limits[:, 1]
        kept &= self.answer_ns - trace.arrival_ns <= limits[:, 2]
        return kept


def _group(
    name: str,
    runs: Sequence[_Run],
    tiers: tuple[int, ...],
    targets: Sequence[Targets],
    reason: str,
    tail: int,
) -> TokenGroup:
    """The numbers of some tiers together."""
    own = [np.isin(run.trace.tier, tiers) for run in runs]
    fates = [run.trace.status[mine] for run, mine in zip(runs, own, strict=True)]
    count = {
        s: sum(int((fate == s).sum()) for fate in fates) for s in (SERVED, REJECTED, UNFINISHED)
    }
    spreads = {
        table: gap_spread(_gaps(runs, tiers), reason, tail)
        if table == "itl_ms"
        else _spread(runs, table, tiers, reason, tail)
        for table in SPREADS
    }
    promised = [k for k in tiers if targets[k].any]
    return TokenGroup(
        name,
        requests=sum(len(fate) for fate in fates),
        served=count[SERVED],
        rejected=count[REJECTED],
        unfinished=count[UNFINISHED],
        spreads=spreads,
        rates=_rates(runs, own, targets, promised),
    )


def _rates(
    runs: Sequence[_Run],
    own: Sequence[NDArray[np.bool_]],
    targets: Sequence[Targets],
    promised: Sequence[int],
) -> dict[str, Estimate]:
    """Requests and tokens a second, and how many keep their objectives."""
    columns: dict[str, list[FloatArray]] = {name: [] for name in (*OF_GROUP, "asked")}
    for run, mine in zip(runs, own, strict=True):
        trace = run.trace
        served = trace.served & mine
        good = run.kept_promise(targets) & mine
        bound = mine & np.isin(trace.tier, promised)
        first, tokens = trace.token_step[trace.offset[:-1]] >= 0, trace.token_step
        columns["requests_per_s"].append(by_time(run.sections, run.answer_ns[served]))
        columns["goodput_per_s"].append(by_time(run.sections, run.answer_ns[good]))
        cuts = list(pairwise(run.sections.ids))
        columns["slo_attainment"].append(np.array([(good & bound)[a:b].sum() for a, b in cuts]))
        columns["asked"].append(np.array([bound[a:b].sum() for a, b in cuts]))
        whose = np.repeat(mine, trace.output) & (tokens >= 0)
        made = np.bincount(tokens[whose], minlength=len(trace.steps))
        ends = trace.steps["finish_ns"]
        columns["output_tokens_per_s"].append(by_time(run.sections, ends, made))
        read = mine & first
        columns["prompt_tokens_per_s"].append(
            by_time(run.sections, run.first_ns[read], trace.prompt[read])
        )
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    lasts_s = np.concatenate([run.sections.lasts_s for run in runs])
    counts = np.concatenate([np.diff(run.sections.ids) for run in runs])
    found = {n: ratio(whole[n], lasts_s, counts) for n in OF_GROUP if n.endswith("_per_s")}
    if promised:
        share = ratio(whole["slo_attainment"], whole["asked"], whole["asked"].astype(int), (0, 1))
        found["slo_attainment"] = share
    else:
        del found["goodput_per_s"]
    return found


def _spread(
    runs: Sequence[_Run], name: str, tiers: Sequence[int], reason: str, tail: int
) -> dict[str, Estimate]:
    """Mean and percentiles, in ms."""
    found = [run.spread_ns(name, tiers) for run in runs]
    counts = np.concatenate([count for _, count in found])
    n = int(counts.sum())
    if reason or n == 0:
        why = reason or "nobody was served"
        return dict.fromkeys(("mean", *SHARES), refused(n, reason=why))
    values = np.concatenate([value for value, _ in found])
    cuts = np.append(0, np.cumsum(counts))
    sums = np.array([values[a:b].sum() for a, b in pairwise(cuts)])
    mean = ratio(sums, counts, counts)
    if mean.low is None:
        mean = refused(n, mean.needs)
    tails = percentiles(values, cuts, list(SHARES.values()), tail)
    estimates = {"mean": mean} | dict(zip(SHARES, tails, strict=True))
    return {key: one.scaled(MS) for key, one in estimates.items()}


def _gaps(runs: Sequence[_Run], tiers: Sequence[int]) -> list[Gaps]:
    """Gaps between tokens, section by section."""
    return [
        gaps_of(run.trace, tiers, int(a), int(b))
        for run in runs
        for a, b in pairwise(run.sections.ids)
    ]
