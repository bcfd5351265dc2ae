"""``batchwright validate SCENARIO|RUN``: policies on a live device, beside what was predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from . import completion
from .cli_measure import Mode, Precision, model_errors, read_budget
from .cli_speech import FAILED, progress_bar, say, spoken

if TYPE_CHECKING:
    from .cli_run import Finished
    from .parallel import Progress

COMMAND = "validate"


class Judge(StrEnum):
    """Who else may send the requests of a live run, and judge it."""

    mlperf = "mlperf"


CALIBRATION_NS = 40 * 10**9


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
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="Time to calibrate, in all; default: 40s, with an \\[engine] what it takes."
        ),
    ] = None,
    judge: Annotated[
        Judge | None,
        typer.Option(
            help="Instead: MLPerf's LoadGen sends the requests for a window each, and judges them."
        ),
    ] = None,
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
        typed = Typed(
            source, tuple(policy or ()), tuple(settings or ()), device, model, precision.value,
            mode.value, threads, tuple(load or ()), rounds, read_time("--window", window),
            None if calibrate is None else read_time("--calibrate", calibrate), seed, out,
            quiet=quiet or json,
        )  # fmt: skip
        run = of_judge(typed) if judge else of_tokens(typed) or of_batches(typed)
        run.show(json=json, quiet=quiet)
        stopped = getattr(run.result, "stopped", "")
        if stopped:
            kept = run.folder / "live"
            say(f"error: {stopped}; the windows before are judged, and kept in {kept}")
            raise typer.Exit(FAILED)


class Typed(NamedTuple):
    """What was typed behind ``batchwright validate``."""

    source: str
    policies: tuple[str, ...]
    settings: tuple[str, ...]
    device: str
    model: str | None
    precision: str
    mode: str
    threads: int
    loads: tuple[float, ...]
    rounds: int
    window_ns: int
    calibration_ns: int | None
    seed: int
    out: Path
    quiet: bool


def of_batches(typed: Typed) -> Finished:
    """Run a scenario of batches, or a run of one."""
    from .cli_run import Job, in_folder
    from .validate import campaign, judgement
    from .validation.asking import asked_for
    from .validation.campaign import Plan, checked_loads, opening_of

    asked = asked_for(typed.source, typed.policies, typed.settings, typed.out)
    plan = Plan(
        checked_loads(typed.loads), typed.rounds, typed.window_ns,
        typed.calibration_ns or CALIBRATION_NS, typed.seed,
    )  # fmt: skip
    opening = opening_of(
        asked.scenario, typed.device, typed.model, typed.precision, typed.mode, typed.threads
    )
    with told(list(asked.policies), quiet=typed.quiet) as progress:

        def compute(folder: Path) -> Any:
            found = campaign(asked, plan, folder, typed.device, opening, progress)
            return judgement(asked, found, seed=typed.seed, progress=progress)

        return in_folder(
            asked.scenario, COMMAND, typed.out, compute, progress, {"device": typed.device},
            Job(write_figures, print_validation),
        )  # fmt: skip


def of_judge(typed: Typed) -> Finished:
    """Run a scenario of batches, or a run of one, under MLPerf's LoadGen."""
    from .cli_run import Job, in_folder
    from .config import ScenarioError, is_for_tokens
    from .mlperf.judging import check_judged, judge
    from .mlperf.shown import judgement_tables
    from .validation.asking import asked_for
    from .validation.campaign import checked_loads, opening_of

    if is_for_tokens(typed.source):
        raise ScenarioError(
            f"{typed.source} is of a model that generates, token by token; --judge mlperf takes "
            "scenarios with a [service]"
        )
    asked = asked_for(typed.source, typed.policies, typed.settings, typed.out)
    check_judged(asked)
    loads = checked_loads(typed.loads)
    opening = opening_of(
        asked.scenario, typed.device, typed.model, typed.precision, typed.mode, typed.threads
    )

    def speak(screen: Any, found: Any) -> None:
        for part in judgement_tables(found):
            screen.print(part)

    with told(list(asked.policies), quiet=typed.quiet) as progress:

        def compute(folder: Path) -> Any:
            return judge(asked, opening, loads, typed.window_ns, folder, progress)

        return in_folder(
            asked.scenario, "judge", typed.out, compute, progress, {"device": typed.device},
            Job(lambda _found, _folder: [], speak),
        )  # fmt: skip


def of_tokens(typed: Typed) -> Finished | None:
    """Run a scenario with an ``[engine]``, or a run of one; None for others."""
    from .iteration.validate_asked import asked_for

    asked = asked_for(typed.source, typed.policies, typed.settings, typed.out)
    if asked is None:
        return None
    from .iteration.validate_run import Options, check_options, prepared, run_validate

    check_options(typed.precision, typed.mode)
    options = Options(
        typed.device, typed.model, typed.threads, typed.loads, typed.rounds, typed.window_ns,
        typed.calibration_ns, typed.seed,
    )  # fmt: skip
    work = prepared(asked, options)
    with told(list(asked.rules), quiet=typed.quiet) as progress:
        return run_validate(work, typed.device, typed.out, progress)


@contextmanager
def told(policies: Sequence[str], *, quiet: bool) -> Iterator[Progress]:
    """Say who runs, and show how far it is."""
    if not quiet:
        say(f"policies: {', '.join(policies)}")
    with progress_bar(quiet=quiet, still=True) as progress:
        yield progress


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
