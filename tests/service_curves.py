"""Service times of a batch of k, in ms, that the tests of theory share; k from 1 to 32."""

from __future__ import annotations

import numpy as np

from sim.theory_batch import linear_service

LINE = linear_service(2.0, 0.35, 32)
SIZES = np.arange(1, 33)
CURVES = {
    "linear": LINE,
    "pow2": 2.0 + 0.35 * 2.0 ** np.ceil(np.log2(SIZES)),
    "tile8": 2.0 + 2.8 * np.ceil(SIZES / 8),
    "convex": 2.0 + 0.1 * SIZES + 0.03 * SIZES**2,
}
