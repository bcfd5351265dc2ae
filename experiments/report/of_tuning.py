"""What a report says of a tuning: the judged settings, what was tried, and the front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from experiments.tune.words import RATES, word_of
from experiments.wording import joined as listed

from . import outcome_charts as charts
from . import outcome_tables as tables
from .amounts import Facts, estimate, share, statistic, text
from .charts import Axis, Chart, Mark, Series, drawn
from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import every_number, gallery, slo_of
from .pictures import pictures
from .rows import Line, Lines, lines_drawn
from .scales import thinned
from .tables import Row, Table, written

MOST = 600
"""Marks of a chart of trials; where there are more, they are thinned and it says so."""

MOST_JUDGED = 12
"""Lines of the chart of judged settings."""

BESIDE = {"latency_ms.p99": "p99, ms", "utilisation": "busy, %", "mean_batch_size": "mean batch"}
"""What stands beside the objectives of a tuning for one load."""

PICTURES = {
    "importance": "Which number of each policy matters",
    "surface": "The objective over the largest batch and the longest wait, as tried",
    "regret": "How much worse than the best at each load",
}


def tuned(run: Run) -> Iterator[Markup | None]:
    """The judged settings first: what was tried is for looking at, not for quoting."""
    found = run.result
    yield paragraph(f"Goal: {found['goal']}.")
    yield element("h3", "Results")
    yield written(judged_table(found))
    yield written(loads_table(found))
    for note in (*floors(found), *(found.get("notes") or ())):
        yield paragraph(note, "note")
    curve = found.get("load_curve")
    yield gallery(
        judged_chart(found), front_chart(found), history_chart(found),
        *(charts.line_charts(curve, slo_of(run.manifest)) if curve else ()),
    )  # fmt: skip
    yield pictures(run.folder, PICTURES)
    yield folded("Every number of the judged settings, on fresh runs",
                 *every_number(found["policies"]))  # fmt: skip
    yield written(tried_table(found))


def unit_of(title: str) -> str:
    """The unit of an objective by its title, which may end in ``of <tier>``."""
    for word in RATES.values():
        if title == word.title or title.startswith(f"{word.title} of "):
            return word.unit
    known = word_of(title.partition(" of ")[0].replace(" ", "_"))
    return "" if known is None else known.unit


def named(title: str) -> str:
    """``p99, ms``."""
    unit = unit_of(title)
    return f"{title}, {unit}" if unit else title


def in_order(found: Facts) -> list[Facts]:
    """The winner, finalists, baselines, present settings, the optimum."""
    roles = ("tuned", "baseline", "present", "optimal")
    return sorted(
        found["judged"], key=lambda one: (one["name"] != found["winner"], roles.index(one["role"]))
    )


def judged_table(found: Facts) -> Table:
    """Objectives with intervals, constraints, and the numbers of each setting."""
    titles, several = found["objectives"], len(found["loads"]) > 1
    figures = {k: v for k, v in BESIDE.items() if not several and v not in map(named, titles)}
    rows = []
    for one in in_order(found):
        outcome = found["policies"][one["name"]]
        unstable = is_unstable(one)
        values = [text(estimate(each)) for each in one["objectives"]] or ["-"] * len(titles)
        values = ["unstable", *[""] * (len(titles) - 1)] if unstable else values
        rows.append(Row([
            one["name"] + mark_of(found, one), one["role"], *values,
            held(one),
            *(text(statistic(outcome, s)) for s in figures),
            "-" if one["unstable_above_load"] is None else f"{one['unstable_above_load']:.2f}",
            str(one["table"].get("kind", "")), tables.settings(one["table"]), str(one["servers"]),
        ], tone(found, one, unstable=unstable)))  # fmt: skip
    heads = ["setting", "role", *map(named, titles), "constraints",
             *figures.values(),
             "unstable above load", "kind", "numbers", "servers"]  # fmt: skip
    front = "; + on the front" if found.get("front") else ""
    note = f"* the winner{front}. All figures are of fresh runs, not of the search."
    return Table("Judged settings", heads, rows, left=2, note=note,
                 words=("constraints", "kind", "numbers"))  # fmt: skip


def held(one: Facts) -> str:
    """``holds``, or the constraints that are broken."""
    if is_unstable(one):
        return "unstable"
    return "holds" if one["feasible"] else f"broken: {', '.join(one['broken'])}"


def is_unstable(one: Facts) -> bool:
    """Whether a setting does not keep up: what it serves then is no merit."""
    return "stable" in one["broken"]


def mark_of(found: Facts, one: Facts) -> str:
    """A star for the winner, a plus on the front."""
    if one["name"] == found["winner"]:
        return " *"
    return " +" if one["name"] in (found.get("front") or ()) else ""


def tone(found: Facts, one: Facts, *, unstable: bool) -> str | None:
    """How a setting's row is coloured."""
    if one["name"] == found["winner"]:
        return "best"
    if unstable:
        return "bad"
    return None if one["feasible"] else "dim"


