"""Which figures the run of a tuning gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .importance import importances
from .plots import history
from .plots_front import fronts
from .plots_importance import importance
from .plots_load import load
from .plots_regret import has_regret, regret
from .plots_surface import surface, surface_policies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .result import Tuning


def figures_of(found: Tuning) -> dict[str, Figure]:
    """Figures by file name: those that the tuning has data for."""
    drawn: dict[str, Figure] = {}
    if found.tried:
        drawn["history"] = owner(history(found))
    if importances(found):
        drawn["importance"] = owner(importance(found)[0])
    if surface_policies(found):
        drawn["surface"] = owner(surface(found))
    if found.load_curve is not None:
        drawn["load"] = owner(load(found))
    if len(found.goal.objectives) > 1:
        drawn["front"] = owner(fronts(found)[0])
    if has_regret(found):
        drawn["regret"] = owner(regret(found))
    return drawn


def owner(axes: object) -> Figure:
    """The figure that axes belong to."""
    return axes.figure  # type: ignore[attr-defined,no-any-return]
