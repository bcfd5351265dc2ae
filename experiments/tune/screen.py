"""A first look around: many settings on a short run, of which the best begin the search.

1. A grid of thousands of settings may have one good corner, which a start of 64 misses once in ten
   searches.  A run of 12,000 requests costs a tenth of a whole one and says roughly who is good.
2. What it finds is where the search begins, and nothing else: it is never told, compared or
   reported.  Constraints are held against the numbers themselves, since short runs have wide
   intervals.
3. It depends on the scenario and the tuner's seed alone, so that a search that is cut off begins
   where it had begun.
"""

from __future__ import annotations

from collections.abc import Callable

from scipy.stats import qmc

from experiments.parallel import in_threads
from sim.streams import stream

from .contestants import Contestant, Setting
from .scores import Score

PER_TRIAL, MOST = 4, 1024
"""Settings looked at for each trial that the contestant may expect, and at most."""

Places = dict[str, int]
"""By axis, from 0."""


def screened(
    contestant: Contestant,
    score: Callable[[Setting], Score],
    order: Callable[[Score], tuple[float, float]],
    *,
    seed: int,
    place: int,
    trials: int,
    wanted: int,
) -> list[Places]:
    """The best places of a first look, the best first.

    Args:
        contestant: whose space is looked at.
        score: what a setting is worth on the short run.
        order: of scores.
        seed: of the tuner.
        place: of the contestant among the others.
        trials: that the contestant may expect.
        wanted: how many places to give.
    """
    power = min(PER_TRIAL * trials, MOST).bit_length() - 1
    rng = stream(seed, "tuner", place, 0, 2)
    points = qmc.Sobol(len(contestant.axes), rng=rng).random_base2(power)
    looked: dict[str, tuple[Places, Setting]] = {}
    for point in points:
        places = {
            axis.name: axis.place(float(uniform))
            for axis, uniform in zip(contestant.axes, point, strict=True)
        }
        setting = contestant.setting(contestant.chosen(places))
        looked.setdefault(setting.key, (places, setting))
    settings = [setting for _, setting in looked.values()]
    names = [setting.name for setting in settings]
    scores = in_threads(score, settings, names, lambda *_: None)
    ranked = sorted(zip(looked.values(), scores, strict=True), key=lambda each: order(each[1]))
    return [places for (places, _), score in ranked[:wanted] if score.values is not None]
