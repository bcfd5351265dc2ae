"""How far each form of a latency model is from measured points, as a frame: one row a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiles import fitted
from profiles.check import check_of

if TYPE_CHECKING:
    import pandas as pd

    from profiles import Profile

LEFT_OUT = ("grid", "fitted", "hinge")
"""Forms that are held against the points that they are not shown."""


def form_errors(known: Sequence[Profile]) -> pd.DataFrame:
    """Mean errors of formulas and forms, as shares of the measured time.

    Args:
        known: profiles.

    Returns:
        One row a profile: ``affine``, ``quadratic`` and ``hinge`` are medians of the formula alone
        over the grid; ``left out, FORM`` are means over the points that were left out once each,
        and ``noise`` is what noise alone would make of that (nan where no calls are kept).
    """
    import pandas as pd

    rows = []
    for profile in known:
        row: dict[str, float | str] = {"profile": profile.name}
        for form in ("affine", "quadratic", "hinge"):
            row[form] = fitted(profile, form).median_error
        errors = {one.form: one for one in check_of(profile, form="grid").forms}
        for form in LEFT_OUT:
            found = errors[form].left_out
            row[f"left out, {form}"] = float("nan") if found is None else found
        noise = errors["grid"].by_noise
        row["noise"] = float("nan") if noise is None else noise
        rows.append(row)
    return pd.DataFrame(rows).set_index("profile")
