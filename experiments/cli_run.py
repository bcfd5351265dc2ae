"""What ``simulate``, ``compare`` and ``sweep`` do: compute, write the run's folder, show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from . import compare as jobs
from .cli_speech import INTERRUPTED, console, say
from .cluster_words import replica_tables
from .config import Scenario, is_for_tokens, load_scenario, parse_range
from .figures import write_figures
from .headings import heading
from .memory import line_of
from .parallel import Progress
from .plain import dumps
from .records import writer
from .results import Comparison, Result, Sweep
from .runs import RESULT, create_run, name_latest, now, write_atomic, write_manifest
from .sequence_words import sequence_tables
from .stage_words import stage_tables
from .terminal import (
    difference_table,
    exact_table,
    legend,
    lost_table,
    result_table,
    sweep_table,
    tier_table,
)

if TYPE_CHECKING:
    from rich.console import Console


class Written(Protocol):
    """What a command finds: it can be written."""

    def to_json(self) -> str:
        """The text of ``result.json``."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""


@dataclass(frozen=True)
class Job:
    """How a kind of result is drawn and printed."""

    draw: Callable[[Any, Path], list[str]]
    speak: Callable[[Console, Any], None]


@dataclass(frozen=True)
class Finished:
    """A run that is on disk."""

    folder: Path
    result: Written
    figures: tuple[str, ...]
    speak: Callable[[Console, Any], None]
    unwritten: OSError | None = None
    """Why something of the run is not on disk."""

    def show(self, *, json: bool, quiet: bool) -> None:
        """Print the result, then stop with code 130 if the run was interrupted.

        Raises:
            typer.Exit: the run was interrupted.
            OSError: something of it could not be written, or what is printed.
        """
        try:
            self._print(json=json, quiet=quiet or self.unwritten is not None)
        except OSError as error:
            if self.unwritten is None:
                say(f"the run is written: {self.folder}")
            raise OSError(error.errno, error.strerror, "the output") from error
        if self.unwritten is not None:
            raise self.unwritten
        if getattr(self.result, "interrupted", False):
            say(f"interrupted: what was done is in {self.folder}")
            raise typer.Exit(INTERRUPTED)

    def _print(self, *, json: bool, quiet: bool) -> None:
        if json:
            found = {**self.result.to_dict(), "run": str(self.folder), "figures": self.figures}
            typer.echo(dumps(found), nl=False)
        else:
            self.speak(console(), self.result)
            if not quiet:
                names = dict.fromkeys(name.partition(".")[0] for name in self.figures)
                say(f"\nrun:      {self.folder}")
                if names:
                    say(f"figures:  {', '.join(names)} (PNG and SVG)")
        if getattr(self.result, "interrupted", False):
            say(f"interrupted: what was done is in {self.folder}")
            raise typer.Exit(INTERRUPTED)


def run_simulate(
    source: str,
    policy: str | None,
    engine: str,
    settings: Sequence[str] | None,
    root: Path,
    records: bool,
    progress: Progress,
) -> Finished:
    """``batchwright simulate``."""
    if is_for_tokens(source):
        from .iteration.run import run_simulate as run_tokens

        return run_tokens(source, policy, engine, settings or (), root, records, progress)
    scenario = load_scenario(source, settings or ())

    def compute(folder: Path) -> Result:
        keep = writer(folder) if records else None
        return jobs.simulate(scenario, policy, engine=engine, progress=progress, on_trace=keep)

    return in_folder(scenario, "simulate", root, compute, progress)


def run_compare(
    source: str,
    policies: Sequence[str] | None,
    engine: str,
    settings: Sequence[str] | None,
    root: Path,
    records: bool,
    load_curve: bool,
    progress: Progress,
    present: Sequence[str] = (),
) -> Finished:
    """``batchwright compare``; ``present`` are files of stacks, whose policies take part."""
    if is_for_tokens(source):
        from .iteration.run import run_compare as run_tokens

        return run_tokens(source, policies, engine, settings or (), root, records, progress)
    scenario = load_scenario(source, settings or ())
    if present:
        from .export.contestants import with_files

        scenario, added = with_files(scenario, present, say)
        policies = [*policies, *added] if policies else None

    def compute(folder: Path) -> Result:
        return jobs.compare(
            scenario,
            policies,
            engine,
            progress,
            load_curve=load_curve,
            on_trace=writer(folder) if records else None,
        )

    return in_folder(scenario, "compare", root, compute, progress)


