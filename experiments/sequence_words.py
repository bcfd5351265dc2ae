"""Sequences in tables and sentences: what slots cost, and who overtakes without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .outcome import judged_by
from .terminal import table
from .wording import amount, hundred, joined, with_interval

if TYPE_CHECKING:
    from rich.table import Table

    from sim.intervals import Estimate
    from sim.sequence_measures import SequenceMeasures

    from .outcome import Outcome
    from .results import Comparison, Result

HEADS = ("slots", "used\n%", "had to\nwait, %", "mean wait\nfor one, ms",
         "worst latency\nof each, ms", "timed\nout", "overtake\n%")  # fmt: skip
"""Of a policy's row; the worst latency is the mean, over sequences, of that of each."""


def sequence_tables(found: Result) -> list[Table]:
    """One row a policy, where requests belong to sequences."""
    there = _there(found)
    if not there:
        return []
    measures = there[0][1]
    title = f"{measures.sequences:,} sequences, {_open(measures)} open at a time"
    drawn = table("policy", *HEADS, title=title)
    for outcome, one in there:
        drawn.add_row(outcome.policy, *_row(one))
    return [drawn]


def _there(found: Result) -> list[tuple[Outcome, SequenceMeasures]]:
    known = [(one, one.measures.sequences) for one in found.outcomes]
    return [(outcome, measures) for outcome, measures in known if measures is not None]


def _open(measures: SequenceMeasures) -> str:
    return amount(measures.open.value or 0.0)


def _row(one: SequenceMeasures) -> list[str]:
    worst = _shown(one.worst_ms["mean"])
    overtake = hundred(one.overtaking.value)
    if one.slot_utilisation is None:
        return ["-", "-", "-", "-", worst, "-", overtake]
    return [
        f"{one.slots:,}",
        hundred(one.slot_utilisation.value),
        hundred(one.waited.value),
        _shown(one.to_slot_ms["mean"]),
        worst,
        f"{one.timed_out:,}",
        overtake,
    ]


def _shown(found: Estimate) -> str:
    return "unstable" if found.reason else with_interval(found)


def _with_memory(there: list[tuple[Outcome, SequenceMeasures]]) -> list[str]:
    """The best of those that keep sequences together, where others stand beside them."""
    keep = [outcome for outcome, one in there if one.slots and outcome.stable]
    measure = judged_by(keep) if keep else "mean"
    known = {one.policy: one.value(f"latency_ms.{measure}") for one in keep}
    values = {name: value for name, value in known.items() if value is not None}
    if not values or len(keep) == len(there):
        return []
    best = min(values, key=lambda name: values[name])
    what = "p99" if measure == "p99" else "mean latency"
    lowest = f"{best} has the lowest {what} ({amount(values[best])} ms)"
    return [f"A model that remembers sequences needs a policy with slots; of those {lowest}."]


def by_sequences(found: Comparison) -> list[str]:
    """How many are open, who has too few slots for them, and who mixes up the order in them."""
    there = _there(found)
    if not there:
        return []
    said = [f"{_open(there[0][1])} sequences are open at a time."]
    for outcome, one in there:
        wait = one.to_slot_ms["mean"].value
        if 0 < one.slots < (one.open.value or 0.0) and wait is not None:
            said.append(
                f"{outcome.policy} has {one.slots:,} slots for them: "
                f"{hundred(one.waited.value)} % of the sequences wait for one, on average "
                f"{amount(wait / 1e3)} s."
            )
    said += _with_memory(there)
    mixing = {
        outcome.policy: one.overtaking.value
        for outcome, one in there
        if one.overtaking.value and outcome.stable
    }
    if mixing:
        most = max(mixing.values())
        said.append(
            f"Under {joined(list(mixing))} up to {hundred(most)} % of the requests overtake one of "
            "their own sequence: that is for models that remember nothing."
        )
    return said
