"""Where the search looks next: everywhere evenly at first, then where it was good.

1. A small space is gone through whole, place by place.
2. A large one starts with a scrambled Sobol sequence, in turn with the best settings of a first
   look (:mod:`experiments.tune.screen`); after that Optuna's TPE samples each axis by
   itself (``multivariate=False``: the multivariate form settles too early on one corner).  Trials
   that are running count as bad (``constant_liar``), so that those of a round differ.
3. Every second trial after the start, and each that would repeat a setting, is instead a step away
   from one of the best (:mod:`experiments.tune.nearby`); with several objectives there is no best.
4. What the sampler draws depends on the seed, the place of the trial and the trials told before
   it, and on nothing else: a search that was cut off goes on as if nothing had happened.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import qmc

from policies.contract import FloatArray
from policies.space import Number
from sim.streams import stream

from .contestants import Contestant
from .nearby import BASES, nearby
from .scores import SCORE, Score

START = 64
"""Trials of a large space that are spread evenly; fewer where the budget is small."""


class PlacedSampler(BaseSampler):
    """Samples the trial at a place of a contestant's search."""

    def __init__(self, contestant: Contestant, seed: int, order: int, start: int = START) -> None:
        self.contestant = contestant
        self.seed = seed
        self.order = order
        self.start = start
        self.place = 0
        """Of the trial that is drawn."""
        self.screened: Sequence[Mapping[str, int]] = ()
        """Places of the axes, from 0, of the best settings of a first look."""
        self._tpe: TPESampler | None = None

    @property
    def exhaustive(self) -> bool:
        """Whether the whole space is gone through."""
        return self.contestant.points <= self.start

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Places of the axes, from 1 where an axis is logarithmic."""
        return {
            axis.name: IntDistribution(1, len(axis.values), log=axis.log)
            for axis in self.contestant.axes
        }

    def draw(self, study: Study, place: int) -> dict[str, Any]:
        """Parameters of the trial at a place, from what was told so far."""
        self.place, self._tpe = place, None
        begins = not self.exhaustive and place < self.start and place % 2 == 1
        if begins and place // 2 < len(self.screened):
            return {axis: k + 1 for axis, k in self.screened[place // 2].items()}
        looks = not self.exhaustive and place >= self.start and len(study.directions) == 1
        if looks and place % 2 and (step := self._nearby(study)):
            return step
        blank = create_trial(state=TrialState.RUNNING)
        drawn = {
            name: self.sample_independent(study, blank, name, distribution)
            for name, distribution in self.distributions.items()
        }
        if looks and self._key(drawn) in self._tried(study):
            return self._nearby(study) or drawn
        return drawn

    def _nearby(self, study: Study) -> dict[str, Any] | None:
        """Parameters near those of the best trials."""
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        ranks = {(_excess(one), sign * one.values[0]): one.params for one in reversed(told)}
        bases = [
            {name: int(place) - 1 for name, place in ranks[rank].items()}
            for rank in sorted(ranks)[:BASES]
        ]
        rng = stream(self.seed, "tuner", self.order, self.place + 1, 1)
        step = nearby(self.contestant, bases, self._tried(study), rng)
        return None if step is None else {name: place + 1 for name, place in step.items()}

    def _tried(self, study: Study) -> set[str]:
        """Keys of the settings that were told or are running."""
        states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
        return {self._key(one.params) for one in study.get_trials(deepcopy=False, states=states)}

    def _key(self, params: Mapping[str, Any]) -> str:
        return self.contestant.setting(self.chosen(params)).key

    def chosen(self, params: Mapping[str, Any]) -> dict[str, Number]:
        """The values of the axes that parameters stand for."""
        return self.contestant.chosen({name: int(place) - 1 for name, place in params.items()})

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing is sampled jointly."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is sampled jointly."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The place on one axis, from 1."""
        axis = [one.name for one in self.contestant.axes].index(param_name)
        if self.exhaustive:
            sizes = tuple(len(one.values) for one in self.contestant.axes)
            return int(np.unravel_index(self.place % self.contestant.points, sizes)[axis]) + 1
        if self.place < self.start:
            uniform = float(self._sobol[self.place, axis])
            return self.contestant.axes[axis].place(uniform) + 1
        return self._from_tpe.sample_independent(study, trial, param_name, param_distribution)

    @cached_property
    def _sobol(self) -> FloatArray:
        """float64 (start, axes), scrambled by the seed."""
        rng = stream(self.seed, "tuner", self.order)
        power = max(0, int(self.start - 1).bit_length())
        drawn = qmc.Sobol(len(self.contestant.axes), rng=rng).random_base2(power)
        points: FloatArray = drawn[: self.start]
        return points

    @property
    def _from_tpe(self) -> TPESampler:
        """TPE with randomness of its own for this place."""
        if self._tpe is None:
            seed = int(stream(self.seed, "tuner", self.order, self.place + 1).integers(2**31))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # options that Optuna calls experimental
                self._tpe = TPESampler(
                    multivariate=False, constant_liar=True, n_startup_trials=0, seed=seed
                )
        return self._tpe


def _excess(trial: FrozenTrial) -> float:
    """Sum of the violations of a trial that was told."""
    return Score.from_dict(trial.user_attrs[SCORE]).excess
