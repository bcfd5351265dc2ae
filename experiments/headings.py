"""The line above the tables of a run: what was run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Headed(Protocol):
    """What says in one line what was run."""

    @property
    def scenario(self) -> Mapping[str, Any]:
        """Of :func:`experiments.contest.about`."""

    @property
    def engine(self) -> str:
        """``kernel`` or ``simpy``."""


def heading(result: Headed) -> str:
    """One line on what was run."""
    about = result.scenario
    rate, load = about.get("offered_rate_per_s"), about.get("load")
    parts = [
        about["service"],
        f"{about['requests']:,} requests",
        f"{rate:,.4g}/s" if rate is not None else "closed loop",
    ]
    if load is not None:
        parts.append(f"load {load:.2f}")
    parts += [f"beside a backlog of {name}" for name in about.get("backlogs", ())]
    if about.get("replications", 1) > 1:
        parts.append(f"{about['replications']} replications")
    if result.engine != "kernel":
        parts.append(result.engine)
    return f"[bold]{about['name']}[/bold]   {', '.join(parts)}"
