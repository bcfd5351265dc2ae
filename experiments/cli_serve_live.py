"""What ``batchwright serve`` says while it lives, and when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from .cli_speech import FAILED, say

if TYPE_CHECKING:
    from .serving.offer import Offer
    from .serving.running import Again, Serving


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
