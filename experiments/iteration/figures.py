"""The figures of a run, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.figures import owner, save

from . import plots

if TYPE_CHECKING:
    from .results import TokenComparison


def write_figures(found: TokenComparison, folder: Path) -> list[str]:
    """Draw all figures into a folder; the names of the files."""
    name, outcomes = str(found.scenario["name"]), found.outcomes
    drawn = {
        which.removesuffix("_ms"): owner(plots.distribution(outcomes, which, title=name))
        for which in plots.NAMES
    }
    if sum(o.stable for o in outcomes) > 1:
        drawn["trade_off"] = owner(plots.trade_off(outcomes, title=name))
    shown = found.best or outcomes[0].policy
    drawn["over_time"] = owner(plots.over_time(found.outcome(shown))[0])
    return [file for stem, one in drawn.items() for file in save(one, folder / stem)]
