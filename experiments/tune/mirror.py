"""A database file with a copy in memory: everything is written to both, and read from the copy.

1. Only for a file that no other process writes, as :mod:`experiments.tune.database` sees to.
2. The file is written first: what the copy holds is on disk.
3. What a search changes is here, and nothing else can be changed.
4. Studies and trials have other numbers inside than in the file.

A trial of a search takes six reads for each write; without the copy they are two thirds of its
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class Mirrored(InMemoryStorage):
    """Studies of a file, read once."""

    def __init__(self, file: RDBStorage) -> None:
        super().__init__()
        self.file = file
        self._study_in_file: dict[int, int] = {}
        self._place_in_file: dict[int, tuple[int, int]] = {}
        """By trial: its study in the file, and its number there."""
        self._trial_in_file: dict[int, int] = {}
        for study in file.get_all_studies():
            if not study.directions:
                raise ValueError(f"study {study.study_name} has no objective")
            ident = super().create_new_study(study.directions, study.study_name)
            there = file.get_study_id_from_name(study.study_name)
            self._study_in_file[ident] = there
            for key, value in study.user_attrs.items():
                super().set_study_user_attr(ident, key, value)
            for trial in file.get_all_trials(there, deepcopy=False):
                if trial.state == TrialState.COMPLETE and not trial.values:
                    raise ValueError(f"trial {trial.number} is complete and has no value")
                copy = super().create_new_trial(ident, trial)
                self._place_in_file[copy] = (there, trial.number)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Add a study, with a name of its own."""
        there = self.file.create_new_study(directions, study_name)
        ident = super().create_new_study(directions, self.file.get_study_name_from_id(there))
        self._study_in_file[ident] = there
        return ident

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep something with a study."""
        self.file.set_study_user_attr(self._study_in_file[study_id], key, value)
        super().set_study_user_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial."""
        there = self.file.create_new_trial(self._study_in_file[study_id], template_trial)
        ident = super().create_new_trial(study_id, template_trial)
        self._trial_in_file[ident] = there
        return ident

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep something with a trial."""
        self.file.set_trial_user_attr(self._in_file(trial_id), key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep something of Optuna's with a trial: its constraints."""
        self.file.set_trial_system_attr(self._in_file(trial_id), key, value)
        super().set_trial_system_attr(trial_id, key, value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change the state of a trial."""
        self.file.set_trial_state_values(self._in_file(trial_id), state, values)
        return super().set_trial_state_values(trial_id, state, values)

    def _refused(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("a search does not change this, so it is not written")

    delete_study = set_study_system_attr = _refused
    set_trial_param = set_trial_intermediate_value = _refused

    def _in_file(self, trial: int) -> int:
        """What the file calls a trial."""
        if trial not in self._trial_in_file:
            study, number = self._place_in_file[trial]
            found = self.file.get_trial_id_from_study_id_trial_number(study, number)
            self._trial_in_file[trial] = found
        return self._trial_in_file[trial]
