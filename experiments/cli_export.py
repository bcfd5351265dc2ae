"""``batchwright export``, ``import`` and ``stacks``: settings as files of serving stacks, and back.

A stack that cannot do what the policy does gets one sentence and no file; the others are written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_speech import WRONG_INPUT, console, say, spoken
from .plain import dumps

if TYPE_CHECKING:
    from .export import Stack
    from .export.contract import Exported
    from .export.setting import Setting

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]

EXPORTED = ("tune", "compare", "simulate")
"""The commands whose runs hold a setting."""

EXPORTS = "export"
"""The folder of a run that holds its exports, a folder for each stack."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("export")(export)
    app.command("import")(import_)
    app.command("stacks")(stacks)


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, a scenario's name, or `latest`.",
            autocompletion=completion.runs,
        ),
    ] = "latest",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="STACK",
            help="As `stacks` lists them; repeatable.",
            autocompletion=completion.stacks,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Default: the winner, or the best.",
            autocompletion=completion.policies,
        ),
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Write the nearest where a stack cannot do it.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of the model; default: the scenario's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: the folder `export` of the run.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the setting that a run recommends as files of a serving stack."""
    with spoken(debug=debug):
        from .export.contract import ExportError
        from .export.instead import exactly
        from .export.reading import stack_called
        from .export.run import setting_of_run
        from .iteration.exporting import export_run
        from .iteration.setting import is_of_tokens
        from .runs import folder_name, resolve_aloud

        if not to:
            raise ExportError("--to is missing; `batchwright stacks` lists the stacks")
        rows = [stack_called(each) for each in dict.fromkeys(to)]
        if name is not None and name != folder_name(name):
            raise ExportError(
                f"--name {name}: must be letters, digits, dots, dashes and underscores"
            )
        folder = resolve_aloud(run, EXPORTED, say)
        if is_of_tokens(folder):
            names = [row.name for row in rows]
            export_run(folder, names, policy, name, out, nearest=nearest, json=json)
            return
        setting = setting_of_run(folder, policy, name)
        places = [(row, (folder / EXPORTS if out is None else out) / row.name) for row in rows]
        told = {
            row.name: exported(
                setting,
                row,
                place,
                partial(exactly, row, folder, setting.name, name) if policy is None else nothing,
                nearest=nearest,
                owned=out is None,
            )
            for row, place in places
        }
        show(folder, setting, told, json=json)


def told_of(place: Path, found: Exported) -> dict[str, Any]:
    """What is told of files that were written."""
    return {
        "folder": str(place),
        "files": [str(place / each) for each in found.files],
        "exact": found.exact,
        "differences": list(found.differences),
        "notes": list(found.notes),
    }


def exported(
    setting: Setting,
    row: Stack,
    place: Path,
    instead: Callable[[], str | None],
    *,
    nearest: bool,
    owned: bool,
) -> dict[str, Any]:
    """Write one stack's files, and tell what was written or why nothing was."""
    from .export.contract import NotExpressible
    from .export.reading import module_of

    try:
        found = module_of(row).export(setting, nearest=nearest)
    except NotExpressible as refusal:
        return refused(refusal, instead())
    write(place, found, owned=owned)
    return told_of(place, found)


def nothing() -> None:
    """Whoever named a policy wants no other."""


def refused(refusal: Any, instead: str | None = None) -> dict[str, Any]:
    """What is told of a stack that got no file."""
    nearest = None if refusal.nearest is None else refusal.nearest.difference
    sentence = str(refusal)
    if instead is not None:
        sentence = f"{sentence}; of this run it does {instead} exactly: --policy {instead}"
    return {"refused": refusal.reason, "nearest": nearest, "instead": instead, "sentence": sentence}


def write(place: Path, found: Exported, *, owned: bool) -> None:
    """Write the files of one stack, each whole or not at all.

    Args:
        place: the folder for them.
        found: the files.
        owned: whether the folder holds nothing but exports, so that those of before are removed.
    """
    from .runs import part_of, write_atomic

    into = part_of(place) if owned else place
    try:
        for name, text in found.files.items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text)
        if owned:
            shutil.rmtree(place, ignore_errors=True)
            into.replace(place)
    except BaseException as error:
        if owned:
            shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError) and error.filename:
            named = str(error.filename).replace(str(into), str(place))
            raise OSError(error.errno, error.strerror, named) from error
        raise


def is_another(setting: Setting, place: str, stack: str) -> bool:
    """Whether an export reads as another policy than the one of the run, which can be simulated."""
    from .export.contract import ExportError
    from .export.plan import plan_of, plan_table
    from .export.reading import read_file

    try:
        found = read_file(place, stack).imported
    except ExportError:
        return False
    plan = plan_of(setting)
    return not plan.exact or plan_table(plan) != found.table


def show(folder: Path, setting: Any, told: dict[str, Any], *, json: bool) -> None:
    """Print what was written and what was refused.

    Raises:
        typer.Exit: a stack was refused.
    """
    from .iteration.setting import TokenSetting

    if json:
        stacks = {
            stack: {key: value for key, value in about.items() if key != "sentence"}
            for stack, about in told.items()
        }
        found = {"run": str(folder), "policy": setting.name, "model": setting.model}
        typer.echo(dumps({**found, "stacks": stacks}), nl=False)
    for stack, about in told.items():
        if "refused" in about:
            say(f"error: {about['sentence']}")
        elif not json:
            how = "" if about["exact"] else ", NOT the policy that was simulated: see the file"
            typer.echo(f"{stack}: {setting.name} of {folder}{how}")
            for path in about["files"]:
                typer.echo(f"  {path}")
            for difference in about["differences"]:
                typer.echo(f"  differs: {difference}")
            for note in about["notes"]:
                typer.echo(f"  note: {note}")
            tokens = isinstance(setting, TokenSetting)
            if not about["exact"] and not tokens and is_another(setting, about["folder"], stack):
                scenario = setting.evidence.scenario
                command = f"batchwright compare {scenario} --with {about['folder']}"
                typer.echo(f"  to see what the difference costs: {command}")
    if any("refused" in about for about in told.values()):
        raise typer.Exit(WRONG_INPUT)


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A stack's file, or the folder of an export.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STACK",
            help="Default: found out.",
            autocompletion=completion.stacks,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the policy; default: the file's.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the policy that a stack's file asks for, as a table of a scenario file."""
    with spoken(debug=debug):
        from .export.plain import with_infinity
        from .export.reading import read_file
        from .export.toml_text import policy_toml

        found = read_file(file, source)
        table, notes = found.imported.table, found.imported.notes
        if json:
            about = {
                "stack": found.stack.name,
                "name": name or found.name,
                "policy": with_infinity(table),
                "servers": found.imported.servers,
                "notes": list(notes),
            }
            typer.echo(dumps(about), nl=False)
            return
        typer.echo(policy_toml(name or found.name, table), nl=False)
        servers = found.imported.servers
        if servers is not None and servers > 1:
            say(f"note: the file asks for {servers} servers: give service.servers in the scenario")
        for note in notes:
            say(f"note: {note}")


def stacks(json: Json = False, debug: Debug = False) -> None:
    """List the serving stacks, with what each can express."""
    with spoken(debug=debug):
        from .export import STACKS
        from .terminal import rows_table

        if json:
            found = [{**row._asdict(), "reads": bool(row.files)} for row in STACKS.values()]
            typer.echo(dumps({"stacks": found}), nl=False)
            return
        rows = (
            (row.name, row.title, "yes" if row.files else "no", row.expresses)
            for row in STACKS.values()
        )
        console().print(rows_table(rows, "stack", "title", "read", "exactly", left=4))
