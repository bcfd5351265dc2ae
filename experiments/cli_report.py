"""``batchwright report RUN...``: one HTML file to look at and to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .cli_speech import say, spoken

COMMAND = "report"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(COMMAND)(report)


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, a scenario's name (its newest run) or `latest`; or a file of "
            "`diagnose --json`. Default: latest.",
            autocompletion=completion.runs,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="Default: report.html in the run, or among the runs."
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also a PDF beside it, printed by Chromium or Chrome.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path alone.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Write runs as one HTML file: verdict, tables, figures, files, manifest; no network."""
    with spoken(debug=debug, elsewhere="another FILE with --to"):
        from .plain import dumps
        from .report import report as written
        from .report.pdf import browser, printed

        if pdf:
            browser()  # say that it is missing before anything is written
        asked = runs or ["latest"]
        path = written(asked, to, root=out)
        size = path.stat().st_size
        paper = printed(path) if pdf else None
        if json:
            found = {"report": path, "bytes": size, "pdf": paper, "runs": asked}
            typer.echo(dumps(found), nl=False)
            return
        typer.echo(str(path))
        if paper is not None:
            typer.echo(str(paper))
        if not quiet:
            say(f"{size / 1000:,.0f} kB, one file: open it in a browser, or attach it to a mail")
