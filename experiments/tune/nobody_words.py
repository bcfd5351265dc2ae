"""What tuning says where no setting of the policies that were searched can be recommended."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from experiments.wording import joined

from .choice import is_better
from .setting_words import figures, said

if TYPE_CHECKING:
    from .judging import Judged
    from .result import Tuning


def nobody(found: Tuning) -> str:
    """No setting keeps the constraints: the nearest one, and who would keep them if it took part.

    Present settings and baselines are judged too, and do not compete where the policies are named.
    """
    searched = [one for one in found.judged if one.role == "tuned"]
    kept = [one for one in found.judged if one.role != "optimal" and one.feasible]
    one = _nearest_of(searched) if searched and kept else nearest(found)
    if one is None:
        return "No setting can serve what arrives: add servers, or lower the rate."
    more = _others(found, kept) if kept else "Add servers, lower the rate, or loosen the limit."
    if not one.stable:
        return (
            f"No setting that was tried can serve what arrives; the nearest, {said(one)}, keeps up "
            f"to a load of {one.unstable_above or 0:.2f}. "
            + (more if kept else "Add servers, or lower the rate.")
        )
    return (
        f"No setting that was tried keeps {joined(one.broken)} with 95 % confidence; the nearest "
        f"is {said(one)} with {figures(one, found.goal.objectives)}. {more}"
    )


def nearest(found: Tuning) -> Judged | None:
    """The setting that breaks the constraints the least; None where none was judged."""
    return _nearest_of(one for one in found.judged if one.role != "optimal")


def _nearest_of(judged: Iterable[Judged]) -> Judged | None:
    return min(
        judged,
        key=lambda one: (not one.stable, max(one.violations.values(), default=math.inf)),
        default=None,
    )


def _others(found: Tuning, kept: list[Judged]) -> str:
    """The best of those that keep everything and did not compete."""
    best = kept[0]
    for one in kept[1:]:
        if is_better(one.against(best), found.goal):
            best = one
    worth = figures(best, found.goal.objectives)
    return f"But {best.name} does, with {worth}: let {best.setting.table['kind']} be searched too."
