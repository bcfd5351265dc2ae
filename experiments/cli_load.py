"""``batchwright load URL SCENARIO``: a scenario's requests over HTTP, beside their prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from . import completion
from .cli_shares import read_shares
from .cli_speech import FAILED, progress_bar, say, spoken
from .cli_validate import Judge, read_time

if TYPE_CHECKING:
    from .cli_run import Finished
    from .loading.asking import Wanted
    from .loading.driving import Target

COMMAND = "load"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(COMMAND)(load_)


def load_(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Of the server, as http://127.0.0.1:8000.")
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO",
            help="A shipped scenario's name, or a TOML file: its requests are sent.",
            autocompletion=completion.scenarios,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the model; default: of the scenario."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The server's rule, to predict; default: what batchwright serve says.",
            autocompletion=completion.policies,
        ),
    ] = None,
    load: Annotated[
        list[str] | None,
        typer.Option(
            "--load", metavar="SHARES", help="Of the largest rate: 0.3,0.6,0.8; repeatable."
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="PER_S", help="Requests per second, instead of a load.")
    ] = None,
    window: Annotated[str, typer.Option(help="How long requests arrive: 15s, 1m.")] = "15s",
    requests: Annotated[
        int | None, typer.Option(min=2, help="In a window, instead of its duration.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Windows at each load.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The draw of the first window.")] = 0,
    binary: Annotated[
        bool, typer.Option("--binary", help="Tensors as bytes, not as JSON.")
    ] = False,
    floor: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What client and HTTP alone cost, by: server (one of exact times, started here), "
            "live (the server's health), an address, none; auto: server where it can be had.",
        ),
    ] = "auto",
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Holds the bearer token; or set BATCHWRIGHT_TOKEN."),
    ] = None,
    judge: Annotated[
        Judge | None,
        typer.Option(help="Instead: MLPerf's LoadGen plans the requests, and judges them."),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(metavar="TOOL", help="Send nothing; write the requests for k6 or locust."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where --export writes; default: load-TOOL."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 where a tier misses its SLO.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any key; repeatable."),
    ] = None,
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
    """Send a scenario's requests to a server, open loop, and hold predictions against it."""
    with spoken(debug=debug):
        typed = Typed(
            url, source, model, policy, tuple(settings or ()), read_loads(load, rate), rate,
            read_time("--window", window), requests, repeats, seed, binary, floor, token_file, out,
            json=json, quiet=quiet,
        )  # fmt: skip
        if export is not None:
            write_export(typed, export, to)
            return
        run = run_judge(typed) if judge else run_load(typed)
        run.show(json=json, quiet=quiet)
        missed = getattr(run.result, "missed", ())
        if strict and missed:
            say("error: an SLO is missed")
            raise typer.Exit(FAILED)


class Typed(NamedTuple):
    """What was typed behind ``batchwright load``."""

    url: str
    source: str
    model: str | None
    policy: str | None
    settings: tuple[str, ...]
    loads: tuple[float | None, ...]
    rate: float | None
    window_ns: int
    requests: int | None
    repeats: int
    seed: int
    binary: bool
    floor: str
    token_file: Path | None
    out: Path
    json: bool
    quiet: bool

    @property
    def wanted(self) -> Wanted:
        """How much is sent."""
        from .loading.asking import Wanted

        return Wanted(self.loads, self.rate, self.requests, self.window_ns, self.repeats, self.seed)


def target_of(typed: Typed) -> Target:
    """Ask the server what it is, and what is to be predicted.

    Raises:
        ScenarioError: the scenario cannot be sent, or not there.
    """
    from .cli_serve import token_for
    from .loading.asked_rule import rule_of
    from .loading.asking import scenario_of
    from .loading.driving import Target
    from .loading.endpoint import endpoint_of, model_of
    from .loading.floor import checked_floor

    scenario = scenario_of(typed.source, typed.settings)
    endpoint = endpoint_of(typed.url, token_for("localhost", typed.token_file))
    model = model_of(endpoint, typed.model or scenario.name)
    floor = checked_floor(typed.floor, endpoint, ours=model.ours)
    rule = rule_of(scenario, endpoint, model, typed.policy)
    return Target(
        typed.source, typed.settings, scenario, endpoint, model, rule, typed.binary, floor
    )


def run_load(typed: Typed) -> Finished:
    """Send, predict, write the run."""
    from .cli_run import Job, in_folder
    from .loading.driving import Driving
    from .loading.judging import judged
    from .loading.records import write_requests

    target = target_of(typed)
    with progress_bar(quiet=typed.quiet or typed.json, still=True) as progress:

        def compute(folder: Path) -> Any:
            driving = Driving(target, typed.wanted, folder, progress)
            driven = driving.run()
            write_requests(driven, folder)
            return judged(driven, lambda _: progress("predicting", driving.steps, driving.steps))

        return in_folder(
            target.scenario, COMMAND, typed.out, compute, progress, {"url": target.endpoint.url},
            Job(write_figures, print_loaded),
        )  # fmt: skip


def run_judge(typed: Typed) -> Finished:
    """Let MLPerf's LoadGen plan the requests, and judge them."""
    from .cli_run import Job, in_folder
    from .mlperf.judging import check_scenario
    from .mlperf.over_http import judge
    from .mlperf.shown import judgement_tables

    target = target_of(typed)
    check_scenario(target.scenario)

    def speak(screen: Any, found: Any) -> None:
        for part in judgement_tables(found):
            screen.print(part)

    with progress_bar(quiet=typed.quiet or typed.json, still=True) as progress:

        def compute(folder: Path) -> Any:
            return judge(target, typed.wanted, folder, progress)

        return in_folder(
            target.scenario, "judge", typed.out, compute, progress, {"url": target.endpoint.url},
            Job(lambda _found, _folder: [], speak),
        )  # fmt: skip


def write_export(typed: Typed, tool: str, to: Path | None) -> None:
    """The requests of one window, for another tool."""
    from .cli_serve import token_for
    from .loading.endpoint import endpoint_of
    from .loading.exporting import checked_tool, exported
    from .plain import dumps

    tool = checked_tool(tool)
    endpoint = endpoint_of(typed.url, token_for("localhost", typed.token_file))
    found = exported(
        typed.source, typed.settings, typed.wanted, endpoint, typed.model, tool,
        to or Path(f"load-{tool}"), binary=typed.binary,
    )  # fmt: skip
    if typed.json:
        typer.echo(dumps(found.to_dict()), nl=False)
        return
    for path in found.files:
        typer.echo(str(path))
    if not typed.quiet:
        say(found.words)


def read_loads(given: list[str] | None, rate: float | None) -> tuple[float | None, ...]:
    """``0.3,0.6`` and further options as loads; none is that of the scenario.

    Raises:
        ScenarioError: one is no load, or there is a rate beside.
    """
    from .config import ScenarioError

    if rate is not None and not 0.0 < rate < float("inf"):
        raise ScenarioError(f"--rate {rate:g} must be requests per second, above 0")
    if rate is not None and given:
        raise ScenarioError("give at most one of --load and --rate")
    return read_shares(given)


def write_figures(found: Any, folder: Path) -> list[str]:
    """The figures of a load test, as files."""
    from .figures import save
    from .loading.plots import figures_of

    return [
        name for stem, drawn in figures_of(found).items() for name in save(drawn, folder / stem)
    ]


def print_loaded(screen: Any, found: Any) -> None:
    """Tables and verdict."""
    from .loading.shown import loaded_tables

    for part in loaded_tables(found):
        screen.print(part)
