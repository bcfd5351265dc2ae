"""What ``batchwright capacity`` does: compute, write the run's folder, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .capacities import Capacities, Capacity
from .capacity import capacity
from .capacity_words import begin, cells, objective, per_second
from .cli_run import Finished, Job, in_folder
from .config import is_for_tokens, load_scenario
from .figures import owner, save
from .headings import heading
from .parallel import Progress
from .plots_capacity import rates
from .terminal import table
from .wording import hundred, with_interval

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def run_capacity(
    source: str,
    policies: Sequence[str] | None,
    rate_per_s: float | None,
    max_servers: int,
    settings: Sequence[str] | None,
    root: Path,
    progress: Progress,
) -> Finished:
    """``batchwright capacity``."""
    if is_for_tokens(source):
        from .iteration.run import run_capacity as run_tokens

        return run_tokens(source, policies, rate_per_s, max_servers, settings or (), root, progress)
    scenario = load_scenario(source, settings or ())

    def compute(_folder: Path) -> Capacities:
        return capacity(
            scenario, policies, rate_per_s=rate_per_s, max_servers=max_servers, progress=progress
        )

    extra = {"rate_per_s": rate_per_s, "max_servers": max_servers}
    return in_folder(
        scenario, "capacity", root, compute, progress, extra, Job(draw, print_capacities)
    )


def draw(found: Capacities, folder: Path) -> list[str]:
    """Write the figure as PNG and SVG; returns the names of the files."""
    return save(owner(rates(found)), folder / "capacity")


def print_capacities(screen: Console, found: Capacities) -> None:
    """The tables and the verdict."""
    screen.print(heading(found))
    screen.print(rate_table(found))
    if found.rate_per_s is not None:
        screen.print(fleet_table(found))
    screen.print(f"\n{found.verdict}")


def rate_table(found: Capacities) -> Table:
    """One row a policy; the best is bold and starred, ties are marked."""
    late = any(begin(one) for one in found.capacities)
    percentiles = {one.percentile for one in found.targets}
    tail = f"p{found.targets[0].percentile:g}" if len(percentiles) == 1 else "tail"
    heads = [
        "policy", "capacity\nper s", "interval\n95 %", "possible\n%", f"{tail}\nms", "busy\n%",
        "limit", "unstable\nabove",
    ]  # fmt: skip
    drawn = table(*heads, *(["met\nfrom"] if late else []))
    for one in found.capacities:
        mark = " *" if one.policy == found.best else " =" if one.policy in found.tied else ""
        style = "bold green" if mark == " *" else "green" if mark else ""
        name, *row = cells(found, one)
        start = [per_second(begin(one))] if late else []
        start = start if one.value is not None else [""] * len(start)
        drawn.add_row(
            name + mark, *row, per_second(one.limit.saturation_per_s), *start,
            style=style if one.value is not None else "red",
        )  # fmt: skip
    drawn.title = f"largest rate with {objective(found)}, and what it is like there"
    return drawn


def fleet_table(found: Capacities) -> Table:
    """One row a policy: the servers that the given rate needs."""
    title = f"fewest servers for {per_second(found.rate_per_s)}/s with {objective(found)}"
    drawn = table("policy", "servers", "p99, ms", "busy %", "mean batch", title=title)
    for one in found.capacities:
        drawn.add_row(*fleet_row(one))
    return drawn


def fleet_row(one: Capacity) -> list[str]:
    """A policy's cells."""
    fleet, outcome = one.fleet, one.fleet_outcome
    if fleet is None:
        return [one.policy, "", "", "", ""]
    if fleet.servers is None or outcome is None:
        many = f"needs {fleet.needs:,} requests" if fleet.needs else f"> {fleet.most}"
        return [one.policy, many, "", "", ""]
    return [
        one.policy,
        str(fleet.servers),
        with_interval(outcome.estimate("latency_ms.p99")),
        hundred(outcome.value("utilisation")),
        f"{outcome.value('mean_batch_size') or 0:.1f}",
    ]
