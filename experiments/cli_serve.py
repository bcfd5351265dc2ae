"""``batchwright serve SCENARIO|RUN``: the same policy, as a server of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_measure import Mode, Precision, model_errors
from .cli_serve_live import installed, live
from .cli_speech import say, spoken
from .cli_validate import read_time
from .serving.access import TOKEN, model_name, token_for

if TYPE_CHECKING:
    from policies.contract import Policy

    from .serving.drift import Expected
    from .serving.outlook import Outlook

QUEUE = "BATCHWRIGHT_QUEUE"
SERVED, REACHED = "What is served", "Where it listens, and how it ends"
WAITING, WATCHED = "Who waits", "What is watched"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("serve")(serve)


def serve(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENARIO|RUN",
            help="A scenario's name or file; or a run, whose winner is served.",
            autocompletion=completion.scenarios_and_runs,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="emulated (sleeps the profile's times), null (answers at once), a reference "
            "model, hf:PATH or onnx:FILE.",
            rich_help_panel=SERVED,
        ),
    ] = "emulated",
    function: Annotated[
        str | None,
        typer.Option(
            "--callable",
            metavar="PKG.MOD:FN",
            help="A function of your own instead: of tensors where it declares inputs, else of "
            "lengths.",
            rich_help_panel=SERVED,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Default: the only one, or the winner of the run.",
            autocompletion=completion.policies,
            rich_help_panel=SERVED,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the model; default: of the scenario.",
            rich_help_panel=SERVED,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override any key; repeatable.",
            rich_help_panel=SERVED,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(metavar="DEVICE", help="cpu, cuda, or cuda:1.", rich_help_panel=SERVED),
    ] = "cpu",
    precision: Annotated[
        Precision, typer.Option(help="The weights are cast.", rich_help_panel=SERVED)
    ] = Precision.fp32,
    mode: Annotated[
        Mode, typer.Option(help="Eager, CUDA graphs, or compiled.", rich_help_panel=SERVED)
    ] = Mode.eager,
    threads: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Of the model, on a CPU.", rich_help_panel=SERVED),
    ] = 1,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where it listens; beyond this machine it wants a token.",
            rich_help_panel=REACHED,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="N", help="0: any that is free.", rich_help_panel=REACHED
        ),
    ] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Holds the bearer token; or set {TOKEN}.",
            rich_help_panel=REACHED,
        ),
    ] = None,
    notice: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="From SIGTERM on, requests are taken for so long.",
            rich_help_panel=REACHED,
        ),
    ] = "1s",
    drain: Annotated[
        str,
        typer.Option(metavar="TIME", help="And finished for so long.", rich_help_panel=REACHED),
    ] = "30s",
    capacity: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**6,
            metavar="N",
            help="Requests that may wait; default: the scenario's.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=QUEUE,
            help="Of jobs: redis://127.0.0.1:6379/0 outlives the server; default: in memory.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    jobs_tier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of jobs; default: the last one, the least urgent.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    jobs_capacity: Annotated[
        int,
        typer.Option(
            min=1,
            max=10**8,
            metavar="N",
            help="Jobs that may be unfinished.",
            rich_help_panel=WAITING,
        ),
    ] = 100_000,
    jobs_keep: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="What became of a job is kept so long.", rich_help_panel=WAITING
        ),
    ] = "24h",
    jobs_lease: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="A server silent for so long has lost its jobs.",
            rich_help_panel=WAITING,
        ),
    ] = "30s",
    no_drift: Annotated[
        bool,
        typer.Option(
            "--no-drift",
            help="Do not watch whether life is still as the simulator predicts it.",
            rich_help_panel=WATCHED,
        ),
    ] = False,
    drift_window: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Two in a row off their prediction alarm.",
            rich_help_panel=WATCHED,
        ),
    ] = "90s",
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the last requests there, each minute and at the end: a trace.",
            rich_help_panel=WATCHED,
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            min=0,
            max=10**8,
            metavar="N",
            help="Requests that it remembers, for --record and tuning.",
            rich_help_panel=WATCHED,
        ),
    ] = 1_000_000,
    write_monitoring: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write dashboard, alert rules and scrape configuration, and stop.",
            rich_help_panel=WATCHED,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when it is ready.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Serve a model over HTTP, batched by a policy: the Open Inference Protocol, and metrics."""
    with spoken(debug=debug, elsewhere="another --port"), model_errors(), installed():
        if write_monitoring is not None:
            from .serving.monitoring import write

            for path in write(write_monitoring, host, port):
                typer.echo(path)
            return
        from .config import ScenarioError
        from .serving.again import read_again
        from .serving.chosen import chosen
        from .serving.jobs.opening import jobs_beside
        from .serving.offer import offered
        from .serving.openings import opening_of
        from .serving.recording_text import checked_file
        from .serving.running import Serving, Wishes

        if source is None:
            raise ScenarioError(
                "name a scenario or a run (batchwright scenarios lists those that are shipped)"
            )
        found = chosen(source, policy, settings, out)
        wanted = model if function is None else f"callable:{function}"
        opening = opening_of(found.scenario, wanted, device, precision.value, mode.value, threads)
        offer = offered(
            found.scenario, found.policy, found.table,
            name=model_name(name or found.scenario.name), platform=wanted, capacity=capacity,
        )  # fmt: skip
        wishes = Wishes(
            host, port, token_for(host, token_file), read_time("--notice", notice) / 1e9,
            read_time("--drain", drain) / 1e9, keep, checked_file(record, keep),
            read_time("--drift-window", drift_window),
        )  # fmt: skip
        jobs = jobs_beside(
            offer, queue, jobs_tier, jobs_capacity, read_time("--jobs-keep", jobs_keep) / 1e9,
            read_time("--jobs-lease", jobs_lease) / 1e9, say,
        )  # fmt: skip
        expected: Expected | None = None
        if not no_drift:
            from .serving.foretold import foretold

            expected = foretold(found.scenario, found.policy, wishes.window_ns)

        def again() -> tuple[Policy, Mapping[str, Any], Outlook] | None:
            window_ns = None if no_drift else wishes.window_ns
            return read_again(lambda: chosen(source, policy, settings, out), offer, window_ns, say)

        live(Serving(offer, opening, wishes, expected, jobs), offer, found.name, again, json=json,
             quiet=quiet)  # fmt: skip


__all__ = ["register", "token_for"]
