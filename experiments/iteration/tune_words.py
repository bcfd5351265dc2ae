"""What tuning says of rules of continuous batching: sentences, tables, the winner's own table.

1. Every figure is judged, on runs that the search has not seen.
2. A difference inside its interval is said to be none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from experiments.export.toml_text import policy_toml
from experiments.rerun import run_name
from experiments.rules import exact
from experiments.terminal import table
from experiments.tune.setting_words import name as short
from experiments.wording import amount, hundred, joined, percent, with_interval

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sim.intervals import Difference

    from .tune_judging import TokenJudged
    from .tune_result import TokenTuning

HEAD = ("policy", "objective", "within targets, %", "TTFT, ms", "TPOT, ms", "tokens/s", "numbers")

MATTERS = 0.15
"""The share of importance from which on a number is named."""


def verdict_of(found: TokenTuning) -> str:
    """The sentences, most important first."""
    sentences = [
        _winner(found),
        *_against(found),
        *_failing(found),
        *_mattered(found),
        _search(found),
        *found.notes,
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def said(parameters: Mapping[str, Any]) -> str:
    """``vllm_like with max_num_seqs 96, max_num_batched_tokens 3072``."""
    numbers = numbers_of(parameters)
    return str(parameters["kind"]) + (f" with {numbers}" if numbers else "")


def numbers_of(parameters: Mapping[str, Any]) -> str:
    """The numbers of a rule; of a switch whether it is on."""
    parts = []
    for key, value in parameters.items():
        if key == "kind":
            continue
        if isinstance(value, bool):
            parts.append(key if value else f"no {key}")
            continue
        unit = " ms" if key.endswith("_ms") else ""
        number = f"{float(value):.10g}" if isinstance(value, int | float) else str(value)
        parts.append(f"{short(key)} {number}{unit}")
    return ", ".join(parts)


def worth(found: TokenTuning, one: TokenJudged) -> str:
    """The objective in words: ``3.81 ± 0.05 requests/s within their targets (96.2 %)``."""
    number = with_interval(one.worth[0])
    if found.goal.name != "goodput":
        objective = found.goal.objectives[0]
        return f"{objective.title} {number} {objective.word.unit}"
    share = percent(one.outcome.value("slo_attainment"))
    return f"{number} requests/s within their targets ({share} of all)"


def _winner(found: TokenTuning) -> str:
    best = found.winner
    if best is None:
        return _nobody(found)
    held = "; what is promised is kept with 95 % confidence" if found.goal.constraints else ""
    if best.role == "present":
        return (
            f"Keep {best.name} as it is ({said(best.setting.table)}): {worth(found, best)}{held}. "
            "Nothing that was tried is better beyond the interval and by more than half a per cent."
        )
    return f"Use {said(best.setting.table)}: {worth(found, best)}{held}."


def _nobody(found: TokenTuning) -> str:
    """Why there is no winner, and how near the nearest came."""
    steady = [one for one in found.judged if one.stable]
    kept = [one.name for one in steady if one.feasible]
    if not steady:
        return "No setting can serve what arrives: lower the rate."
    if kept:
        return (
            "No setting of the policies that were asked for surely keeps what is promised; "
            f"{joined(kept)} {'does' if len(kept) == 1 else 'do'}."
        )
    near = min(steady, key=lambda one: max(one.violations.values()))
    share = percent(near.outcome.value("slo_attainment"))
    return (
        f"No setting surely keeps what is promised: lower the rate, or promise less. The nearest "
        f"is {said(near.setting.table)}, with {share} of the requests within their targets."
    )


def _against(found: TokenTuning) -> Iterator[str]:
    """What the winner is worth against vLLM's default and against the scenario's own settings."""
    best, seen = found.winner, set()
    if best is None:
        return
    rivals = [(found.present, "{}, the best of the scenario's own"), (found.default, "{}")]
    for other, words in rivals:
        if other is None or other is best or other.name in seen:
            continue
        seen.add(other.name)
        called = other.name
        if other.role == "default":
            called = "vLLM's default (max_num_batched_tokens 2048)"
        if not other.stable:
            yield f"{words.format(called)} cannot serve what arrives."
            continue
        yield f"Against {words.format(called)}, {_gain(found, best, other)}."


def _gain(found: TokenTuning, best: TokenJudged, other: TokenJudged) -> str:
    """The difference in the objective; where it is none, those in mean times."""
    gap = best.against(other)
    if gap.value is not None and gap.verdict in ("lower", "higher"):
        return f"it {_more(found, gap, other)}"
    parts = []
    for statistic, words in (
        ("ttft_ms.mean", "to the first token"),
        ("tpot_ms.mean", "per token after it"),
        ("latency_ms.mean", "of mean latency"),
    ):
        time = best.against(other, statistic)
        if time.value is None or time.verdict not in ("lower", "higher"):
            continue
        verb = "saves" if time.verdict == "lower" else "costs"
        parts.append(f"{verb} {_pm(time)} ms {words}")
    none = f"its {found.goal.objectives[0].title} cannot be told from that"
    return f"{none}, and it {joined(parts)}" if parts else none


def _more(found: TokenTuning, gap: Difference, other: TokenJudged) -> str:
    """``has 0.21 ± 0.04 requests/s more within their targets (5.9 %)``."""
    assert gap.value is not None, "a verdict has a value"
    base = other.worth[0].value
    share = f" ({amount(100 * abs(gap.value / base))} %)" if base else ""
    side = "more" if gap.value > 0 else "less"
    if found.goal.name == "goodput":
        return f"has {_pm(gap)} requests/s {side} within their targets{share}"
    objective = found.goal.objectives[0]
    return f"has {_pm(gap)} {objective.word.unit} {side} {objective.title}{share}"


def _pm(gap: Difference) -> str:
    """The size of a difference with its interval."""
    if gap.value is None or gap.low is None or gap.high is None:
        return "-"
    from sim.intervals import Estimate

    half = (gap.high - gap.low) / 2
    size = abs(gap.value)
    return with_interval(Estimate(size, size - half, size + half, gap.n))


def _failing(found: TokenTuning) -> Iterator[str]:
    """Who of the scenario's own cannot keep up, and who breaks a promise."""
    own = [one for one in found.judged if one.role == "present"]
    unstable = [one.name for one in own if not one.stable]
    broken = [one.name for one in own if one.stable and not one.feasible]
    if unstable:
        yield f"{joined(unstable)} cannot serve what arrives."
    if broken:
        verb = "does" if len(broken) == 1 else "do"
        yield f"{joined(broken)} {verb} not surely keep what is promised."


