"""What makes a model that generates slow, as a trace shows it, and what would be changed.

Each cause looks at the same run; its remedies are other rules or engines, which
:mod:`experiments.iteration.diagnose` simulates on the same arrivals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from experiments.wording import percent
from policies.iteration import VllmLike
from policies.iteration.contract import Engine, Rule
from sim.iteration.gaps import gaps_of
from sim.iteration.measures import TokenMeasures
from sim.iteration.trace import TokenTrace

BUDGETS = (256, 512, 1024, 2048, 4096, 8192)
"""Tokens of an iteration that are tried."""


class Seen(NamedTuple):
    """A run as causes look at it."""

    rule: Rule
    """As the scenario gives it."""
    engine: Engine
    trace: TokenTrace
    measures: TokenMeasures

    def value(self, statistic: str) -> float:
        """A number of the run; NaN where there is none."""
        found = self.measures.estimates().get(statistic)
        return float("nan") if found is None or found.value is None else found.value

    @property
    def most(self) -> int:
        """Sequences at once."""
        return int(getattr(self.rule, "max_num_seqs", 0) or self.engine.sequences)

    @property
    def budget(self) -> int | None:
        """Tokens of an iteration; None where the rule has no budget."""
        found = getattr(self.rule, "max_num_batched_tokens", None)
        return None if found is None else int(found)


class Change(NamedTuple):
    """A remedy: another rule, another engine, or both."""

    what: str
    rule: Rule
    engine: Engine


class Cause(NamedTuple):
    """Something that a run shows."""

    name: str
    because: str
    evidence: str
    statistic: str
    """What it makes worse, and a remedy has to better."""
    changes: tuple[Change, ...]


def causes(seen: Seen) -> Iterator[Cause]:
    """All that the run shows, whether or not a remedy helps."""
    for look in (whole_batches, blocked, starved, short_of_memory, full):
        found = look(seen)
        if found is not None:
            yield found


def whole_batches(seen: Seen) -> Cause | None:
    """Requests that wait for a whole batch to end."""
    if type(seen.rule).__name__ != "RequestLevel":
        return None
    steps = seen.trace.steps
    spent = (steps["finish_ns"] - steps["start_ns"]).astype(np.float64)
    waiting = percent(float(spent[steps["waiting"] > 0].sum() / spent.sum()))
    rule = VllmLike(max_num_batched_tokens=max(2048, seen.most))
    return Cause(
        "whole batches",
        "batches of whole requests keep everyone waiting until the longest answer is written",
        f"somebody waits in {waiting} of the time, though sequences of the batch have finished",
        "latency_ms.mean",
        (Change("join at every iteration (vllm_like)", rule, seen.engine),),
    )


def blocked(seen: Seen) -> Cause | None:
    """Decoding that stands still while long prompts are read."""
    trace = seen.trace
    gaps = gaps_of(trace, range(len(trace.tiers)), 0, len(trace))
    if gaps.times.sum() < 1000:
        return None
    usual, slow = gaps.quantile(0.5), gaps.quantile(0.99)
    if slow < 3.0 * usual:
        return None
    steps = trace.steps
    spent = steps["finish_ns"] - steps["start_ns"]
    long = (spent > 2.0 * usual) & (steps["running"] > steps["joined"])
    reading = long & (steps["prefill"] > 0)
    if long.sum() == 0 or reading.sum() < 0.8 * long.sum():
        return None
    prefill = int(np.median(steps["prefill"][reading]))
    budgets = [b for b in BUDGETS if seen.most <= b < (seen.budget or 1 << 60) and b < prefill * 2]
    changes = tuple(
        Change(f"chunk the prefill: {b} tokens an iteration", cut(seen.rule, b), seen.engine)
        for b in budgets
    )
    return Cause(
        "long prompts block decoding",
        "long prompts block decoding: an iteration that reads them keeps all who decode waiting",
        f"a gap between two tokens is {usual / 1e6:.3g} ms usually and {slow / 1e6:.3g} ms at p99; "
        f"{percent(float(reading.sum() / long.sum()))} of the long iterations read prompts, "
        f"{prefill:,} tokens in the median",
        "itl_ms.p99",
        changes,
    )


def cut(rule: Rule, budget: int) -> Rule:
    """The rule with a smaller budget, its prompts in chunks; rules without one become vLLM's."""
    fields: tuple[str, ...] = getattr(rule, "_fields", ())
    own: Any = rule
    if "chunked_prefill" in fields:
        changed: Rule = own._replace(max_num_batched_tokens=budget, chunked_prefill=True)
        return changed
    if "ageing_tokens_per_s" in fields:
        waiting: Rule = own._replace(max_num_batched_tokens=budget)
        return waiting
    most = int(getattr(rule, "max_num_seqs", 0))
    return VllmLike(max_num_seqs=most, max_num_batched_tokens=budget)