def loads_table(found: Facts) -> Table:
    """The p99, or the mean where no p99 is known, at each load, and how far from the best."""
    loads = found["loads"] if len(found["loads"]) > 1 else []
    rows = []
    for one in in_order(found) if loads else ():
        regrets = [at["regret"].get(one["name"]) for at in loads]
        known = [regret for regret in regrets if regret is not None]
        whole = len(known) == len(regrets)
        latencies = (statistic(at["policies"][one["name"]], "latency_ms.p99") for at in loads)
        rows.append(Row([one["name"] + mark_of(found, one), *map(text, latencies),
                         share(max(known)) if whole and known else "-"]))  # fmt: skip
    heads = ["setting", *(f"load {at['load']:g}" for at in loads), "worst regret, %"]
    return Table("p99 at each load, ms", heads, rows)


def floors(found: Facts) -> list[str]:
    """The least that any rule can reach."""
    said = []
    for at in found["loads"]:
        floor = at.get("floor")
        if floor and floor.get("value_ms") is not None:
            where = f" at load {at['load']:g}" if at.get("load") is not None else ""
            kind = "The least possible" if floor["exact"] else "No rule gets below"
            said.append(f"{kind}{where}: {floor['value_ms']:.4g} ms ({floor['name']}).")
    return said


def judged_chart(found: Facts) -> Markup | None:
    """The first objective of the stable settings with its interval, best first."""
    title = found["objectives"][0]
    look = looks_of(dict.fromkeys(str(one["table"].get("kind")) for one in found["judged"]))
    unit = unit_of(title)
    known = [one for one in found["judged"] if not is_unstable(one) and one["objectives"]]
    lines = [
        Line(one["name"] + mark_of(found, one), value.value, f"{text(value)} {unit}".strip(),
             look[str(one["table"].get("kind"))], value.low, value.high)
        for one in known
        if (value := estimate(one["objectives"][0])).value is not None
    ]  # fmt: skip
    sign = -1.0 if more_is_better(found, title) else 1.0
    lines.sort(key=lambda one: sign * (one.value or 0.0))
    note = f"The best {MOST_JUDGED} of {len(lines)}." if len(lines) > MOST_JUDGED else ""
    return lines_drawn(Lines(f"Judged: {title}", named(title), lines[:MOST_JUDGED], note=note))


def more_is_better(found: Facts, title: str) -> bool:
    """Whether an objective is to be large, as its goal says."""
    return f"most {title}" in found["goal"]


def front_chart(found: Facts) -> Markup | None:
    """Two objectives against each other: trials as rings, judged settings as dots."""
    titles = found["objectives"]
    if len(titles) < 2:
        return None
    look = looks_of(["judged", "tried"])
    judged = [pair_mark(one, titles) for one in found["judged"] if len(one["objectives"]) > 1]
    trials = [
        Mark(one["values"][0], one["values"][1], f"tried, {trial_words(one)}", hollow=True)
        for one in found["tried"] if one["values"] and one["feasible"]
    ]  # fmt: skip
    kept = [trials[place] for place in thinned(len(trials), MOST)]
    series = [
        Series("tried", kept, look["tried"], line=False),
        Series("judged, with intervals", judged, look["judged"], line=False, band=False),
    ]
    return drawn(Chart(f"{titles[0]} against {titles[1]}", series, Axis(named(titles[0])),
                       Axis(named(titles[1]))))  # fmt: skip


