"""What ``batchwright tune`` does: search into the run's folder, judge, write, show; or go on.

1. The folder and its manifest (status ``running``) are there before the first trial, and the study
   grows in ``study.db`` beside them: a search that is cut off loses nothing that was told.
2. ``--resume`` takes the scenario from the manifest, so nothing has to be typed again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli_retune
from .addresses import HIDDEN, without_password
from .cli_run import Finished, Job, about_run, finish, remove_if_empty
from .cli_speech import say
from .config import Scenario, ScenarioError, is_for_tokens, load_scenario
from .export.toml_text import policy_toml
from .figures import write_figures
from .headings import heading
from .parallel import Progress
from .places import is_file
from .rerun import read_manifest, run_name, scenario_of_run
from .runs import MANIFEST, RunError, create_run, folder_name, now, write_atomic, write_manifest
from .sentences import shown
from .tune.database import sqlite_url
from .tune.result import Tuning
from .tune.shown import judged_table, loads_table, settings_table
from .tune.tuning import check_tuning, tune

if TYPE_CHECKING:
    from rich.console import Console

    from .retuning.from_metrics import Metrics

STUDY = "study.db"
WINNER = "winner.toml"


@dataclass(frozen=True)
class Asked:
    """What was typed behind ``batchwright tune``."""

    source: str
    settings: Sequence[str] = ()
    objectives: Sequence[str] = ()
    policies: Sequence[str] = ()
    trials: int | None = None
    present: Sequence[str] = ()
    storage: str | None = None
    study: str | None = None
    resume: bool = False
    metrics: Metrics | None = None
    """Where the traffic is known from, if it is not the scenario's."""

    @property
    def overrides(self) -> list[str]:
        """Everything as ``KEY=VALUE``."""
        lists = {"tune.objective": self.objectives, "tune.policies": self.policies}
        found = [*self.settings]
        found += [f"{key}={shown(list(names))}" for key, names in lists.items() if names]
        return found + ([] if self.trials is None else [f"tune.trials={self.trials}"])

    @property
    def kept(self) -> dict[str, str | None]:
        """What a manifest keeps of the storage, where it is not the run's folder."""
        if self.storage is None:
            return {}
        return {"storage": without_password(self.storage), "study": self.study}


def run_tune(asked: Asked, root: Path, progress: Progress) -> Finished:
    """``batchwright tune``."""
    if asked.metrics is None and (done := run_for_tokens(asked, root, progress)) is not None:
        return done
    asked, scenario, folder, started, extra = _begun(asked, root)
    try:
        if not asked.resume:
            write_manifest(folder, about_run(scenario, "tune", "running", started) | extra)
        storage = asked.storage or sqlite_url(folder / STUDY)
        found = tune(scenario, storage=storage, study=asked.study, progress=progress)
    except KeyboardInterrupt:
        if (folder / MANIFEST).is_file():  # from then on there is something to go on with
            say(f"nothing is judged yet; go on with: batchwright tune {folder} --resume")
        raise
    except ScenarioError:
        if not asked.resume and not (folder / STUDY).exists():
            (folder / MANIFEST).unlink()
            remove_if_empty(folder)
        raise
    except OSError:
        remove_if_empty(folder)
        raise
    job = Job(write_winner, print_tuning)
    done = finish(folder, scenario, "tune", started, found, progress, extra, job)
    if found.interrupted or done.unwritten is not None:
        say(f"go on with: batchwright tune {folder} --resume")
    return done


def _begun(asked: Asked, root: Path) -> tuple[Asked, Scenario, Path, str, dict[str, Any]]:
    """What is tuned, the folder of the run, when it began, and what else its manifest keeps."""
    if asked.metrics is not None:
        scenario, folder, started, facts = cli_retune.begun(asked, asked.metrics, root)
        return asked, scenario, folder, started, asked.kept | facts
    if asked.resume:
        folder = unfinished(asked, root)
        manifest = read_manifest(folder)
        asked = with_storage_of(asked, manifest, folder)
        scenario, started = scenario_of_run(folder), str(manifest["started"])
        check_tuning(scenario)
        facts = {key: manifest[key] for key in (cli_retune.KEPT,) if key in manifest}
        return asked, scenario, folder, started, asked.kept | facts
    scenario = _scenario(asked)
    check_tuning(scenario)
    return asked, scenario, create_run(scenario.name, "tune", root), now(), dict(asked.kept)