def run_sweep(
    source: str,
    over: Sequence[str],
    policies: Sequence[str] | None,
    engine: str,
    settings: Sequence[str] | None,
    root: Path,
    progress: Progress,
) -> Finished:
    """``batchwright sweep``."""
    if is_for_tokens(source):
        from .iteration.run import run_sweep as run_tokens

        return run_tokens(source, over, policies, engine, settings or (), root, progress)
    scenario = load_scenario(source, settings or ())
    grid = dict(parse_over(text) for text in over)

    def compute(_folder: Path) -> Sweep:
        return jobs.sweep(source, grid, policies, engine, progress, settings=settings or ())

    return in_folder(
        scenario, "sweep", root, compute, progress, {"over": {k: list(v) for k, v in grid.items()}}
    )


def parse_over(text: str) -> tuple[str, tuple[Any, ...]]:
    """``service.servers=1,2,4`` as key and values."""
    from .config import ScenarioError

    key, equals, values = text.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"--over {text}: must be KEY=VALUES, as in service.servers=1,2,4")
    return key.strip(), parse_range(values)


def in_folder(
    scenario: Scenario,
    command: str,
    root: Path,
    compute: Callable[[Path], Written],
    progress: Progress,
    extra: dict[str, Any] | None = None,
    job: Job | None = None,
) -> Finished:
    """Run a job and write its folder: result, figures, manifest, then ``latest``.

    A folder in which nothing came to be is removed again.
    """
    started = now()
    folder = create_run(scenario.name, command, root)
    try:
        result = compute(folder)
    except BaseException:
        remove_if_empty(folder)
        raise
    return finish(folder, scenario, command, started, result, progress, extra, job)


def finish(
    folder: Path,
    scenario: Scenario,
    command: str,
    started: str,
    result: Written,
    progress: Progress,
    extra: dict[str, Any] | None = None,
    job: Job | None = None,
) -> Finished:
    """Write what a run found into its folder: result, figures, manifest, then ``latest``.

    The manifest makes it a run: who is cut off before has none, and of a tuning one that says that
    it is running.  What cannot be written is told after the result has been printed.
    """
    job = job or Job(write_figures, print_result)
    figures: list[str] = []

    def conclude(*, whole: bool) -> None:
        complete = whole and not getattr(result, "interrupted", False)
        status = "complete" if complete else "interrupted"
        write_manifest(folder, about_run(scenario, command, status, started) | (extra or {}))
        name_latest(folder)

    try:
        write_atomic(folder / RESULT, result.to_json())
        progress("drawing figures", 1, 1)
        try:
            figures += job.draw(result, folder)
        except BaseException:
            with suppress(OSError):
                conclude(whole=False)
            raise
        conclude(whole=True)
    except OSError as error:
        remove_if_empty(folder)
        return Finished(folder, result, tuple(figures), job.speak, error)
    return Finished(folder, result, tuple(figures), job.speak)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing came to be."""
    with suppress(OSError):  # there is something in it
        folder.rmdir()


def about_run(scenario: Scenario, command: str, status: str, started: str) -> dict[str, Any]:
    """What a manifest says of a run."""
    facts = {"command": command, "status": status, "started": started}
    return {**facts, "seeds": asdict(scenario.seeds), **scenario.to_dict()}


def print_result(screen: Console, result: Result | Sweep) -> None:
    """The tables and the verdict."""
    screen.print(heading(result))
    if "memory" in result.scenario:
        screen.print(line_of(result.scenario["memory"]))
    if isinstance(result, Sweep):
        measure = "p99" if any(o.value("latency_ms.p99") for o in result.outcomes) else "mean"
        screen.print(sweep_table(result, measure))
    else:
        screen.print(result_table(result))
        if isinstance(result, Comparison):
            screen.print(legend(result))
            if (gaps := difference_table(result)) is not None:
                screen.print(gaps)
        for more in (
            lost_table(result),
            tier_table(result),
            exact_table(result),
            *stage_tables(result),
            *replica_tables(result),
            *sequence_tables(result),
        ):
            if more is not None:
                screen.print(more)
    if result.verdict:
        screen.print(f"\n{result.verdict}")
