"""The study of one contestant: what was tried, what is being tried, and by whom.

1. A trial is in the database, with its setting, before it runs: one transaction begins it.
2. A trial that was running when its process ended is *retired* (state FAIL), and its place is run
   again with the same parameters.  In a shared database a trial counts as left when its machine
   has not been heard of for a while.
3. A study belongs to one scenario, goal and seed: its fingerprint says which.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from experiments.plain import plain
from experiments.sentences import ScenarioError

from .contestants import Setting
from .database import Database
from .sampler import PlacedSampler
from .scores import SCORE, Score

PLACE, ROUND, SETTING = "place", "round", "setting"
"""What is kept with a trial, beside its score."""

FINGERPRINT = "fingerprint"

TOLD = (TrialState.COMPLETE, TrialState.PRUNED)

Direction = Literal["minimize", "maximize"]


class Left(NamedTuple):
    """What was asked at a place, and not told."""

    round: int
    params: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A trial that is to be run."""

    shelf: Shelf
    trial: int
    """Its number in the database."""
    place: int
    setting: Setting


def _check_trials(study: Study, name: str) -> None:
    """What is kept with every trial is there, and is what it has to be.

    Raises:
        ScenarioError: the database was damaged, or others wrote into it.
    """
    for trial in study.get_trials(deepcopy=False):
        kept = trial.user_attrs
        try:
            whole = all(type(kept[key]) is int and kept[key] >= 0 for key in (PLACE, ROUND))
            table, servers = kept[SETTING]["table"], kept[SETTING]["servers"]
            sound = whole and isinstance(table, dict) and type(servers) is int and servers > 0
            if sound and trial.state in TOLD:
                sound = Score.from_dict(kept[SCORE]).excess >= 0.0
        except (LookupError, TypeError, ValueError, AttributeError):
            sound = False
        if not sound:
            raise ScenarioError(
                f"study {name} is damaged: its trial {trial.number} lacks its place, its setting "
                "or its score; begin a new one, without --resume"
            )


@dataclass(frozen=True)
class Shelf:
    """The study of one contestant."""

    study: Study
    sampler: PlacedSampler
    database: Database
    study_id: int

    @classmethod
    def open(
        cls,
        database: Database,
        name: str,
        sampler: PlacedSampler,
        directions: Sequence[Direction],
        fingerprint: str,
    ) -> Shelf:
        """Create a study or load the one that is there.

        Raises:
            ScenarioError: the study that is there is of another scenario, goal or seed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                storage=database.storage, study_name=name, sampler=sampler, directions=directions,
                load_if_exists=True,
            )  # fmt: skip
        if FINGERPRINT not in study.user_attrs:
            study.set_user_attr(FINGERPRINT, fingerprint)
        if study.user_attrs[FINGERPRINT] != fingerprint:
            raise ScenarioError(
                f"study {name} belongs to another scenario, goal or seed; give another --study "
                "name, or repeat the settings that it was begun with"
            )
        _check_trials(study, name)
        return cls(study, sampler, database, database.storage.get_study_id_from_name(name))

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in some states, by their numbers."""
        return self.study.get_trials(deepcopy=False, states=states)

    def finished(self) -> list[FrozenTrial]:
        """Trials that were told, in order of their places."""
        found = {trial.user_attrs[PLACE]: trial for trial in self.trials(*TOLD)}
        return [found[place] for place in sorted(found)]

    def taken(self) -> dict[int, int]:
        """Places that are done or being run, each with the trial that came first."""
        trials = self.trials(TrialState.RUNNING, *TOLD)
        first = {trial.user_attrs[PLACE]: trial.number for trial in reversed(trials)}
        return {place: self._ident(number) for place, number in first.items()}

    def running(self) -> list[int]:
        """Trials that some machine runs, or ran when it ended."""
        return [self._ident(trial.number) for trial in self.trials(TrialState.RUNNING)]

    def retire(self) -> dict[int, Left]:
        """End the trials that nobody runs any more; gives what was asked and never told."""
        if self.database.shared:
            self.database.begin_to_listen(self.running())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they are called experimental
                optuna.storages.fail_stale_trials(self.study)
        else:
            self.give_back(self.running())
        taken = self.taken()
        return {
            trial.user_attrs[PLACE]: Left(trial.user_attrs[ROUND], trial.params)
            for trial in self.trials(TrialState.FAIL)
            if trial.user_attrs[PLACE] not in taken
        }

    def give_back(self, trials: Iterable[int]) -> None:
        """End trials that will not be told."""
        for trial in trials:
            with suppress(UpdateFinishedTrialError):
                self.database.storage.set_trial_state_values(trial, state=TrialState.FAIL)

    def ask(self, place: int, number: int, known: Mapping[str, Any] | None = None) -> Job:
        """Begin the trial at a place, as one of a round; ``known`` are its parameters."""
        params = dict(known) if known else self.sampler.draw(self.study, place)
        setting = self.sampler.contestant.setting(self.sampler.chosen(params))
        kept = {"table": plain(setting.table), "servers": setting.servers}
        trial = self.database.storage.create_new_trial(
            self.study_id,
            create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions=self.sampler.distributions,
                user_attrs={PLACE: place, ROUND: number, SETTING: kept},
            ),
        )
        self.database.beat([trial])
        return Job(self, trial, place, setting)

    def tell(self, job: Job, score: Score) -> None:
        """End a trial with its score, unless another machine has retired it."""
        with suppress(*[UpdateFinishedTrialError] if self.database.shared else ()):
            trial = Trial(self.study, job.trial)
            for name, violation in score.violations.items():
                trial.set_constraint(name, violation)
            trial.set_user_attr(SCORE, score.to_dict())
            values = None if score.values is None else list(score.values)
            state = TrialState.PRUNED if values is None else TrialState.COMPLETE
            self.study.tell(trial, values, state, skip_if_finished=self.database.shared)

    def _ident(self, number: int) -> int:
        storage = self.database.storage
        return storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