def starved(seen: Seen) -> Cause | None:
    """Prompts that wait because the budget of an iteration is used up."""
    budget, steps = seen.budget, seen.trace.steps
    if budget is None or len(steps) == 0:
        return None
    spent = (steps["finish_ns"] - steps["start_ns"]).astype(np.float64)
    used_up = steps["prefill"] + steps["sequences"] >= 0.98 * budget
    share = float(spent[used_up].sum() / spent.sum())
    if share < 0.25:
        return None
    larger = [b for b in BUDGETS if b > budget][:3]
    changes = tuple(
        Change(
            f"a larger budget: {b} tokens an iteration",
            seen.rule._replace(max_num_batched_tokens=b),  # type: ignore[attr-defined]
            seen.engine,
        )
        for b in larger
    )
    return Cause(
        "small budget",
        "prompts are read in pieces that are too small: each iteration repeats its fixed time",
        f"the budget of {budget:,} tokens is used up in {percent(share)} of the time",
        "ttft_ms.mean",
        changes,
    )


def short_of_memory(seen: Seen) -> Cause | None:
    """Sequences that are put back, or wait, for want of memory."""
    often = seen.value("preemptions_per_request")
    steps = seen.trace.steps
    spent = (steps["finish_ns"] - steps["start_ns"]).astype(np.float64)
    tight = (steps["blocks"] > 0.93 * seen.trace.blocks) & (steps["waiting"] > 0)
    share = float(spent[tight].sum() / max(spent.sum(), 1.0))
    if not often > 0.02 and share < 0.2:
        return None
    engine = seen.engine
    more = engine._replace(blocks=int(1.5 * engine.blocks))
    changes = [Change("half as much memory again for keys and values", seen.rule, more)]
    if "watermark" in getattr(seen.rule, "_fields", ()):
        careful: Any = seen.rule
        rule: Rule = careful._replace(watermark=0.1)
        changes.append(Change("keep a tenth of the blocks free (watermark)", rule, engine))
    return Cause(
        "short of memory",
        "memory for keys and values is short",
        f"a request is put back {often:.2g} times and {percent(seen.value('recomputed'))} of the "
        f"prompt tokens are computed again; memory is full while somebody waits in "
        f"{percent(share)} of the time",
        "latency_ms.mean",
        tuple(changes),
    )


def full(seen: Seen) -> Cause | None:
    """Sequences that wait for a place though memory is free."""
    steps = seen.trace.steps
    spent = (steps["finish_ns"] - steps["start_ns"]).astype(np.float64)
    at_most = (steps["running"] >= seen.most) & (steps["waiting"] > 0)
    share = float(spent[at_most].sum() / max(spent.sum(), 1.0))
    room = steps["blocks"][at_most].mean() / seen.trace.blocks if at_most.any() else 1.0
    if share < 0.1 or room > 0.85 or type(seen.rule).__name__ == "RequestLevel":
        return None
    more: Any = seen.rule
    engine = seen.engine._replace(sequences=max(seen.engine.sequences, 2 * seen.most))
    changed: Rule = more._replace(max_num_seqs=2 * seen.most)
    if seen.budget is not None and seen.budget < 2 * seen.most:
        changed = more._replace(max_num_seqs=2 * seen.most, max_num_batched_tokens=2 * seen.most)
    return Cause(
        "batch full",
        f"all {seen.most} places of the batch are taken, and memory is not",
        f"somebody waits for a place in {percent(share)} of the time, with {percent(room)} of the "
        "memory in use",
        "ttft_ms.mean",
        (Change(f"max_num_seqs = {2 * seen.most}", changed, engine),),
    )
