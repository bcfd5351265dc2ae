"""What commands do with a scenario that has an ``[engine]``: compute, write the run, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.cli_run import Finished, Job, in_folder, parse_over
from experiments.figures import owner, save
from experiments.parallel import Progress

from .capacities import TokenCapacities
from .capacity import capacity
from .capacity_plots import drawn
from .capacity_words import print_capacities
from .compare import compare
from .config import load_scenario
from .figures import write_figures
from .results import TokenComparison
from .sweep import TokenSweep, sweep
from .sweep_shown import print_sweep
from .sweep_shown import write_figures as write_sweep
from .terminal import print_result

JOB = Job(write_figures, print_result)


def run_simulate(
    source: str,
    policy: str | None,
    engine: str,
    settings: Sequence[str],
    root: Path,
    records: bool,
    progress: Progress,
) -> Finished:
    """``batchwright simulate``."""
    scenario = load_scenario(source, settings)
    name = policy or next(iter(scenario.policies))
    return run_compare(source, [name], engine, settings, root, records, progress, "simulate")


def run_compare(
    source: str,
    policies: Sequence[str] | None,
    engine: str,
    settings: Sequence[str],
    root: Path,
    records: bool,
    progress: Progress,
    command: str = "compare",
) -> Finished:
    """``batchwright compare``."""
    scenario = load_scenario(source, settings)

    def compute(folder: Path) -> TokenComparison:
        from .records import writer

        keep = writer(folder) if records else None
        return compare(scenario, policies, engine, progress, on_trace=keep)

    return in_folder(scenario, command, root, compute, progress, job=JOB)  # type: ignore[arg-type]


def run_sweep(
    source: str,
    over: Sequence[str],
    policies: Sequence[str] | None,
    engine: str,
    settings: Sequence[str],
    root: Path,
    progress: Progress,
) -> Finished:
    """``batchwright sweep``."""
    scenario = load_scenario(source, settings)
    grid = dict(parse_over(text) for text in over)

    def compute(_folder: Path) -> TokenSweep:
        return sweep(source, grid, policies, engine, progress, settings=settings)

    extra = {"over": {key: list(values) for key, values in grid.items()}}
    job = Job(write_sweep, print_sweep)
    return in_folder(scenario, "sweep", root, compute, progress, extra, job)  # type: ignore[arg-type]


def run_capacity(
    source: str,
    policies: Sequence[str] | None,
    rate_per_s: float | None,
    max_replicas: int,
    settings: Sequence[str],
    root: Path,
    progress: Progress,
) -> Finished:
    """``batchwright capacity``."""
    scenario = load_scenario(source, settings)

    def compute(_folder: Path) -> TokenCapacities:
        return capacity(
            scenario,
            policies,
            rate_per_s=rate_per_s,
            max_replicas=max_replicas,
            progress=progress,
        )

    extra = {"rate_per_s": rate_per_s, "max_replicas": max_replicas}
    job = Job(write_capacity, print_capacities)
    return in_folder(scenario, "capacity", root, compute, progress, extra, job)  # type: ignore[arg-type]


def write_capacity(found: TokenCapacities, folder: Path) -> list[str]:
    """Write the figure as PNG and SVG; returns the names of the files."""
    return save(owner(drawn(found)[0]), folder / "capacity")
