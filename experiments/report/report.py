"""``report``: runs as one HTML file that opens anywhere, even from a mail."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from experiments.runs import RUNS, RunError, write_atomic

from . import of_token_diagnosis
from .amounts import Facts
from .elements import Markup, joined, paragraph
from .found import Run, opened
from .kinds import kind_of, kinds_of
from .of_diagnosis import diagnosis_part
from .of_tokens import KIND
from .page import page, section
from .scenario_part import files_part, manifest_part, scenario_part

NAME = "report.html"


def report(
    runs: str | Path | Sequence[str | Path] = "latest",
    path: str | Path | None = None,
    *,
    root: str | Path = RUNS,
) -> Path:
    """Write runs as one self-contained HTML file.

    Args:
        runs: folders of runs, scenarios' names (their newest run) or ``latest``; or files that
            ``batchwright diagnose --json`` printed.
        path: of the file; by default ``report.html`` in the run's folder, or among all runs
            where there are several.
        root: where runs are kept.

    Returns:
        The file's path.

    Raises:
        RunError: one of them is no run, is not finished, or is of another version.
        OSError: the file cannot be written.
    """
    asked = [runs] if isinstance(runs, str | Path) else list(runs)
    if not asked:
        raise RunError("a report needs a run: give a run's folder, a scenario's name or `latest`")
    found = [opened(run, Path(root)) for run in asked]
    text = html_of(found)
    target = default_path(found, Path(root)) if path is None else Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, text)
    return target


def default_path(runs: Sequence[Run], root: Path) -> Path:
    """In the folder of the one run, or among all runs."""
    folder = runs[0].folder
    return (folder if len(runs) == 1 and folder is not None else root) / NAME


def html_of(runs: Sequence[Run]) -> str:
    """The text of the file.

    Raises:
        RunError: a run cannot be told.
    """
    sections = [section(run, place, parts_of(run)) for place, run in enumerate(runs)]
    return page(runs, sections, version("batchwright"))


def parts_of(run: Run) -> list[Markup | None]:
    """All that is said of a run below its verdict.

    Raises:
        RunError: its command has no report, or its result is of another version.
    """
    kind, known = kind_of(run), kinds_of(run)
    if kind is None:
        raise RunError(
            f"{run.name} is a run of `{run.command}`, of which no report can be made: "
            f"give one of {', '.join(known)}"
        )
    if missing := [key for key in kind.needs if key not in run.result]:
        raise another_version(run, f"it has no {', '.join(missing)}")
    try:
        told = list(kind.parts(run))
        beside = None if run.diagnosis is None else beside_run(run.diagnosis)
        return [interrupted(run), scenario_part(run), joined(told), beside, files_part(run),
                manifest_part(run)]  # fmt: skip
    except RunError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise another_version(run, f"{type(error).__name__} {error}") from error


def beside_run(found: Facts) -> Markup:
    """A diagnosis in the folder of a run."""
    if str(found.get("kind", "")).startswith(KIND):
        return of_token_diagnosis.diagnosis_part(found)
    return diagnosis_part(found)


def interrupted(run: Run) -> Markup | None:
    """A warning where a run did not go to its end."""
    stopped = run.about.get("stopped")
    if run.result.get("interrupted"):
        return paragraph("This run was interrupted: what was done until then is shown.", "warning")
    return paragraph(f"This run ended early: {stopped}.", "warning") if stopped else None


def another_version(run: Run, how: str) -> RunError:
    """A result that cannot be read."""
    versions = run.manifest.get("versions")
    made = versions.get("batchwright") if isinstance(versions, dict) else None
    by = f" by batchwright {made}" if made else ""
    return RunError(
        f"the result of {run.name} cannot be read: {how}; it was made{by} in another form, or "
        "damaged; run it again"
    )