def run_for_tokens(asked: Asked, root: Path, progress: Progress) -> Finished | None:
    """The same for a scenario with an ``[engine]``, or a run of one; None for others."""
    of_file = is_for_tokens(asked.source)
    if not of_file and not asked.resume:
        return None
    if of_file and not asked.resume:
        from .iteration.tune_run import run_tune as run_tokens

        return run_tokens(asked, root, progress)
    if of_file:
        from .iteration.tune_run import by_name

        asked = by_name(asked)
    folder = unfinished(asked, root)
    if "engine" not in read_manifest(folder).get("scenario", {}):
        return None
    from .iteration.tune_run import resume

    return resume(asked, folder, progress)


def _scenario(asked: Asked) -> Scenario:
    scenario = load_scenario(asked.source, asked.overrides)
    if not asked.present:
        return scenario
    from .export.contestants import with_files

    return with_files(scenario, asked.present, say)[0]


def unfinished(asked: Asked, root: Path) -> Path:
    """The folder of a tuning to go on with: as given, or the newest of the scenario.

    Raises:
        RunError: there is none, or it is complete.
        ScenarioError: settings were typed, which those of the run would contradict.
    """
    if asked.overrides or asked.present:
        raise ScenarioError(
            "--resume takes everything from the run that it goes on with: leave out the other "
            "options, or start a new run"
        )
    given = Path(asked.source)
    if is_file(given / MANIFEST):
        folders = [given]
    else:
        parent = root / folder_name(asked.source)
        if not parent.is_dir():
            parent = root / folder_name(load_scenario(asked.source).name)
        numbered = [
            (int(match[1]), entry)
            for entry in (parent.iterdir() if parent.is_dir() else ())
            if (match := re.fullmatch(r"tune-(\d+)", entry.name)) and (entry / MANIFEST).is_file()
        ]
        folders = [entry for _, entry in sorted(numbered, reverse=True)]
    for folder in folders:
        manifest = read_manifest(folder)
        if manifest.get("command") == "tune" and manifest.get("status") != "complete":
            return folder
    if given in folders:
        raise RunError(f"run {run_name(given)} is no tuning that was cut off")
    raise RunError(f"there is no tuning of {asked.source} in {root} that was cut off")


def with_storage_of(asked: Asked, manifest: Mapping[str, Any], folder: Path) -> Asked:
    """Go on in the database that the run was begun in.

    Raises:
        ScenarioError: another one was typed, or the password has to be.
    """
    kept = manifest.get("storage")
    if asked.storage is not None and kept != without_password(asked.storage):
        where = f"--storage {kept}" if kept else "its own folder: leave out --storage"
        raise ScenarioError(f"run {run_name(folder)} keeps its study in {where}")
    storage = asked.storage or kept
    if storage is not None and storage == kept and HIDDEN in storage:
        raise ScenarioError(
            f"run {run_name(folder)} keeps its study in {kept}, and no password: give --storage "
            "again, with the password"
        )
    return replace(asked, storage=storage, study=asked.study or manifest.get("study"))


def write_winner(found: Tuning, folder: Path) -> list[str]:
    """Write the winner and every figure; returns the names of the figures."""
    winner = winner_toml(found, folder)
    if winner is not None:
        write_atomic(folder / WINNER, winner)
    return write_figures(found, folder)


def winner_toml(found: Tuning, folder: Path) -> str | None:
    """The winner as a table to paste into a scenario, with its evidence; None without a winner."""
    best = found.winner
    if best is None:
        return None
    lines = [
        f"Found by batchwright tune, run {run_name(folder)}: {found.goal.title}.",
        *_wrapped(found.verdict),
    ]
    servers = best.setting.servers
    text = "".join(f"# {line}\n" for line in lines)
    text += policy_toml(best.name, best.setting.table)
    return text + (f"\n[service]\nservers = {servers}\n" if servers != 1 else "")


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 97)


def print_tuning(screen: Console, found: Tuning) -> None:
    """The tables and the verdict."""
    screen.print(heading(found))
    screen.print(f"goal: {found.goal.title}")
    screen.print(judged_table(found, screen.width))
    for more in (loads_table(found, screen.width), settings_table(found, screen.width)):
        if more is not None:
            screen.print(more)
    screen.print(f"\n{found.verdict}")


__all__ = ["Asked", "print_tuning", "run_tune", "winner_toml"]
