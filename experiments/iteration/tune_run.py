"""What ``batchwright tune`` does with a scenario that has an ``[engine]``.

As :mod:`experiments.cli_tune`: the folder, its manifest and the study are there before the first
trial, and ``--resume`` takes the scenario from the manifest.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.cli_run import Finished, Job, about_run, finish, remove_if_empty
from experiments.cli_speech import say
from experiments.parallel import Progress
from experiments.rerun import read_manifest
from experiments.runs import MANIFEST, create_run, now, write_atomic, write_manifest
from experiments.sentences import ScenarioError
from experiments.tune.database import sqlite_url

from .config import load_scenario
from .setting import scenario_of_run
from .tune import check_tuning, tune
from .tune_plots import write_figures
from .tune_result import TokenTuning
from .tune_words import print_tuning, winner_toml

if TYPE_CHECKING:
    from experiments.cli_tune import Asked

STUDY = "study.db"
WINNER = "winner.toml"


def run_tune(asked: Asked, root: Path, progress: Progress) -> Finished:
    """``batchwright tune``, from the beginning."""
    if asked.present:
        raise ScenarioError(
            "--with takes files of stacks that batch requests; a scenario with an [engine] has "
            "its present settings in [policies]"
        )
    scenario: Any = load_scenario(asked.source, asked.overrides)
    check_tuning(scenario)
    folder, started = create_run(scenario.name, "tune", root), now()
    write_manifest(folder, about_run(scenario, "tune", "running", started) | asked.kept)
    return searched(asked, folder, started, scenario, progress)


def resume(asked: Asked, folder: Path, progress: Progress) -> Finished:
    """Go on with the tuning in a folder."""
    from experiments.cli_tune import with_storage_of

    manifest = read_manifest(folder)
    asked = with_storage_of(asked, manifest, folder)
    scenario: Any = scenario_of_run(folder)
    check_tuning(scenario)
    return searched(asked, folder, str(manifest["started"]), scenario, progress)


def searched(
    asked: Asked, folder: Path, started: str, scenario: Any, progress: Progress
) -> Finished:
    """Search into a folder, judge, write and show; what cannot be is told in a sentence."""
    try:
        storage = asked.storage or sqlite_url(folder / STUDY)
        found = tune(scenario, storage=storage, study=asked.study, progress=progress)
    except KeyboardInterrupt:
        say(f"nothing is judged yet; go on with: batchwright tune {folder} --resume")
        raise
    except ScenarioError:
        if not asked.resume and not (folder / STUDY).exists():
            (folder / MANIFEST).unlink()
            remove_if_empty(folder)
        raise
    job = Job(write_winner, print_tuning)
    done = finish(folder, scenario, "tune", started, found, progress, asked.kept, job)
    if found.interrupted or done.unwritten is not None:
        say(f"go on with: batchwright tune {folder} --resume")
    return done


def write_winner(found: TokenTuning, folder: Path) -> list[str]:
    """Write the winner and the figures; returns the names of the figures."""
    winner = winner_toml(found, folder)
    if winner is not None:
        write_atomic(folder / WINNER, winner)
    return write_figures(found, folder)


def by_name(asked: Asked) -> Asked:
    """The same with the scenario's name, under which its runs are."""
    return replace(asked, source=load_scenario(asked.source).name)
