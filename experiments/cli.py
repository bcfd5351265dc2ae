"""The command line: ``batchwright simulate | compare | tune | sweep | capacity | profile | ...``.

Nothing heavy is imported before a command runs, so that ``batchwright --help`` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from . import completion
from .cli_diagnose import register as register_diagnose
from .cli_doctor import register as register_doctor
from .cli_export import register as register_export
from .cli_init import register as register_init
from .cli_load import register as register_load
from .cli_options import (
    RUNS,
    Apply,
    Debug,
    Engine,
    EngineChoice,
    FromMetrics,
    Json,
    Out,
    Over,
    Policies,
    ProfileAsIs,
    Quiet,
    Records,
    Scenario,
    Set,
    Since,
    TokenFile,
    With,
)
from .cli_profile import app as profile_app
from .cli_report import register as register_report
from .cli_schema import register as register_schema
from .cli_serve import register as register_serve
from .cli_speech import progress_bar, spoken
from .cli_try import register as register_try
from .cli_validate import register as register_validate

app = typer.Typer(
    name="batchwright",
    help="Choose how inference requests are batched on GPUs, from evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(profile_app, name="profile")


def print_version(*, wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"batchwright {version('batchwright')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Choose how inference requests are batched on GPUs, from evidence."""


@app.command()
def simulate(
    scenario: Scenario,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Default: the first.", autocompletion=completion.policies
        ),
    ] = None,
    engine: EngineChoice = Engine.kernel,
    settings: Set = None,
    records: Records = False,
    json: Json = False,
    out: Out = RUNS,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run one policy on a scenario: latency with intervals, batches, padding, figures."""
    with spoken(debug=debug):
        from .cli_run import run_simulate

        with progress_bar(quiet=quiet or json) as progress:
            run = run_simulate(scenario, policy, engine.value, settings, out, records, progress)
        run.show(json=json, quiet=quiet)


@app.command()
def compare(
    scenario: Scenario,
    policy: Policies = None,
    present: With = None,
    engine: EngineChoice = Engine.kernel,
    settings: Set = None,
    load_curve: Annotated[
        bool, typer.Option(help="Also run a few loads, for latency against load.")
    ] = True,
    records: Records = False,
    json: Json = False,
    out: Out = RUNS,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run every policy on the same arrivals: a table, paired differences, a verdict, figures."""
    with spoken(debug=debug):
        from .cli_run import run_compare

        with progress_bar(quiet=quiet or json) as progress:
            run = run_compare(
                scenario, policy, engine.value, settings, out, records, load_curve, progress,
                present or (),
            )  # fmt: skip
        run.show(json=json, quiet=quiet)


@app.command()
def sweep(
    scenario: Scenario,
    over: Over,
    policy: Policies = None,
    engine: EngineChoice = Engine.kernel,
    settings: Set = None,
    json: Json = False,
    out: Out = RUNS,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare policies over a range of any key: loads, servers, waits, batch sizes."""
    with spoken(debug=debug):
        from .cli_run import run_sweep

        with progress_bar(quiet=quiet or json) as progress:
            run = run_sweep(scenario, over, policy, engine.value, settings, out, progress)
        run.show(json=json, quiet=quiet)


@app.command()
def tune(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO",
            help="A shipped scenario's name or a TOML file; a run with --resume or metrics.",
            autocompletion=completion.scenarios_and_runs,
        ),
    ],
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="MEASURE",
            help="p99, mean, busy, energy, cost, capacity, ...; repeat for a Pareto front.",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="Only this policy or kind; repeatable.",
            autocompletion=completion.policies_and_kinds,
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Settings to try; by default 500.")] = None,
    present: With = None,
    settings: Set = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="A database that several machines share, as postgresql://user@host/name.",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="The study's name there.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the tuning that was cut off.")
    ] = False,
    from_metrics: FromMetrics = None,
    since: Since = None,
    profile_as_is: ProfileAsIs = False,
    apply: Apply = None,
    token_file: TokenFile = None,
    json: Json = False,
    out: Out = RUNS,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Search the best setting under the SLOs, judge it on fresh runs, and say what it is worth."""
    with spoken(debug=debug):
        from .cli_retune import apply_winner, metrics_of, server_of
        from .cli_tune import Asked, run_tune

        server = server_of(apply, token_file)
        asked = Asked(
            scenario, settings or (), objective or (), policy or (), trials, present or (),
            storage, study, resume,
            metrics_of(from_metrics, since, token_file, as_is=profile_as_is),
        )  # fmt: skip
        with progress_bar(quiet=quiet or json) as progress:
            run = run_tune(asked, out, progress)
        run.show(json=json, quiet=quiet)
        if server is not None:
            apply_winner(server, run)


@app.command()
def capacity(
    scenario: Scenario,
    policy: Policies = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="PER_S", help="Also count the servers that so many requests/s need."),
    ] = None,
    max_servers: Annotated[
        int, typer.Option(metavar="N", help="At most so many servers, with --rate.")
    ] = 64,
    settings: Set = None,
    json: Json = False,
    out: Out = RUNS,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the largest arrival rate that meets the SLOs, and the servers that a rate needs."""
    with spoken(debug=debug):
        from .cli_capacity import run_capacity

        with progress_bar(quiet=quiet or json) as progress:
            run = run_capacity(scenario, policy, rate, max_servers, settings, out, progress)
        run.show(json=json, quiet=quiet)


register_validate(app)
register_try(app)
register_serve(app)
register_load(app)
register_diagnose(app)
register_export(app)
register_report(app)


@app.command()
def scenarios(json: Json = False, debug: Debug = False) -> None:
    """List the shipped scenarios."""
    with spoken(debug=debug):
        from .cli_lists import show_scenarios

        show_scenarios(json=json)


@app.command()
def policies(json: Json = False, debug: Debug = False) -> None:
    """List the kinds of policy that a scenario may name, with their parameters."""
    with spoken(debug=debug):
        from .cli_lists import show_policies

        show_policies(json=json)


register_init(app)
register_doctor(app)
register_schema(app)


def main() -> None:
    """Entry point of the ``batchwright`` command."""
    from .streams import mend

    mend()
    app()