def _mattered(found: TokenTuning) -> Iterator[str]:
    """Which numbers of the winner's rule decided, above what chance gives."""
    if found.winner is None:
        return
    name = found.winner.setting.table["kind"]
    for one in found.importances:
        if one.policy not in (name, found.winner.setting.name):
            continue
        named = [
            f"{key} ({100 * share:.0f} %)"
            for key, share in one.shares.items()
            if share >= MATTERS and share > one.chance[key]
        ]
        if named:
            yield f"What mattered of {one.policy}: {joined(named)}."
        return


def _search(found: TokenTuning) -> str:
    kinds = len({one.setting.name for one in found.tried})
    facts = found.scenario
    runs = facts["replications"]
    return (
        f"{len(found.tried)} settings of {kinds} {'policy' if kinds == 1 else 'policies'} were "
        f"tried on {facts['requests']:,} requests; the figures are of {runs} fresh "
        f"{'run' if runs == 1 else 'runs'}."
    )


def cells(one: TokenJudged) -> list[str]:
    """A setting's row."""
    share = hundred(one.outcome.value("slo_attainment"))
    numbers = numbers_of(one.setting.table)
    if not one.stable:
        return [one.name, "unstable", share, "", "", "", numbers]
    times = [with_interval(one.outcome.estimate(f"{n}_ms.mean")) for n in ("ttft", "tpot")]
    tokens = f"{one.most.tokens.value or 0:,.0f}"
    return [one.name, with_interval(one.worth[0]), share, *times, tokens, numbers]


def print_tuning(screen: Console, found: TokenTuning) -> None:
    """The tables and the verdict."""
    facts = found.scenario
    screen.print(
        f"[bold]{facts['name']}[/bold]   {facts['service']}, {facts['offered_rate_per_s']:.4g}/s"
    )
    screen.print(f"goal: {found.goal.title}")
    screen.print(judged_table(found))
    screen.print(legend(found))
    screen.print(settings_table(found))
    screen.print(f"\n{found.verdict}")


HEADS = {
    "goodput": "goodput\n/s",
    "ttft_p99": "TTFT\np99, ms",
    "tpot_p99": "TPOT\np99, ms",
    "latency_p99": "latency\np99, ms",
    "latency_mean": "latency\nmean, ms",
    "tokens": "saturated\ntokens/s",
}
"""Heads of the objective's column."""


def judged_table(found: TokenTuning) -> Table:
    """One row a setting, on fresh runs; the winner is bold and starred."""
    slo, tokens = bool(found.goal.promises), found.goal.name != "tokens"
    drawn = table(
        "judged on fresh runs",
        HEADS[found.goal.name],
        *(["targets\n%"] if slo else []),
        "TTFT\nmean, ms",
        "TPOT\nmean, ms",
        *(["most\ntokens/s"] if tokens else []),
    )
    for one in found.judged:
        name, value, share, *times, most, _ = cells(one)
        best = one is found.winner
        style = "bold green" if best else "" if one.feasible else "red"
        row = [value, *([share] if slo else []), *times, *([most] if tokens else [])]
        drawn.add_row(name + (" *" if best else ""), *row, style=style)
    return drawn


def legend(found: TokenTuning) -> Text:
    """What marks and colours mean."""
    words = "* recommended   " if found.winner is not None else ""
    if any(one.stable and not one.feasible for one in found.judged):
        words += "red: does not surely keep what is promised   "
    return Text(f"{words}most tokens/s: when requests never run out", style="dim")


def settings_table(found: TokenTuning) -> Table:
    """The numbers of each setting that was judged."""
    drawn = table("setting", "kind", "numbers", left=3)
    drawn.columns[-1].no_wrap = False
    for one in found.judged:
        kind = str(one.setting.table["kind"])
        style = "bold green" if one is found.winner else ""
        drawn.add_row(one.name, kind, numbers_of(one.setting.table), style=style)
    return drawn


def winner_toml(found: TokenTuning, folder: Path) -> str | None:
    """The winner as a table to paste into a scenario, with its evidence; None without a winner."""
    best = found.winner
    if best is None:
        return None
    about = f"Found by batchwright tune, run {run_name(folder)}: {found.goal.title}."
    lines = [*textwrap.wrap(about, 97), *textwrap.wrap(found.verdict, 97)]
    given = {key: exact(value) for key, value in best.setting.table.items()}
    return "".join(f"# {line}\n" for line in lines) + policy_toml("tuned", given)
