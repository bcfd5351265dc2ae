"""Which figures the run of a validation gets."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from .plots import calibration, ecdf
from .plots_batches import batch_sizes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .result import Validation


def figures_of(found: Validation) -> dict[str, Figure]:
    """Figures by file name, of the policies that served somebody in a window that counts."""
    served = tuple(one for one in found.matches if isfinite(one.cell("mean").measured))
    if not served:
        return {}
    found = replace(found, matches=served)
    return {
        "latency": owner(ecdf(found)[0]),
        "predicted": owner(calibration(found)),
        "batch-sizes": owner(batch_sizes(found)[0]),
    }


def owner(axes: object) -> Figure:
    """The figure that axes belong to."""
    return axes.figure  # type: ignore[attr-defined,no-any-return]
