"""``batchwright init [FILE]``: a first scenario, from a few questions or a log of requests.

Every question is an option, too; what is not said is asked at a terminal, and has a default in a
script.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_diagnose import named_column
from .cli_speech import input_errors, say, sentence, spoken

if TYPE_CHECKING:
    from .scenario import Scenario
    from .starting.log import Log
    from .starting.plan import Plan
    from .starting.wishes import Wishes

FILE = Path("scenario.toml")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("init")(init)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the scenario goes.")] = FILE,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="Latencies: a shipped profile, or a file.",
            autocompletion=completion.profiles,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="A,B", help="No profile: a batch of k takes A + k B ms."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="PER_S", help="Requests per second.")
    ] = None,
    load: Annotated[
        str | None,
        typer.Option("--load", metavar="SHARE", help="Or their share of what the servers can do."),
    ] = None,
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo",
            metavar="MS",
            help="p99 in ms, as 20; or p95=20; or none. Of a log with answers: to the first token.",
        ),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            "--lengths",
            metavar="WHAT",
            help="A data set, a number, a histogram's CSV file; with a log histogram or lognormal.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    servers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Default: as many as the rate needs.")
    ] = None,
    from_log: Annotated[
        Path | None,
        typer.Option(
            "--from-log", metavar="CSV", help="Fit arrivals and lengths to a log of requests."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="WHAT=NAME",
            help="The log's column of arrival, length, output or tier, as arrival=t; repeatable.",
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="s, ms, us or ns of the log's arrivals, where neither name nor size tells it."
        ),
    ] = None,
    arrivals: Annotated[
        str, typer.Option(help="Of a log: auto, poisson, gamma, mmpp, or trace to replay it.")
    ] = "auto",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Write a commented scenario: answer a question or two, or let it fit a log of requests."""
    with spoken(debug=debug, elsewhere="another FILE"):
        from .sentences import ScenarioError
        from .starting.engine import generates
        from .starting.reading import read
        from .starting.writing import refuse_overwriting, start, written

        if not file.name:
            raise ScenarioError(f"{file} is a folder; give the name of a file, as mine.toml")
        file = file if file.suffix == ".toml" else file.with_name(f"{file.name}.toml")
        refuse_overwriting(file, [], force=force)
        wishes = wished(
            profile=profile, model=model, rate=rate, load=load, slo=slo, lengths=lengths,
            servers=servers, log=from_log, columns=dict(map(named_column, columns or ())),
            unit=unit, arrivals=arrivals,
        )  # fmt: skip
        if from_log is not None and sys.stderr.isatty():
            say(f"reading {from_log}, and fitting processes to it")
        log = read(wishes)
        if log is not None and generates(log, wishes):
            start_engine(wishes, log, file, force=force)
            return
        if not yes and sys.stdin.isatty():
            wishes = asked(wishes)
        plan, scenario = start(wishes, file)
        paths = written(plan, file, force=force)
        print_plan(plan, scenario, paths)


def start_engine(wishes: Wishes, log: Log, file: Path, *, force: bool) -> None:
    """Write the scenario of a model that generates, and say what was found and assumed."""
    from .starting.engine import engine_planned, engine_written, next_steps

    plan = engine_planned(wishes, log, file.stem)
    paths = engine_written(plan, file, force=force)
    typer.echo(f"written: {', '.join(map(str, paths[::-1]))}")
    typer.echo("")
    typer.echo(
        "The log has prompts and answers: a model that generates, token by token. (For a model "
        "with one pass, name its --profile.)"
    )
    for line in plan.told:
        typer.echo(line)
    typer.echo("")
    typer.echo(
        "[engine] is an assumption, an 8B model on one GPU of 80 GB: replace fixed_ms, "
        "prefill_token_us, context_token_ns and memory with those of yours; the file says how they "
        "come about."
    )
    typer.echo(next_steps(str(paths[-1])))
    typer.echo("")
    typer.echo(f"next: batchwright compare {quote(str(paths[-1]))}")


def wished(
    *, rate: str | None, load: str | None, slo: str | None, arrivals: str, **others: Any
) -> Wishes:
    """Options as wishes.

    Raises:
        ScenarioError: one of them makes no sense.
    """
    from .sentences import ScenarioError, choice
    from .starting.arrivals import KINDS
    from .starting.wishes import Slo, Wishes, positive

    if arrivals not in KINDS:
        raise ScenarioError(f"--arrivals {arrivals} must be {choice(arrivals, KINDS)}")
    if others["log"] is None and (others["columns"] or arrivals != "auto"):
        raise ScenarioError("--columns and --arrivals are of a log: give --from-log, too")
    none = slo is not None and slo.strip().lower() == "none"
    return Wishes(
        rate=None
        if rate is None
        else positive(rate, "--rate", "requests per second above 0, as in 250"),
        load=None if load is None else positive(load, "--load", "a number above 0, as in 0.6"),
        slo=None if none or slo is None else Slo(slo.strip()),
        no_slo=none,
        arrivals=arrivals,
        **others,
    )


def asked(wishes: Wishes) -> Wishes:
    """What was not said, answered at the terminal."""
    from .starting.wishes import LOAD, PROFILE, Slo, load_profile, rate_or_load

    def profile(text: str) -> Wishes:
        load_profile(text)
        return replace(wishes, profile=text)

    def rate(text: str) -> Wishes:
        per_s, load = rate_or_load(text)
        return replace(wishes, rate=per_s, load=load)

    def slo(text: str) -> Wishes:
        if text == "guess":
            return wishes
        none = text.lower() == "none"
        return replace(wishes, no_slo=none, slo=None if none else Slo(text))

    if wishes.profile is None and wishes.model is None:
        say("Whose latencies?  `batchwright profile list` names the profiles.")
        wishes = answered("profile", PROFILE, profile)
    if wishes.log is None and wishes.rate is None and wishes.load is None:
        say("How many requests per second?  A number, or per cent of what the GPU can do.")
        wishes = answered("rate", f"{100 * LOAD:.0f}%", rate)
    if wishes.slo is None and not wishes.no_slo:
        say("Which latency is good enough?  p99 in ms, as 20; or p95=20; none; guess.")
        wishes = answered("slo", "guess", slo)
    return wishes


def answered(name: str, default: str, take: Callable[[str], Wishes]) -> Wishes:
    """Ask until an answer makes sense."""
    while True:
        text = typer.prompt(name, default=default, err=True).strip()
        try:
            return take(text)
        except input_errors() as error:
            say(sentence(error))


def print_plan(plan: Plan, scenario: Scenario, paths: list[Path]) -> None:
    """What was written, what was found, and what to do next."""
    typer.echo(f"written: {', '.join(map(str, paths[::-1]))}")
    typer.echo("")
    typer.echo(scenario.describe())
    typer.echo(plan.servers_why)
    if plan.assumed:
        typer.echo(plan.assumed)
    if plan.truncated:
        typer.echo(f"{plan.truncated} Another --profile may know them.")
    if plan.log is not None:
        typer.echo("")
        for why in (*plan.log.notes, *plan.arrivals_why):
            typer.echo(why)
        parts = {"lengths": plan.lengths}
        parts |= {f"lengths of {tier.name}": tier.lengths for tier in plan.tiers}
        for name, part in parts.items():
            for why in () if part is None or plan.replayed else part.why:
                typer.echo(f"{name}: {why}")
    typer.echo("")
    typer.echo(f"next: batchwright compare {quote(str(paths[-1]))}")
