"""Where studies are kept: SQLite in the run's folder, or a database that several machines share.

1. A trial is asked, run and told in fixed batches, and told in order.  Everything that a search
   needs to go on is in the database before a trial runs.
2. A trial that was running when its process ended is *retired* (state FAIL), and its place is run
   again with the same parameters.  In a shared database a trial counts as left when its machine
   has not been heard of for two minutes.
3. A study belongs to one scenario, goal and seed: its fingerprint says which.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from experiments.sentences import ScenarioError

from .sampler import PlacedSampler
from .scores import Score

PLACE, SCORE, SETTING = "place", "score", "setting"
"""What is kept with a trial."""

FINGERPRINT = "fingerprint"

Direction = Literal["minimize", "maximize"]

HEARTBEAT_S, LEFT_AFTER_S = 30, 120
"""How often a machine is heard of, and when its trials count as left."""


def storage_at(url: str | None, *, shared: bool) -> BaseStorage:
    """Open a database, and create its tables if there are none; without one, keep to memory.

    Raises:
        ScenarioError: it cannot be reached; the sentence does not show a password.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None:
        return InMemoryStorage()
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # heartbeats are called experimental
            beats = (
                {"heartbeat_interval": HEARTBEAT_S, "grace_period": LEFT_AFTER_S} if shared else {}
            )
            storage = RDBStorage(url, **beats)  # type: ignore[arg-type]
    except ArgumentError as error:
        raise ScenarioError(
            "--storage must be a database address, as postgresql://user@host/name or "
            "sqlite:///file.db"
        ) from error
    except ModuleNotFoundError as error:
        raise ScenarioError(
            f"--storage {shown} needs the package {error.name}: pip install {error.name}"
        ) from error
    except (SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise ScenarioError(f"--storage {shown} cannot be used: {reason}") from error
    if storage.engine.dialect.name == "sqlite":
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()
    return storage


def _write_ahead(connection: Any, _record: Any) -> None:
    """Let SQLite append to a log instead of flushing the disk 20 times a trial.

    What was committed survives the end of the process, however sudden; only a power cut can take
    the last trials with it.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def sqlite_url(path: Path) -> str:
    """The address of a file."""
    return f"sqlite:///{path.resolve()}"


@dataclass
class Shelf:
    """The study of one contestant: what was tried, and what to try next."""

    study: Study
    sampler: PlacedSampler
    storage: BaseStorage
    shared: bool

    @classmethod
    def open(
        cls,
        storage: BaseStorage,
        name: str,
        sampler: PlacedSampler,
        directions: Sequence[Direction],
        fingerprint: str,
        *,
        shared: bool,
    ) -> Shelf:
        """Create a study or load the one that is there.

        Raises:
            ScenarioError: the study that is there is of another scenario, goal or seed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                storage=storage, study_name=name, sampler=sampler, directions=directions,
                load_if_exists=True,
            )  # fmt: skip
        there = study.user_attrs.get(FINGERPRINT)
        if there is None:
            study.set_user_attr(FINGERPRINT, fingerprint)
        elif there != fingerprint:
            raise ScenarioError(
                f"study {name} belongs to another scenario, goal or seed; give another --study "
                "name, or repeat the settings that it was begun with"
            )
        return cls(study, sampler, storage, shared)

    def finished(self) -> list[FrozenTrial]:
        """Trials that were told, in order of their places."""
        done = (TrialState.COMPLETE, TrialState.PRUNED)
        found = {
            trial.user_attrs[PLACE]: trial
            for trial in self.study.get_trials(deepcopy=False, states=done)
            if PLACE in trial.user_attrs
        }
        return [found[place] for place in sorted(found)]

    def taken(self) -> set[int]:
        """Places that are done or being run."""
        return {
            trial.user_attrs[PLACE]
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state != TrialState.FAIL and PLACE in trial.user_attrs
        }

    def retire(self) -> dict[int, dict[str, Any]]:
        """End the trials that nobody runs any more; gives the parameters of their places."""
        if self.shared:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                optuna.storages.fail_stale_trials(self.study)
        else:
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self.study.tell(trial.number, state=TrialState.FAIL)
        left: dict[int, dict[str, Any]] = {}
        axes = set(self.sampler.distributions)
        taken = self.taken()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            place = trial.user_attrs.get(PLACE)
            if place is not None and place not in taken and set(trial.params) == axes:
                left[place] = trial.params
        return left

    def ask(self, place: int, known: dict[str, Any] | None = None) -> Trial:
        """Begin the trial at a place."""
        self.sampler.at(place, known)
        trial = self.study.ask(self.sampler.distributions)
        trial.set_user_attr(PLACE, place)
        self.beat(trial)
        return trial

    def beat(self, trial: Trial) -> None:
        """Say that this process still runs a trial."""
        if self.shared:
            study = self.storage.get_study_id_from_name(self.study.study_name)
            ident = self.storage.get_trial_id_from_study_id_trial_number(study, trial.number)
            assert isinstance(self.storage, RDBStorage), "only a database is shared"
            self.storage.record_heartbeat(ident)

    def tell(self, trial: Trial, score: Score, setting: dict[str, Any]) -> None:
        """End a trial with its score."""
        for name, violation in score.violations.items():
            trial.set_constraint(name, violation)
        trial.set_user_attr(SETTING, setting)
        trial.set_user_attr(SCORE, score.to_dict())
        if score.values is None:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, list(score.values))


@contextmanager
def database_errors(url: str | None) -> Iterator[None]:
    """Failures of the database in the middle of a search, in one sentence."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        from sqlalchemy.engine import make_url

        shown = make_url(url or "sqlite://").render_as_string(hide_password=True)
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise OSError(5, f"{reason} (what was told is kept: --resume goes on)", shown) from error
