"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from . import completion


class Engine(StrEnum):
    """The two virtual-time drivers; they agree request for request."""

    kernel = "kernel"
    simpy = "simpy"


Scenario = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A shipped scenario's name, or a TOML file.",
        autocompletion=completion.scenarios,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override any key of the scenario; repeatable."
    ),
]
Over = Annotated[
    list[str],
    typer.Option("--over", metavar="KEY=VALUES", help="1,2,4 or 0.1:0.9:9; repeat for a grid."),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="NAME",
        help="Only this policy of the scenario; repeatable.",
        autocompletion=completion.policies,
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="FILE", help="Also the policy of a stack's file; repeatable."),
]
EngineChoice = Annotated[Engine, typer.Option(help="The compiled kernel, or the SimPy model.")]
Records = Annotated[
    bool, typer.Option("--records", help="Also write every request and every batch as a table.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no hints.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]
RUNS = Path("runs")
FromMetrics = Annotated[
    str | None,
    typer.Option(
        "--from-metrics",
        metavar="URL|FILE",
        help="Traffic as a server saw it: its address, its --record file, or a Prometheus.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only the last 30m of it; of a Prometheus 1h by default."),
]
ProfileAsIs = Annotated[
    bool,
    typer.Option("--profile-as-is", help="Keep the profile's times though the server's differ."),
]
Apply = Annotated[
    str | None,
    typer.Option("--apply", metavar="URL", help="Put the winner into the server that runs there."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Holds that server's token; or set BATCHWRIGHT_TOKEN."),
]
