"""The figures of a live run of iterations, and how it looks in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.validation.plots import calibration, ecdf
from experiments.validation.shown import signed
from experiments.views import table

from .validation_shown import measured

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from experiments.plots import Panels

    from .validation import TokenValidation
    from .validation_curves import Curves
    from .validation_predict import TokenCell

WORDS = {"ttft": "time to the first token", "latency": "latency"}
HEAD = ("load", "policy", "first token, ms", "error", "latency, ms", "error", "tokens/s", "error")


@dataclass(frozen=True)
class Match:
    """One rule at one load, as the figures of :mod:`experiments.validation.plots` take it."""

    load: float
    policy: str
    curves: Curves
    cells: dict[str, TokenCell]

    def cell(self, statistic: str) -> TokenCell:
        """``p50`` or ``p99``."""
        return self.cells[statistic]


@dataclass(frozen=True)
class Shown:
    """One kind of time of a validation."""

    found: TokenValidation
    which: str
    """``ttft`` or ``latency``."""

    @property
    def loads(self) -> tuple[float, ...]:
        """Loads with windows that count."""
        return self.found.loads

    @property
    def policies(self) -> tuple[str, ...]:
        """Rules with windows that count."""
        return self.found.policies

    @property
    def matches(self) -> tuple[Match, ...]:
        """Each rule at each load."""
        return tuple(
            Match(
                one.load,
                one.rule,
                one,
                {
                    name: self.found.cell(one.rule, one.load, f"{self.which}_ms.{name}")
                    for name in ("p50", "p99")
                },
            )
            for one in self.found.curves
            if one.which == self.which
        )


@dataclass(frozen=True)
class TokenValidationPlots:
    """Figures; each returns the axes that it drew on, whose ``.figure`` is theirs."""

    found: TokenValidation

    def ttft(self, ax: Panels | None = None) -> list[Axes]:
        """Share of requests whose first token takes longer, one panel a load."""
        return ecdf(Shown(self.found, "ttft"), ax, WORDS["ttft"])

    def latency(self, ax: Panels | None = None) -> list[Axes]:
        """Share of requests that take longer, one panel a load."""
        return ecdf(Shown(self.found, "latency"), ax, WORDS["latency"])

    def predicted(self, ax: Axes | None = None, which: str = "ttft") -> Axes:
        """Predicted against measured p50 and p99 of the first token, or of ``latency``."""
        title = f"{WORDS[which][0].upper()}{WORDS[which][1:]}: predicted against measured"
        return calibration(Shown(self.found, which), ax, title)


def write_figures(found: TokenValidation, folder: Path) -> list[str]:
    """Write the figures; returns the names of the files, none where no window counts."""
    from experiments.figures import owner, save

    if not found.cells:
        return []
    plots = TokenValidationPlots(found)
    drawn = {
        "ttft": owner(plots.ttft()[0]),
        "latency": owner(plots.latency()[0]),
        "predicted": owner(plots.predicted()),
    }
    return [name for stem, figure in drawn.items() for name in save(figure, folder / stem)]


def html_of(found: TokenValidation) -> str:
    """A small table of measured values and a-priori errors, and the verdict."""
    rows = []
    for load in found.loads:
        for rule in found.policies:
            names = ("ttft_ms.mean", "latency_ms.mean", "output_tokens_per_s")
            cells = [c for name in names for c in found.cells
                     if (c.load, c.rule, c.statistic) == (load, rule, name)]  # fmt: skip
            if cells:
                pairs = [text for cell in cells for text in (measured(cell), signed(cell.error))]
                rows.append([f"{load:g}", rule, *pairs])
    return table(HEAD, rows, found.verdict)
