"""``batchwright validate SCENARIO|RUN``: policies on a live device, beside what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import completion
from .cli_measure import Mode, Precision, model_errors, read_budget
from .cli_speech import FAILED, progress_bar, say, spoken

COMMAND = "validate"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(COMMAND)(validate)


def validate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|RUN",
            help="A scenario's name or file; or a run, whose winner takes part.",
            autocompletion=completion.scenarios_and_runs,
        ),
    ],
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE", help="cpu, cuda, cuda:1; or emulated: sleeps the profile's times."
        ),
    ] = "emulated",
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Default: that of the scenario's profile.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="The weights are cast.")] = Precision.fp32,
    mode: Annotated[Mode, typer.Option(help="Eager, CUDA graphs, or compiled.")] = Mode.eager,
    threads: Annotated[int, typer.Option(min=1, help="Of the model, on a CPU.")] = 1,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="Only this policy; repeatable.",
            autocompletion=completion.policies,
        ),
    ] = None,
    load: Annotated[
        list[float] | None,
        typer.Option("--load", metavar="SHARE", help="Of the largest rate; repeatable."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of all policies at all loads.")] = 3,
    window: Annotated[str, typer.Option(help="How long requests arrive: 15s, 1m.")] = "15s",
    calibrate: Annotated[str, typer.Option(help="Time to calibrate, in all.")] = "40s",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any key; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of calibration.")] = 0,
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
    """Run policies on a live device, and hold the simulator's predictions against it."""
    with spoken(debug=debug), model_errors():
        from .cli_run import Job, in_folder
        from .validate import LIVE, campaign, judgement
        from .validation.asking import asked_for
        from .validation.campaign import Plan, checked_loads, opening_of

        asked = asked_for(source, policy, settings, out)
        plan = Plan(
            checked_loads(load or ()), rounds, read_time("--window", window),
            read_time("--calibrate", calibrate), seed,
        )  # fmt: skip
        opening = opening_of(asked.scenario, device, model, precision.value, mode.value, threads)
        if not quiet and not json:
            say(f"policies: {', '.join(asked.policies)}")
        with progress_bar(quiet=quiet or json, still=True) as progress:

            def compute(folder: Path) -> Any:
                found = campaign(asked, plan, folder, device, opening, progress)
                return judgement(asked, found, seed=seed, progress=progress)

            run = in_folder(
                asked.scenario, COMMAND, out, compute, progress, {"device": device},
                Job(write_figures, print_validation),
            )  # fmt: skip
        run.show(json=json, quiet=quiet)
        stopped = getattr(run.result, "stopped", "")
        if stopped:
            say(f"error: {stopped}; the windows before are judged, and kept in {run.folder / LIVE}")
            raise typer.Exit(FAILED)


def write_figures(found: Any, folder: Path) -> list[str]:
    """The figures of a validation, as files."""
    from .figures import save
    from .validation.figures import figures_of

    return [
        name for stem, drawn in figures_of(found).items() for name in save(drawn, folder / stem)
    ]


def print_validation(screen: Any, found: Any) -> None:
    """Tables and verdict."""
    from .validation.shown import validation_tables

    for part in validation_tables(found, screen.width):
        screen.print(part)


def read_time(option: str, text: str) -> int:
    """``15s`` or ``1m`` in ns.

    Raises:
        ScenarioError: it is neither.
    """
    from profiles import ProfileError

    from .config import ScenarioError

    try:
        return read_budget(text)
    except ProfileError:
        raise ScenarioError(f"{option} must be a time as in 15s or 1m, but got {text!r}") from None
