"""How a model that is really run behind a server differs from its profile: two numbers, calibrated.

Where the profile says ``S``, a batch takes ``fixed + share * S`` in the mean: what a server does
between two batches leaves caches colder than a loop that measures, which costs small batches most,
and a machine that is busy with other things is slower by a share.  Only requests of the calibration
are used, and none of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.export.setting import Costs
from policies.contract import FloatArray

from .calibrate import LEAST, TRIM, nominal_ns
from .rig import Window


class Against(NamedTuple):
    """What batches take, by what the profile says."""

    fixed_ns: float
    share: float
    batches: int
    """That it was fitted to."""

    def costs(self, costs: Costs) -> Costs:
        """What batches take here: int64 ns, at least 1."""
        took = np.rint(self.fixed_ns + self.share * costs.service_ns).astype(np.int64)
        return costs._replace(service_ns=np.maximum(1, took))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"fixed_ms": self.fixed_ns / 1e6, "share": self.share, "batches": self.batches}


def against_profile(windows: Sequence[Window], costs: Costs) -> Against:
    """Fit batches of a calibration.

    The share is the median of the slopes between all pairs (Theil and Sen's estimate), which single
    late batches do not move; what is fixed keeps the mean, without the latest of them.

    Args:
        windows: of the calibration.
        costs: of the profile.
    """
    nominal = np.concatenate([nominal_ns(each, costs) for each in windows]).astype(np.float64)
    took = np.concatenate([each.end_ns - each.begin_ns for each in windows]).astype(np.float64)
    if len(took) < LEAST:
        return Against(0.0, 1.0, len(took))
    share = _slope(nominal, took)
    rest = np.sort(took - share * nominal)
    kept = rest[: max(LEAST, int(TRIM * len(rest)))]
    return Against(float(kept.mean()), share, len(took))


def time_over(windows: Sequence[Window], costs: Costs) -> float:
    """What all batches of windows took, over what they cost."""
    took = sum(int((each.end_ns - each.begin_ns).sum()) for each in windows)
    return took / max(1, sum(int(nominal_ns(each, costs).sum()) for each in windows))


def _slope(nominal: FloatArray, took: FloatArray) -> float:
    """The median slope; 1 where all batches cost the same."""
    first, second = np.triu_indices(len(nominal), 1)
    apart = nominal[second] - nominal[first]
    differ = np.abs(apart) > 0.0
    if not differ.any():
        return 1.0
    return float(np.median((took[second] - took[first])[differ] / apart[differ]))
