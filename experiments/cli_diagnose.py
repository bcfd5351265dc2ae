"""``batchwright diagnose RUN|TRACE``: why is p99 high, and what should I change?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from . import completion
from .cli_speech import console, progress_bar, spoken

if TYPE_CHECKING:
    from .diagnosis.diagnosis import Diagnosis
    from .iteration.scenario import TokenScenario
    from .parallel import Progress
    from .scenario import Scenario

COMMAND = "diagnose"
RUNS_OF = ("simulate", "compare")
"""Of a scenario's runs the newest of these: they have one setting of each policy."""


class Wanted(NamedTuple):
    """What the options say."""

    policy: str | None
    scenario: str | None
    slo_ms: float | None
    percentile: float | None
    tier: str | None
    columns: tuple[str, ...]
    unit: str
    largest_batch: int | None


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(COMMAND)(diagnose)


def diagnose(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|TRACE",
            help="A run, a scenario, a saved trace's folder, or a CSV log of your own service.",
            autocompletion=completion.scenarios_and_runs,
        ),
    ] = "latest",
    slo: Annotated[
        float | None, typer.Option("--slo", metavar="MS", help="Target of the percentile.")
    ] = None,
    percentile: Annotated[
        float | None, typer.Option(min=50, max=99.99, help="Default: that of the SLO, or 99.")
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Default: the most urgent tier with an SLO."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a scenario or a run; default: its first, with an \\[engine] its best.",
            autocompletion=completion.policies,
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="SCENARIO",
            help="Service times and policy of a trace or a log, where known.",
            autocompletion=completion.scenarios,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", metavar="WHAT=NAME", help="A log's column, as start=t_run; repeatable."
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option(help="Of a log's times whose column does not end in _s, _ms, _us, _ns.")
    ] = "s",
    largest_batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The largest batch that fits into memory."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Say why p99 is high, with evidence, and what to change: each remedy is simulated."""
    with spoken(debug=debug):
        wanted = Wanted(
            policy, scenario, slo, percentile, tier, tuple(columns or ()), unit, largest_batch
        )
        with progress_bar(quiet=quiet or json) as progress:
            tokens = scenario_of_tokens(source, out)
            if tokens is not None:
                scenario_found, best = tokens
                of_tokens(scenario_found, policy or best, progress, json=json)
                return
            found = find(source, wanted, out, progress)
        if json:
            from .plain import dumps

            typer.echo(dumps(found.to_dict()), nl=False)
        else:
            from .diagnosis.shown import print_diagnosis

            print_diagnosis(console(), found)


def scenario_of_tokens(source: str, root: Path) -> tuple[TokenScenario, str | None] | None:
    """The scenario of a model that generates, by its name, its file or a run of it.

    Of a run with the policy that it found best, where that is one of the scenario's.
    """
    from .config import is_for_tokens
    from .iteration.setting import is_of_tokens, scenario_of_run
    from .rerun import read_result
    from .runs import RunError, resolve_run

    if not Path(source).suffix:
        try:
            folder = resolve_run(source, root, RUNS_OF)
        except RunError:
            folder = None
        if folder is not None and is_of_tokens(folder):
            found = scenario_of_run(folder)
            best = read_result(folder).get("best")
            return found, best if best in found.policies else None
    if is_for_tokens(source):
        from .iteration.config import load_scenario

        return load_scenario(source), None
    return None


def of_tokens(
    scenario: TokenScenario, policy: str | None, progress: Progress, *, json: bool
) -> None:
    """Diagnose a model that generates, and print what was found."""
    from .iteration.diagnose import diagnose, print_diagnosis

    found = diagnose(scenario, policy, progress)
    if json:
        typer.echo(found.to_json(), nl=False)
    else:
        print_diagnosis(console(), found)


def find(source: str, wanted: Wanted, root: Path, progress: Progress) -> Diagnosis:
    """Diagnose a log, a trace, a run or a scenario, whichever the source is.

    Raises:
        RunError: it is none of them.
    """
    from .diagnose import diagnose as of_trace
    from .diagnose import diagnose_log
    from .places import is_file

    path = Path(source)
    judged: dict[str, Any] = {
        "slo_ms": wanted.slo_ms, "percentile": wanted.percentile, "tier": wanted.tier,
        "progress": progress,
    }  # fmt: skip
    if is_file(path) and not path.name.endswith(".toml"):
        columns = dict(map(named_column, wanted.columns))
        return diagnose_log(
            path, columns, unit=wanted.unit, largest_batch=wanted.largest_batch,
            **known(wanted), **judged,
        )  # fmt: skip
    if is_file(path / "trace.json"):
        from sim.trace import Trace

        return of_trace(Trace.load(path), **known(wanted), **judged, subject=source)
    return _of_scenario(source, wanted, root, judged)


def _of_scenario(source: str, wanted: Wanted, root: Path, judged: dict[str, Any]) -> Diagnosis:
    """Diagnose a run, or a scenario that has none yet."""
    from .config import load_scenario, scenario_names
    from .diagnose import diagnose_scenario
    from .rerun import read_result, run_name, scenario_of_run
    from .runs import RunError, resolve_run

    if source.endswith(".toml"):
        return diagnose_scenario(load_scenario(source), wanted.policy, **judged)
    try:
        folder = resolve_run(source, root, RUNS_OF)
    except RunError:
        if source not in scenario_names():
            raise
        return diagnose_scenario(load_scenario(source), wanted.policy, **judged)
    scenario = scenario_of_run(folder)
    ran = [name for name in read_result(folder).get("policies", ()) if name in scenario.policies]
    policy = wanted.policy or (ran[0] if len(ran) == 1 else next(iter(scenario.policies)))
    subject = f"run {run_name(folder)}, policy {policy}"
    return diagnose_scenario(scenario, policy, **judged, subject=subject)


def known(wanted: Wanted) -> dict[str, Any]:
    """Service and policy of the scenario that is lent to a trace or a log."""
    if wanted.scenario is None:
        return {}
    from .config import load_scenario
    from .contest import entrants

    scenario: Scenario = load_scenario(wanted.scenario)
    name = wanted.policy or next(iter(scenario.policies))
    (entrant,) = entrants(scenario, [name], baselines=False)
    return {"service": scenario.draw()[1], "policy": entrant.policy}


def named_column(text: str) -> tuple[str, str]:
    """``start=t_run`` as what a column holds and its name.

    Raises:
        DiagnosisError: it is not of this form.
    """
    from .diagnosis.errors import DiagnosisError

    what, equals, name = text.partition("=")
    if not equals or not what.strip() or not name.strip():
        raise DiagnosisError(f"--columns {text}: must be WHAT=NAME, as in start=t_run")
    return what.strip(), name.strip()
