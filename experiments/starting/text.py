"""A plan as the text of a scenario file, with its reasons as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from decimal import Decimal
from shlex import quote
from typing import Any

from experiments.export.toml_text import key_toml, value_toml

from .burstiness import Burstiness
from .jumping_rate import Fit
from .plan import ENOUGH, Plan, TierPlan

WIDTH = 100
FEW = "A p99 with an interval needs 112,000; a mean needs far fewer."
USUAL_BATCH = 16
"""What people set by hand where the profile has it."""
USUAL_WAIT_MS = Decimal("5.0")
SHARE_OF_SLO = 10
"""A wait of a tenth of the target spoils no target."""
MARGIN = 5
"""Of the target a fifth: who leaves at the last moment is late with every second slow batch."""


def scenario_text(plan: Plan) -> str:
    """The whole file."""
    parts = [_head(plan), _workload(plan), _service(plan), *_policies(plan), _tuning(plan)]
    return "\n".join("".join(f"{line}\n" for line in part) for part in parts)


def comment(*sentences: str) -> Iterator[str]:
    """Sentences as comment lines, one after the other."""
    text = " ".join(sentence for sentence in sentences if sentence)
    yield from textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def inline(table: Mapping[str, Any]) -> str:
    """A table on one line."""
    pairs = (
        f"{key} = {inline(value) if isinstance(value, Mapping) else value_toml(value)}"
        for key, value in table.items()
    )
    return f"{{ {', '.join(pairs)} }}"


def _head(plan: Plan) -> Iterator[str]:
    yield from comment(f"{plan.description}: written by batchwright init, to be changed by you.")
    yield from comment(
        f"Next: `batchwright compare {quote(plan.name)}.toml`. Editors complete and check this "
        "file after `batchwright schema --into scenario.schema.json`, with the first line"
    )
    yield "#   #:schema scenario.schema.json"
    yield f"name = {value_toml(plan.name)}"
    yield f"description = {value_toml(plan.description)}"


def _workload(plan: Plan) -> Iterator[str]:
    yield "[workload]"
    if plan.requests is not None:
        yield from comment(plan.requests_why)
        yield f"requests = {plan.requests:_}"
    elif plan.log is not None:
        whole = f"As many as the log has: {len(plan.log):,}."
        few = FEW if len(plan.log) < ENOUGH else ""
        yield from comment(*((whole, few) if plan.replayed <= len(plan.log) else ()))
    if plan.lengths is not None:
        yield from comment(*plan.lengths.why)
        yield f"lengths = {inline(plan.lengths.keys)}"
    yield ""
    yield from _evidence(plan)
    yield "[workload.arrivals]"
    for key, value in plan.arrivals.items():
        yield f"{key} = {inline(value) if isinstance(value, Mapping) else value_toml(value)}"
    for place, tier in enumerate(plan.tiers):
        yield ""
        if place == 0 and len(plan.tiers) > 1:
            yield "# The most urgent first, as the log has them: put them in the right order."
        yield from _tier(plan, tier, first=place == 0)


def _evidence(plan: Plan) -> Iterator[str]:
    """How the log looks, and what was made of it."""
    log, found = plan.log, plan.burstiness
    if log is None or found is None:
        yield from comment(*plan.arrivals_why)
        return
    yield from comment(
        f"{log.path.name}: {found.requests:,} requests in {found.span_s:,.6g} s, "
        f"{found.rate_per_s:.4g} per second."
    )
    if not found.gaps_known:
        yield from comment(
            f"Its clock has ticks of {found.clock_s:g} s, so that gaps mean nothing: only counts "
            "are looked at."
        )
    for sentence in plan.arrivals_why:
        yield from comment(sentence)
    yield from _figures(found, None if plan.chosen is None else plan.chosen.fit)


def _figures(found: Burstiness, fit: Fit | None) -> Iterator[str]:
    """The figures as a table: of the log, of a Poisson process, and of the fit."""
    yield "#"
    yield "#                                 log   Poisson" + ("    fitted" if fit else "")
    if found.gaps_known:
        fitted = f"{fit.mmpp.gap_cv:10.3g}" if fit else ""
        yield f"# {'CV of gaps':<24}{found.gap_cv:10.3g}{1:10}{fitted}"
    for place, each in enumerate(found.dispersions):
        fitted = f"{fit.dispersions[place]:10.3g}" if fit else ""
        name = f"dispersion at {each.window_s:g} s"
        yield f"# {name:<24}{each.value:10.3g}{1:10}{fitted}"
    yield "# Dispersion is the variance of the number of arrivals in a window over its mean."


def _tier(plan: Plan, tier: TierPlan, *, first: bool) -> Iterator[str]:
    if first and plan.slo is not None:
        yield from comment(plan.slo_why)
    yield "[[workload.tiers]]"
    yield f"name = {value_toml(tier.name)}"
    if tier.share is not None:
        yield f"share = {value_toml(tier.share)}"
    if tier.lengths is not None:
        yield from comment(*tier.lengths.why)
        yield f"lengths = {inline(tier.lengths.keys)}"
    if first and plan.slo is not None:
        percentile, ms = plan.slo
        yield f"slo = {inline({'percentile': _short(percentile), 'ms': ms})}"
    elif plan.slo is not None:
        yield "# slo = { percentile = 99, ms = ... }"


def _short(value: Decimal) -> Any:
    return int(value) if value == int(value) else value


def _service(plan: Plan) -> Iterator[str]:
    yield "[service]"
    if "profile" in plan.service:
        yield from comment(plan.assumed)
        yield from comment(
            "`batchwright profile list` names others; `profile measure` makes one of your model."
        )
        yield f"profile = {value_toml(plan.service['profile'])}"
    else:
        yield "# A batch of k takes base_ms + k x per_request_ms."
        yield f"model = {inline(plan.service['model'])}"
    yield from comment(plan.servers_why)
    yield f"servers = {plan.servers}"
    if plan.truncated:
        yield from comment(plan.truncated)
        yield 'over_length = "truncate"'


def rules(plan: Plan) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, reason and table of each policy."""
    largest = min(USUAL_BATCH, plan.largest_batch)
    wait = USUAL_WAIT_MS
    if plan.slo is not None:
        wait = min(wait, _share(plan.slo[1], SHARE_OF_SLO))
    usual = {"max_batch_size": largest, "max_wait_ms": wait}
    yield (
        "size_or_timeout",
        "What people set by hand: a full batch, or the oldest request has waited long enough.",
        {"kind": "size_or_timeout", **usual},
    )
    yield (
        "greedy",
        "Never waits. greedy, snap and balanced_cap stand beside every comparison anyway.",
        {"kind": "greedy"},
    )
    if plan.slo is not None:
        yield (
            "deadline_aware",
            "Waits for a full batch as long as the target allows, less a margin for noise.",
            {"kind": "deadline_aware", "margin_ms": _share(plan.slo[1], MARGIN)},
        )
    if len(plan.tiers) > 1:
        yield (
            "priority_fill",
            "The most urgent tier first; what is left of the batch goes to the next ones.",
            {"kind": "priority_fill", **usual},
        )
    elif plan.by_length:
        yield (
            "nearest_lengths",
            "Requests of like length together, so that less is padded.",
            {"kind": "nearest_lengths", "window": 3},
        )


def _share(ms: Decimal, parts: int) -> Decimal:
    """One of so many parts of a target, with two digits."""
    return Decimal(f"{float(ms) / parts:.2g}")


def _policies(plan: Plan) -> Iterator[Iterator[str]]:
    for name, why, table in rules(plan):
        yield _policy(name, why, table)


def _policy(name: str, why: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield from comment(why)
    yield f"[policies.{key_toml(name)}]"
    for key, value in table.items():
        yield f"{key} = {value_toml(value)}"


def _tuning(plan: Plan) -> Iterator[str]:
    goal = "p99" if plan.slo is None else f"p{plan.slo[0]:g}"
    yield from comment(
        f"`batchwright tune {quote(plan.name)}.toml` looks for the best numbers of these rules: "
        f"the least {goal} that keeps every target. Other goals:"
    )
    yield "# [tune]"
    yield '# objective = "capacity"'
