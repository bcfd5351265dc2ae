"""``batchwright schema``: the JSON schema of scenario files, for editors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_speech import say, spoken

FILE = "scenario.schema.json"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("schema")(schema)


def schema(
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FILE", help="Write it to a file instead of printing it."),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Print the JSON schema of scenario files, so that an editor completes and checks them.

    Put `#:schema scenario.schema.json` on the first line of a scenario: Taplo and Even Better TOML
    read it.
    """
    with spoken(debug=debug, elsewhere="another FILE with --into"):
        from .json_schema import json_schema
        from .plain import dumps
        from .runs import write_atomic
        from .sentences import ScenarioError

        text = dumps(json_schema())
        if into is None:
            typer.echo(text, nl=False)
            if sys.stdout.isatty():
                say(f"batchwright schema --into {FILE}   to keep it beside a scenario")
            return
        if into.is_dir():
            raise ScenarioError(f"{into} is a folder; give the name of a file, as {into / FILE}")
        write_atomic(into, text)
        say(f"written: {into}; a scenario beside it may now begin with")
        say(f"#:schema {into.name}")
