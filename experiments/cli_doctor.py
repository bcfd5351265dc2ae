"""``batchwright doctor``: what is installed, what the machine allows, what is missing for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_speech import FAILED, console, spoken

if TYPE_CHECKING:
    from rich.table import Table

    from .findings import Finding

STYLES = {"ok": "green", "missing": "yellow", "broken": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("doctor")(doctor)


def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Say what is installed, which devices there are, and what is missing for which command.

    The exit code is 1 where something is broken that simulations need, else 0.
    """
    with spoken(debug=debug):
        from .doctor import examine, healthy, to_dict
        from .plain import dumps

        findings = examine(out)
        if json:
            typer.echo(dumps(to_dict(findings)), nl=False)
        else:
            screen = console()
            screen.print(drawn(findings))
            screen.print("\n".join(summary(findings)), markup=False, soft_wrap=True)
        if not healthy(findings):
            raise typer.Exit(FAILED)


def drawn(findings: Sequence[Finding]) -> Table:
    """A line for each finding, one for all packages that are as they should be."""
    from rich.text import Text

    from .terminal import table

    shown = table("", "", "", "", left=4)
    shown.show_header = False
    shown.columns[-1].no_wrap = False
    part = ""
    for each in brief(findings):
        if each.part != part:
            shown.add_section()
        state = Text(each.state, style=STYLES[each.state])
        shown.add_row(each.part if each.part != part else "", each.name, state, Text(told(each)))
        part = each.part
    return shown


def brief(findings: Sequence[Finding]) -> list[Finding]:
    """The required packages that are fine as one finding, before the others."""
    fine = [each for each in findings if each.state == "ok" and each.part == "required"]
    names = ", ".join(f"{each.name} {each.found}" for each in fine)
    if not fine:
        return list(findings)
    return [
        replace(fine[0], name="packages", found=names),
        *(each for each in findings if each not in fine),
    ]


def told(each: Finding) -> str:
    """What was found; where something is amiss also what for, and the remedy."""
    if each.state == "ok":
        return each.found
    purpose = f"for {each.needed_for}" if each.needed_for else ""
    lines = [f"{each.found}; {purpose}" if purpose else each.found, each.remedy]
    return "\n".join(line for line in lines if line)


def summary(findings: Sequence[Finding]) -> list[str]:
    """What to do next."""
    amiss = [each for each in findings if each.required and each.state != "ok"]
    if amiss:
        names = ", ".join(each.name for each in amiss)
        return [f"Nothing can be relied on before this is repaired: {names}."]
    ready = "Everything is there that simulate, compare, tune, capacity and export need."
    extras = [each.name for each in findings if each.part == "optional" and each.state != "ok"]
    if not extras:
        return [ready]
    return [ready, f"For everything else: pip install 'batchwright[{','.join(extras)}]'"]
