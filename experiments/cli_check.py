"""``batchwright profile check NAME``: whether a profile is fine enough, and what would help."""

from __future__ import annotations

import math
import re
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_speech import FAILED, console, spoken
from .cli_steps import check_steps, is_steps

if TYPE_CHECKING:
    from profiles.check import Check, FormErrors, Gap
    from profiles.remedy import Remedy


class Form(StrEnum):
    """Of the latency model, ``service.latency`` of a scenario."""

    grid = "grid"
    fitted = "fitted"
    hinge = "hinge"
    bucket = "bucket"


UNITS = {"tokens": "tokens", "audio_ms": "ms of audio"}
OURS = ["batchwright", "profile", "measure"]
HEADS = (
    "error, %", "off the grid", "left out: inner", "all", "worst", "formula alone", "noise alone"
)  # fmt: skip
BUDGET = "5m"
"""What a measurement takes where its command names no budget."""


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A shipped profile's name, or one of its files.",
            autocompletion=completion.profiles,
        ),
    ],
    bound: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="The error that is fine, in percent.")
    ] = 5.0,
    form: Annotated[
        Form | None, typer.Option(help="Of the latency model; default: the profile's own.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Check how far a profile is off between its points; exit code 1 where it is above the bound.

    Shapes measured off the grid count; without them, points left out between their neighbours.
    """
    with spoken(debug=debug):
        if is_steps(name):
            if not check_steps(name, round(bound / 100.0, 6), json=json):
                raise typer.Exit(FAILED)
            return
        from profiles.check import checked
        from profiles.remedy import remedy_of

        from .plain import dumps

        found = checked(
            name, bound=round(bound / 100.0, 6), form=None if form is None else form.value
        )
        remedy = remedy_of(found)
        if json:
            typer.echo(dumps(as_data(found, remedy)), nl=False)
        else:
            show(found, remedy)
        if not found.within:
            raise typer.Exit(FAILED)


def show(check: Check, remedy: Remedy | None) -> None:
    """One table, the verdict, and what to do."""
    from .terminal import facts, rows_table

    screen, profile = console(), check.profile
    screen.print(
        f"[bold]{profile.name}[/bold]   {len(profile.batch_size)} batch sizes x "
        f"{len(profile.length)} lengths"
    )
    cells = [row(one, check.form) for one in check.forms]
    known = [place for place in range(len(HEADS)) if any(line[place] for line in cells)]
    lines = ([line[place] for place in known] for line in cells)
    screen.print(rows_table(lines, *(HEADS[place] for place in known)))
    words = {
        "verdict": verdict(check),
        "but": unknown_words(check),
        "points": sampling_words(check),
        "worst": "" if remedy is None else "\n".join(map(gap_words, remedy.gaps)),
        "instead": better_words(check),
        "measure": "" if remedy is None else remedy_words(check, remedy),
    }
    screen.print(facts(words))
    command = None if remedy is None else more_command(check, remedy)
    if command is not None:
        screen.print(f"\n{command}", soft_wrap=True)


def row(one: FormErrors, used: str) -> tuple[str, ...]:
    """A form's cells; empty where nothing is known."""
    off = None if one.hold_out is None else one.counts
    cells = (off, one.inner, one.every, one.worst, one.fit, one.by_noise)
    mark = " *" if one.form == used else ""
    return (f"{one.form}{mark}", *(_percent(value) for value in cells))


def verdict(check: Check) -> str:
    """Whether the error is within the bound, in a sentence."""
    used, bound = check.used, f"{100 * check.bound:g} %"
    if used.counts is None:
        return (
            "not known: nothing was measured between the points of this grid"
            if check.form == "bucket"
            else "not known: no point has neighbours on both sides, so none can be left out"
        )
    how = (
        f"{len(used.hold_out.shapes)} shapes off the grid are predicted"
        if used.hold_out is not None
        else f"{used.points} points left out are predicted"
    )
    said = f'{how} with {100 * used.counts:.1f} % of error by latency = "{check.form}"'
    if check.within:
        return f"fine: {said}, within the bound of {bound}"
    noise = 100 * (used.by_noise or 0.0)
    if check.mostly_noise:
        return f"too noisy: {said}, above the bound of {bound}; noise alone gives {noise:.1f} %"
    known = "" if used.by_noise is None else f", of which noise alone gives {noise:.1f} %"
    return f"too coarse: {said}{known}; the bound is {bound}"


def unknown_words(check: Check) -> str:
    """The axes along which nothing is known between the points."""
    if check.used.hold_out is not None or check.form == "bucket" or check.used.counts is None:
        return ""
    unit = UNITS[check.profile.length_unit]
    axes = {"batch sizes": (check.profile.batch_size, ""), "lengths": (check.profile.length, unit)}
    return "\n".join(
        f"nothing is known between {name} {axis[0]:,} and {axis[1]:,} {unit}".strip()
        + ": two points show no bend"
        for name, (axis, unit) in axes.items()
        if len(axis) == 2
    )


def sampling_words(check: Check) -> str:
    """How sure the points themselves are."""
    import numpy as np

    if check.sampled is None:
        return "how sure each is, is not known: no calls are kept with this profile"
    error, calls = check.sampled.error, check.sampled.calls
    i, j = np.unravel_index(int(np.argmax(error)), error.shape)
    profile = check.profile
    return (
        f"sure to {100 * float(np.median(error)):.1f} % (standard error, median), the least sure "
        f"to {100 * error[i, j]:.1f} % (batch size {profile.batch_size[i]}, length "
        f"{profile.length[j]}: {calls[i, j]} calls)"
    )


def gap_words(gap: Gap) -> str:
    """Where it is worst."""
    axis = "lengths" if gap.axis == "length" else "batch sizes"
    how = "as measured there" if gap.measured else "estimated from the points around it"
    return f"{axis} {gap.below:,} to {gap.above:,}: {100 * gap.error:.1f} %, {how}"


def better_words(check: Check) -> str:
    """Another form that is nearer, where there is one."""
    better = check.better
    if better is None or better.counts is None:
        return ""
    return (
        f'service.latency = "{better.form}" in a scenario: {100 * better.counts:.1f} % of error on '
        "the same points"
    )


def remedy_words(check: Check, remedy: Remedy) -> str:
    """What to measure, in a sentence."""
    unit = UNITS[check.profile.length_unit]
    what = []
    if remedy.lengths:
        what.append(f"lengths {_listed(remedy.lengths)} {unit}")
    if remedy.sizes:
        what.append(f"batch sizes {_listed(remedy.sizes)}")
    if what:
        return " and ".join(what) + ", too"
    if check.mostly_noise:
        return f"{remedy.times_budget:.0f} times as long: more calls of each point, not more points"
    if check.form == "bucket":
        return "shapes between those that were captured, as `batchwright profile measure` does"
    return "at least three batch sizes or three lengths"


def more_command(check: Check, remedy: Remedy) -> str | None:
    """The command that measures it; None where no such command measured the profile, or can.

    Batch sizes have no option: a longer budget measures more of them, up to those of every plan.
    """
    from profiles.remedy import gave_up_sizes

    try:
        words = shlex.split(check.profile.metadata.command)
    except ValueError:
        return None
    more_sizes = bool(remedy.sizes) and gave_up_sizes(check.profile)
    if words[: len(OURS)] != OURS or not (remedy.lengths or more_sizes or check.mostly_noise):
        return None
    if remedy.lengths:
        every = sorted({*check.profile.length.tolist(), *remedy.lengths})
        words = with_option(words, "--lengths", ",".join(map(str, every)))
    budget = longer(option(words, "--budget") or BUDGET, remedy.times_budget)
    return shlex.join(with_option(words, "--budget", budget))


def option(words: list[str], name: str) -> str | None:
    """The value of an option, written with a space or with ``=``."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def with_option(words: list[str], name: str, value: str) -> list[str]:
    """The words with an option set, in its place or at the end."""
    if name in words:
        place = words.index(name)
        return [*words[: place + 1], value, *words[place + 2 :]]
    given = [place for place, word in enumerate(words) if word.startswith(f"{name}=")]
    if given:
        return [*words[: given[0]], f"{name}={value}", *words[given[0] + 1 :]]
    return [*words, name, value]


def longer(budget: str, times: float) -> str:
    """A budget times a factor, rounded up to minutes."""
    from .cli_measure import read_budget

    seconds = read_budget(budget) / 1e9 if re.match(r"\d", budget) else 300.0
    return f"{math.ceil(times * seconds / 60.0)}m"


def as_data(check: Check, remedy: Remedy | None) -> dict[str, Any]:
    """Everything as plain data; errors are shares."""
    command = None if remedy is None else more_command(check, remedy)
    return {
        "name": check.profile.name,
        "latency": check.form,
        "bound": check.bound,
        "within": check.within,
        "mostly_noise": check.mostly_noise,
        "verdict": verdict(check),
        "forms": [form_data(one) for one in check.forms],
        "sampling": None if check.sampled is None else {
            "calls": check.sampled.calls.tolist(), "error": check.sampled.error.tolist()},
        "gaps": [gap._asdict() for gap in check.gaps],
        "remedy": None if remedy is None else {
            "lengths": list(remedy.lengths), "batch_sizes": list(remedy.sizes),
            "times_budget": remedy.times_budget, "command": command},
    }  # fmt: skip


def form_data(one: FormErrors) -> dict[str, Any]:
    """The errors of one form."""
    return {
        "latency": one.form, "counts": one.counts, "by_noise": one.by_noise,
        "points_left_out": one.points,
        "formula": one.fit, "left_out_inner": one.inner, "left_out": one.every,
        "left_out_worst": one.worst, "left_out_worst_at": one.worst_at,
        "hold_out": None if one.hold_out is None else [
            {**shape._asdict(), "error": shape.error} for shape in one.hold_out.shapes],
    }  # fmt: skip


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(f"{value}" for value in values)
