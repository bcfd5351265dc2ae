"""``batchwright try RUN --on STACK``: the stack's own server, held against the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_shares import read_shares
from .cli_speech import progress_bar, say, spoken
from .cli_validate import read_time

if TYPE_CHECKING:
    from .stacks import Row

COMMAND = "try"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(COMMAND)(try_)


def try_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|RUN",
            help="A run, as of tune; or a scenario's name or file.",
            autocompletion=completion.scenarios_and_runs,
        ),
    ] = "latest",
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="STACK",
            help="triton, litserve, ray, mlserver, bentoml or torchserve.",
            autocompletion=completion.tried_stacks,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Default: the winner, or the best; of a scenario, the first that the stack does.",
            autocompletion=completion.policies,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Run this reference model in truth; the scenario has its profile.",
            autocompletion=completion.reference_models,
        ),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="Also run the stack with nothing set but batching.")
    ] = False,
    load: Annotated[
        list[str] | None,
        typer.Option(
            "--load", metavar="SHARES", help="Of the largest rate: 0.3,0.6,0.8; repeatable."
        ),
    ] = None,
    window: Annotated[str, typer.Option(help="How long requests arrive: 10s, 1m.")] = "10s",
    repeats: Annotated[int, typer.Option(min=1, help="Windows at each load.")] = 3,
    calibrate: Annotated[str, typer.Option(help="Time to calibrate each setting.")] = "20s",
    install: Annotated[
        bool, typer.Option("--install", help="Make an environment for the stack if it has none.")
    ] = False,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Run the nearest where the stack cannot do it.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any key; repeatable."),
    ] = None,
    ordinary: Annotated[
        bool,
        typer.Option("--ordinary", help="Not before all other processes, even where permitted."),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no hints.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Run a setting on the stack's real server, and hold predictions against it."""
    with spoken(debug=debug):
        from .cli_run import Job, in_folder
        from .stacks.asking import asked_for
        from .stacks.environments import python_of
        from .stacks.trial import Plan, run_trial

        row = stack_called(on)
        plan = Plan(
            read_shares(load, below=1.0), read_time("--window", window), repeats,
            read_time("--calibrate", calibrate), default, urgent=not ordinary,
        )  # fmt: skip
        asked = asked_for(source, policy, settings or (), out, row, nearest=nearest)
        if model is not None:
            from .stacks.real_model import with_model

            asked, row = with_model(asked, row, model)
        python = python_of(row, install=install, say=say)
        with progress_bar(quiet=quiet or json, still=True) as progress:

            def compute(folder: Path) -> Any:
                return run_trial(asked, row, plan, python, folder, progress)

            run = in_folder(
                asked.scenario, COMMAND, out, compute, progress, {"stack": row.name},
                Job(write_figures, print_trial),
            )  # fmt: skip
        run.show(json=json, quiet=quiet)


def stack_called(name: str | None) -> Row:
    """A row of the table of stacks that can be run.

    Raises:
        StackError: there is no such stack.
    """
    from .export import STACKS as EXPORTED
    from .export.reading import ALIASES
    from .sentences import suggestion
    from .stacks import STACKS
    from .stacks.contract import StackError

    if name is None:
        raise StackError(f"--on is missing; it is one of {', '.join(STACKS)}")
    called = ALIASES.get(name, name)
    if called in STACKS:
        return STACKS[called]
    if called in EXPORTED:
        raise StackError(
            f"--on {name}: its server cannot be run from here; those that can are "
            f"{', '.join(STACKS)}"
        )
    raise StackError(f"--on {name} is no stack; {suggestion(name, STACKS)}")


def write_figures(found: Any, folder: Path) -> list[str]:
    """The figures of a trial, as files."""
    from .figures import save
    from .stacks.plots import figures_of

    return [
        name for stem, drawn in figures_of(found).items() for name in save(drawn, folder / stem)
    ]


def print_trial(screen: Any, found: Any) -> None:
    """Tables and verdict."""
    from .stacks.shown import trial_tables

    for part in trial_tables(found):
        screen.print(part)
