"""The ``.plot`` of a tuning, and how it looks in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.views import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.plots import Panels

    from .result import Tuning


@dataclass(frozen=True)
class TuningPlots:
    """Figures of a tuning; each returns the axes that it drew on.

    What a tuning has no data for, as a front with one objective, is a ``ValueError`` that says so.
    """

    tuning: Tuning

    def history(self, objective: int = 0, ax: Axes | None = None) -> Axes:
        """An objective of every trial, the best so far, and the judged value of the winner."""
        from .plots import history

        return history(self.tuning, objective, ax)

    def importance(self, objective: int = 0, ax: Panels | None = None) -> list[Axes]:
        """Which number of each policy matters, one panel a policy with enough trials."""
        from .plots_importance import importance

        return importance(self.tuning, objective, ax)

    def front(self, first: int = 0, second: int = 1, ax: Axes | None = None) -> Axes:
        """Two objectives against each other: trials, and judged settings with intervals."""
        from .plots_front import front

        return front(self.tuning, first, second, ax)

    def fronts(self, ax: Panels | None = None) -> list[Axes]:
        """Every pair of objectives, side by side."""
        from .plots_front import fronts

        return fronts(self.tuning, ax)

    def surface(
        self, policy: str | None = None, objective: int = 0, ax: Axes | None = None
    ) -> Axes:
        """An objective over the largest batch and the longest wait of a policy, as tried."""
        from .plots_surface import surface

        return surface(self.tuning, policy, objective, ax)

    def load(self, measure: str | None = None, ax: Axes | None = None) -> Axes:
        """A latency of the winner and the baselines against load."""
        from .plots_load import load

        return load(self.tuning, measure, ax)

    def tiers(self, ax: Axes | None = None) -> Axes:
        """What a backlog gets done against the p99 of those who wait: winner and present settings.

        Raises:
            ValueError: no tier is a backlog, or no setting serves the others.
        """
        from experiments.plots_tiers import tiers

        winner = self.tuning.winner
        shown = {one.name for one in self.tuning.judged if one is winner or one.role != "tuned"}
        return tiers([one for one in self.tuning.outcomes if one.policy in shown], ax)

    def regret(self, ax: Axes | None = None) -> Axes:
        """How much worse than the best at each of several loads."""
        from .plots_regret import regret

        return regret(self.tuning, ax)


def html_of(found: Tuning) -> str:
    """A small table of the judged settings, and the verdict."""
    from .cells import columns_of
    from .looks import in_order

    columns = columns_of(found)
    rows = [[column.text(one) for column in columns] for one in in_order(found)]
    return table(tuple(column.title for column in columns), rows, found.verdict)