def pair_mark(one: Facts, titles: Sequence[str]) -> Mark:
    """A judged setting by its first two objectives."""
    x, y = (estimate(each) for each in one["objectives"][:2])
    tip = f"{one['name']}: {titles[0]} {text(x)}, {titles[1]} {text(y)}"
    return Mark(nan_of(x.value), nan_of(y.value), tip, y.low, y.high)


def nan_of(value: float | None) -> float:
    """What has no value has no place."""
    return math.nan if value is None else value


def history_chart(found: Facts) -> Markup | None:
    """The first objective of every trial, in their order, and the best so far."""
    title = found["objectives"][0]
    known = [(k + 1, one) for k, one in enumerate(found["tried"]) if one["values"]]
    shown = [known[place] for place in thinned(len(known), MOST)]
    sign = -1.0 if more_is_better(found, title) else 1.0
    look = looks_of(["best", "keeps", "breaks"])
    groups = {
        "keeps the constraints": [trial(k, one) for k, one in shown if one["feasible"]],
        "breaks one": [trial(k, one) for k, one in shown if not one["feasible"]],
    }
    series = [
        Series(name, marks, look[key], line=False)
        for (name, marks), key in zip(groups.items(), ("keeps", "breaks"), strict=True)
    ]
    if best := best_so_far(known, sign):
        series.append(Series("best so far", best, look["best"], dots=False))
    missing = len(found["tried"]) - len(known)
    notes = [f"{len(shown)} of {len(known)} trials are drawn."] if len(shown) < len(known) else []
    notes += [f"{missing} trials have no value, as where a backlog grows."] if missing else []
    y = Axis(named(title))
    return drawn(Chart("The search", series, Axis("trial", log=False), y, note=" ".join(notes)))


def trial(number: int, one: Facts) -> Mark:
    """A trial as a ring, hollow where it breaks a constraint."""
    tip = f"trial {number}, {trial_words(one)}"
    return Mark(float(number), one["values"][0], tip, hollow=not one["feasible"])


def trial_words(one: Facts) -> str:
    """A trial's policy, values and numbers."""
    values = ", ".join(f"{value:.4g}" for value in one["values"])
    return f"{one['policy']}: {values} ({tables.settings(one['table'])})"


def best_so_far(known: Sequence[tuple[int, Facts]], sign: float) -> list[Mark]:
    """Steps of the best feasible value, with where the search ends."""
    marks: list[Mark] = []
    for number, one in known:
        value = one["values"][0]
        if one["feasible"] and (not marks or sign * value < sign * marks[-1].y):
            if marks:
                marks.append(Mark(float(number), marks[-1].y, marks[-1].tip))
            marks.append(Mark(float(number), value, f"best so far: {trial_words(one)}"))
    if marks and marks[-1].x < known[-1][0]:
        marks.append(Mark(float(known[-1][0]), marks[-1].y, marks[-1].tip))
    return marks


def tried_table(found: Facts) -> Table:
    """Every trial with what it was worth in the search."""
    rows = [
        Row([str(place + 1), one["policy"],
             ", ".join(f"{v:.4g}" for v in one["values"]) if one["values"] else "-",
             "yes" if one["feasible"] else "no", one.get("reason") or "",
             str(one["servers"]), tables.settings(one["table"])],
            None if one["feasible"] else "dim")
        for place, one in list(enumerate(found["tried"]))[:MOST]
    ]  # fmt: skip
    cut = f"The first {MOST} of {len(found['tried'])}." if len(found["tried"]) > MOST else ""
    heads = ["trial", "policy", listed(list(map(named, found["objectives"]))), "feasible",
             "why not", "servers", "numbers"]  # fmt: skip
    return Table("Trials of the search, on one run each", heads, rows, left=2, note=cut, fold=True,
                 words=("feasible", "why not", "numbers"))  # fmt: skip
