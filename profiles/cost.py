"""What a call costs before it is measured: a formula from a quick pilot of a few shapes.

``base + per_unit * size * length + per_unit_length * size * length^2``, as in :mod:`profiles.fit`,
plus what the first call of a shape costs on top (allocation, autotuning, a captured graph).  It
only plans time; no profile holds a figure of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PILOT_SIZE = 8
"""Large enough to tell a batch from a request, small enough to be cheap on a CPU."""


@dataclass(frozen=True)
class Cost:
    """Estimated time of one call, in ns."""

    base_ns: float
    per_unit_ns: float
    per_unit_length_ns: float = 0.0
    first_ns: float = 0.0
    """What the first call of a shape takes more than the following ones."""

    def __call__(self, size: int, length: int) -> float:
        """One call, warm."""
        each = self.per_unit_ns + self.per_unit_length_ns * length
        return self.base_ns + size * length * each


def pilot_shapes(sizes: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The shapes to try, cheapest first; a pilot may stop after any of them."""
    shortest, middle, longest = lengths[0], lengths[len(lengths) // 2], lengths[-1]
    some = min(PILOT_SIZE, sizes[-1])
    shapes = ((1, shortest), (some, shortest), (1, middle), (1, longest), (some, middle),
              (sizes[-1], shortest), (sizes[-1], middle), (sizes[-1], longest))  # fmt: skip
    yield from dict.fromkeys(shapes)


def fitted_cost(warm_ns: Mapping[tuple[int, int], float], first_ns: float = 0.0) -> Cost:
    """The formula through the pilot's medians, by relative least squares, nothing negative."""
    from scipy.optimize import nnls

    size, length = (np.array(axis, dtype=np.float64) for axis in zip(*warm_ns, strict=True))
    time = np.array(list(warm_ns.values()), dtype=np.float64)
    columns = np.stack((np.ones_like(time), size * length, size * length**2), axis=1)
    scale = columns.max(axis=0)
    found = nnls(columns / scale / time[:, np.newaxis], np.ones_like(time))[0] / scale
    base, per_unit, per_unit_length = (float(coefficient) for coefficient in found)
    return Cost(base, per_unit, per_unit_length, first_ns)
