"""The ``.plot`` of a validation, and how it looks in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.views import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.plots import Panels

    from .result import Validation

HEAD = ("load", "policy", "mean, ms", "error", "p99, ms", "error", "mean batch", "error")


@dataclass(frozen=True)
class ValidationPlots:
    """Figures of a validation; each returns the axes that it drew on, whose ``.figure`` is theirs.

    With several panels ``ax`` takes one axes for each, as ``plt.subplots`` gives them.
    """

    validation: Validation

    def ecdf(self, ax: Panels | None = None) -> list[Axes]:
        """Share of requests slower than a latency, live and predicted, one panel a load."""
        from .plots import ecdf

        return ecdf(self.validation, ax)

    def calibration(self, ax: Axes | None = None, title: str = "") -> Axes:
        """Predicted against measured p50 and p99, over all loads and policies."""
        from .plots import calibration

        return calibration(self.validation, ax, title)

    def batch_sizes(self, ax: Panels | None = None) -> list[Axes]:
        """Sizes of batches, live and predicted, one panel a policy and load."""
        from .plots_batches import batch_sizes

        return batch_sizes(self.validation, ax)


def html_of(found: Validation) -> str:
    """A small table of measured values and a-priori errors, and the verdict."""
    from .shown import measured, signed

    rows = []
    for match in found.matches:
        load = "closed" if match.load is None else f"{match.load:g}"
        cells = [match.cell(name) for name in ("mean", "p99", "mean_batch")]
        pairs = [text for cell in cells for text in (measured(cell), signed(cell.error))]
        rows.append([load, match.policy, *pairs])
    return table(HEAD, rows, found.verdict)
