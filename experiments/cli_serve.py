"""``batchwright serve SCENARIO|RUN``: the same policy, as a server of HTTP."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_measure import Mode, Precision, model_errors
from .cli_speech import FAILED, say, spoken
from .cli_validate import read_time

if TYPE_CHECKING:
    from policies.contract import Policy

    from .serving.drift import Expected
    from .serving.offer import Offer
    from .serving.outlook import Outlook
    from .serving.running import Again, Serving

QUEUE = "BATCHWRIGHT_QUEUE"
TOKEN = "BATCHWRIGHT_TOKEN"  # noqa: S105 - the name of the variable
SHORTEST_TOKEN = 16


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
        ),
    ] = "emulated",
    function: Annotated[
        str | None,
        typer.Option("--callable", metavar="PKG.MOD:FN", help="A function of your own instead."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Default: the only one, or the winner of the run.",
            autocompletion=completion.policies,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the model; default: of the scenario."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where it listens; beyond this machine it wants a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Holds the bearer token; or set {TOKEN}."),
    ] = None,
    capacity: Annotated[
        int | None,
        typer.Option(min=1, max=10**6, help="Requests that may wait; default: the scenario's."),
    ] = None,
    notice: Annotated[
        str, typer.Option(help="From SIGTERM on, requests are taken for so long: 1s.")
    ] = "1s",
    drain: Annotated[str, typer.Option(help="And finished for so long: 30s.")] = "30s",
    drift: Annotated[
        bool, typer.Option(help="Watch whether life is still as the simulator predicts it.")
    ] = True,
    drift_window: Annotated[
        str,
        typer.Option(metavar="TIME", help="Two in a row off their prediction alarm: 90s."),
    ] = "90s",
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the last requests there, each minute and at the end: a trace.",
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(min=0, max=10**8, help="Requests that it remembers, for --record and tuning."),
    ] = 1_000_000,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=QUEUE,
            help="Of jobs: redis://127.0.0.1:6379/0 outlives the server; default: in memory.",
        ),
    ] = None,
    jobs_tier: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of jobs; default: the last one, the least urgent."),
    ] = None,
    jobs_capacity: Annotated[
        int, typer.Option(min=1, max=10**8, help="Jobs that may be unfinished.")
    ] = 100_000,
    jobs_keep: Annotated[
        str, typer.Option(metavar="TIME", help="What became of a job is kept: 24h.")
    ] = "24h",
    jobs_lease: Annotated[
        str,
        typer.Option(metavar="TIME", help="A server silent for so long has lost its jobs: 30s."),
    ] = "30s",
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:1.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="The weights are cast.")] = Precision.fp32,
    mode: Annotated[Mode, typer.Option(help="Eager, CUDA graphs, or compiled.")] = Mode.eager,
    threads: Annotated[int, typer.Option(min=1, help="Of the model, on a CPU.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any key; repeatable."),
    ] = None,
    write_monitoring: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write dashboard, alert rules and scrape configuration, and stop."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when it is ready.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
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
        if drift:
            from .serving.foretold import foretold

            expected = foretold(found.scenario, found.policy, wishes.window_ns)

        def again() -> tuple[Policy, Mapping[str, Any], Outlook] | None:
            window_ns = wishes.window_ns if drift else None
            return read_again(lambda: chosen(source, policy, settings, out), offer, window_ns, say)

        live(Serving(offer, opening, wishes, expected, jobs), offer, found.name, again, json=json,
             quiet=quiet)  # fmt: skip


def live(
    serving: Serving, offer: Offer, policy: str, again: Again, *, json: bool, quiet: bool
) -> None:
    """Serve, and say so.

    Raises:
        typer.Exit: requests were cut off.
        ModelError: a model cannot be opened, or its process died.
    """
    from json import dumps

    from profiles.runner import ModelError
    from sim.worker import WorkerError

    from .sentences import RunFailed
    from .wording import settings_text

    def ready(host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{port}"
        if json:
            about = {"url": url, "host": host, "port": port, "model": offer.name,
                     "policy": policy, "pid": os.getpid()}  # fmt: skip
            typer.echo(dumps(about))
        elif not quiet:
            table = {k: v for k, v in offer.table.items() if k != "kind"}
            kind = "" if offer.table["kind"] == policy else f" ({offer.table['kind']})"
            rule = f": {settings_text(table)}" if table else ""
            say(f"serves {offer.name} ({offer.platform}) at {url}/v2/models/{offer.name}")
            say(f"policy {policy}{kind}{rule}; at most {offer.service.capacity:,} requests wait")
            if serving.offer.contract is not None:
                say(f"takes {serving.offer.takes}; gives {serving.offer.gives}")
            for note in filter(None, serving.notes):
                say(f"note: {note}")
            say(f"metrics at {url}/metrics; Ctrl-C ends it")

    try:
        serving.run(ready, again)
    except WorkerError as error:
        if serving.failure is None:
            raise ModelError(str(error)) from error
        raise RunFailed(f"the server ends: {error}") from error
    if serving.cut_off:
        say(f"error: {serving.cut_off} requests were not answered within --drain")
        raise typer.Exit(FAILED)
    if not quiet and not json:
        say("ended; every request that was taken is answered")


@contextmanager
def installed() -> Iterator[None]:
    """Say with which extra a package comes that is not installed.

    Raises:
        ScenarioError: one of them cannot be imported.
    """
    from .config import ScenarioError

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "prometheus_client", "redis"):
            raise
        extra, needs = ("queue", "--queue") if error.name == "redis" else ("serve", "a server")
        raise ScenarioError(
            f"{needs} needs {error.name}, which is not installed: pip install "
            f"'batchwright[{extra}]'"
        ) from None


def model_name(name: str) -> str:
    """A name that can stand in a path.

    Raises:
        ScenarioError: it cannot.
    """
    from .config import ScenarioError
    from .runs import folder_name

    if folder_name(name) != name:
        raise ScenarioError(
            f"--name = {name!r} must be letters, digits, dots, dashes and underscores, as "
            f"{folder_name(name)}"
        )
    return name


def token_for(host: str, file: Path | None) -> str | None:
    """The token that requests have to carry; None: none.

    Raises:
        ScenarioError: it is too short, or missing where others can reach the server.
    """
    from .config import ScenarioError

    given = os.environ.get(TOKEN) if file is None else file.read_text().strip()
    where = TOKEN if file is None else str(file)
    if given is not None and not (len(given) >= SHORTEST_TOKEN and given.isascii()
                                  and given.isprintable() and " " not in given):  # fmt: skip
        raise ScenarioError(
            f"the token in {where} must be at least {SHORTEST_TOKEN} printable characters of "
            "ASCII without spaces (openssl rand -hex 32 makes one)"
        )
    if given is None and not is_loopback(host):
        raise ScenarioError(
            f"--host {host} can be reached from other machines: give a token with --token-file "
            f"FILE or in {TOKEN}, or leave --host out"
        )
    return given


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
