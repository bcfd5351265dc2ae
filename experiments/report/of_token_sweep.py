"""What a report says of a sweep of rules of continuous batching."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from experiments.wording import settings_text, shown

from .amounts import Facts
from .charts import Axis, Chart, Series, drawn
from .elements import Markup, element
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .of_tokens import HEADS, said, value_of
from .outcome_charts import BESIDE, axis_along, points, short
from .tables import Row, Table, written

CHARTS = {
    "slo_attainment": "Within the targets, %",
    "ttft_ms.mean": "Mean time to the first token, ms",
    "tpot_ms.mean": "Mean time per output token, ms",
    "output_tokens_per_s": "Tokens/s",
}
"""What is drawn against each key, where it is known."""
FIRST = ("slo_attainment", "ttft_ms.mean")
"""What has a table with a column a rule."""


def swept(run: Run) -> Iterator[Markup | None]:
    """The main numbers by step and rule, charts, and everything of every step."""
    found = run.result
    steps: Sequence[Facts] = found["steps"]
    yield element("h3", "Results")
    for name in FIRST:
        if known(steps, name):
            yield written(step_table(steps, name))
    keys = [key for key in found["keys"] if len({str(s["settings"][key]) for s in steps}) > 1]
    yield gallery(
        *(chart(steps, key, name) for key in keys for name in CHARTS if known(steps, name))
    )
    yield written(whole(steps))


def known(steps: Sequence[Facts], name: str) -> bool:
    """Whether a number is anywhere."""
    return any(
        value_of(one, name).value is not None for step in steps for one in step["policies"].values()
    )


def step_table(steps: Sequence[Facts], name: str) -> Table:
    """One row a step, one column a rule; what has the most within its targets is starred."""
    names = list(dict.fromkeys(rule for step in steps for rule in step["policies"]))
    rows = [
        Row([
            settings_text(step["settings"]),
            *(cell(step, rule, name) for rule in names),
        ])
        for step in steps
    ]  # fmt: skip
    note = "* the best of a step   = tie with it"
    return Table(CHARTS[name], ["step", *names], rows, note=note)


def cell(step: Facts, rule: str, name: str) -> str:
    """A number with the mark of the best, or of a tie."""
    if rule not in step["policies"]:
        return ""
    one, tied = step["policies"][rule], list(step.get("tied_with_best") or ())
    number = said(one, name) if one["stable"] or name == "slo_attainment" else "unstable"
    mark = " *" if tied[:1] == [rule] else " =" if rule in tied else ""
    return number + mark


def chart(steps: Sequence[Facts], key: str, name: str) -> Markup | None:
    """A number against a key, one line a rule; of a grid the other keys stand still."""
    fixed = {k: v for k, v in steps[0]["settings"].items() if k != key}
    along = [step for step in steps if all(step["settings"][k] == v for k, v in fixed.items())]
    names = list(dict.fromkeys(rule for step in along for rule in step["policies"]))
    look, x = looks_of(names), axis_along(along, key)
    read = partial(value_of, name=name)
    series = [
        Series(
            rule,
            points(along, key, rule, read, BESIDE * (k - (len(names) - 1) / 2)),
            look[rule], line=not x.places, band=not x.places,
        )
        for k, rule in enumerate(names)
    ]  # fmt: skip
    where = "".join(f", {k.rpartition('.')[2]} {shown(v)}" for k, v in fixed.items())
    title, _, unit = CHARTS[name].partition(", ")
    y = Axis(f"{title[0].lower()}{title[1:]}{', ' + unit if unit else ''}")
    return drawn(Chart(f"{title} against {short(key)}{where}", series, x, y))


def whole(steps: Sequence[Facts]) -> Table:
    """One row a step and rule, with every number."""
    names = [name for name in HEADS if known(steps, name)]
    rows = [
        Row([settings_text(step["settings"]), rule, *(said(one, name) for name in names)],
            None if one["stable"] else "bad")
        for step in steps
        for rule, one in step["policies"].items()
    ]  # fmt: skip
    heads = ["step", "policy", *(HEADS[name] for name in names)]
    return Table("Every step and policy", heads, rows, left=2, fold=True)
