"""A Markov-modulated Poisson process fitted to the burstiness of a log.

The rate is met exactly; index of dispersion at each window, CV of gaps and share of empty windows
as well as can be, each weighed by how well the log knows it.  Closed forms: Fischer and
Meier-Hellstern, The Markov-modulated Poisson process (MMPP) cookbook, Performance Evaluation 18,
1993; states follow each other in a cycle, as :class:`sim.modulated.Mmpp` has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.contract import FloatArray
from sim.modulated import Mmpp

from .burstiness import Burstiness

STARTS = 8
"""Searches from different beginnings; the figures have several local optima."""
FINE = 0.6
"""A fit whose figures are all this near to what is allowed needs no other beginning."""
LEAST_INDEX = 0.01
"""Logarithms of nothing are cut here: counts that never vary are no process of this kind."""
BEST_KNOWN = 0.05
"""No figure is weighed as if known better than to 5 %: what is wanted is likeness."""
EMPTY_KNOWN = 0.02
"""The same for the share of empty windows, in points."""
SPREAD = (-7.0, 7.0)
"""Bounds of the logarithms of rates, over the mean rate."""


@dataclass(frozen=True)
class Fit:
    """A process beside the log's figures."""

    mmpp: Mmpp
    dispersions: tuple[float, ...]
    """At the log's windows."""
    empty: tuple[float, ...]
    """Share of windows without arrivals."""
    misfit: float
    """Largest of what the figures are off by, over what is allowed; up to 1 is fine."""
    worst: str
    """What that figure is."""


def dispersions_of(mmpp: Mmpp, windows_s: FloatArray) -> FloatArray:
    """Index of dispersion of counts at each window, by the deviation matrix of the chain."""
    from scipy.linalg import expm

    change, share = _generator(mmpp), mmpp.share_of_time
    settled = np.outer(np.ones(len(share)), share)
    deviation = np.linalg.inv(settled - change) - settled
    each = windows_s[:, np.newaxis, np.newaxis]
    turned = np.eye(len(share)) - expm(change * each)
    inner = each * deviation - deviation @ deviation @ turned
    rates = np.array(mmpp.rates_per_s)
    excess = ((share * rates) @ inner) @ rates
    found: FloatArray = 1.0 + 2.0 / (mmpp.rate_per_s * windows_s) * excess
    return found


def empty_shares(mmpp: Mmpp, windows_s: FloatArray) -> FloatArray:
    """Share of windows without arrivals, ``pi exp((Q - Lambda) t) 1``, for each window."""
    from scipy.linalg import expm

    inside = _generator(mmpp) - np.diag(mmpp.rates_per_s)
    quiet = expm(inside * windows_s[:, np.newaxis, np.newaxis])
    found: FloatArray = (mmpp.share_of_time @ quiet) @ np.ones(len(mmpp.rates_per_s))
    return found


def _generator(mmpp: Mmpp) -> FloatArray:
    leave = np.diag(mmpp.switch_per_s)
    change: FloatArray = np.roll(leave, 1, axis=1) - leave
    return change


def fit_mmpp(log: Burstiness, states: int) -> Fit:
    """The nearest process with so many states."""
    from scipy.optimize import least_squares

    rng = np.random.default_rng(states)
    slowest, fastest = 1.0 / log.span_s, max(log.rate_per_s, 4.0 / log.span_s)
    low = np.array([SPREAD[0]] * (states - 1) + [np.log(slowest)] * states)
    high = np.array([SPREAD[1]] * (states - 1) + [np.log(fastest)] * states)
    best: Fit | None = None
    for _ in range(STARTS):
        begin = low + (high - low) * rng.uniform(0.2, 0.8, len(low))
        found = least_squares(_residuals, begin, bounds=(low, high), args=(log,), max_nfev=40)
        fit = judged(_process(found.x, log.rate_per_s), log)
        if best is None or fit.misfit < best.misfit:
            best = fit
        if best.misfit <= FINE:
            break
    assert best is not None
    return best


def _process(x: FloatArray, rate_per_s: float) -> Mmpp:
    """From logarithms: rates over that of the last state (states - 1), then those of switching."""
    states = (len(x) + 1) // 2
    rates = np.exp(np.append(x[: states - 1], 0.0))
    return Mmpp(tuple(rates.tolist()), tuple(np.exp(x[states - 1 :]).tolist())).at_rate(rate_per_s)


def _residuals(x: FloatArray, log: Burstiness) -> FloatArray:
    mmpp = _process(x, log.rate_per_s)
    known = np.array([max(d.error, BEST_KNOWN) for d in log.dispersions])
    index, empty = _off(mmpp, log)
    off = np.concatenate([index / known, empty / EMPTY_KNOWN, [_gap_off(mmpp, log) / BEST_KNOWN]])
    bounded: FloatArray = np.nan_to_num(off, nan=1e6, posinf=1e6, neginf=-1e6)
    return bounded


def _off(mmpp: Mmpp, log: Burstiness) -> tuple[FloatArray, FloatArray]:
    """At each window: logarithm of the index over the log's, and empty share less the log's."""
    windows = np.array([d.window_s for d in log.dispersions])
    value = np.array([max(d.value, LEAST_INDEX) for d in log.dispersions])
    index: FloatArray = np.log(np.maximum(dispersions_of(mmpp, windows), LEAST_INDEX) / value)
    empty: FloatArray = empty_shares(mmpp, windows) - np.array([d.empty for d in log.dispersions])
    return index, empty


def _gap_off(mmpp: Mmpp, log: Burstiness) -> float:
    return float(np.log(mmpp.gap_cv / max(log.gap_cv, LEAST_INDEX))) if log.gaps_known else 0.0


LIKE = 0.25
"""How far a figure of the fit may be from the log's, as a share of it; a busy hour varies more."""
LIKE_EMPTY = 0.05


def judged(mmpp: Mmpp, log: Burstiness) -> Fit:
    """A process with its figures beside those of a log."""
    index, empty = _off(mmpp, log)
    off = {"the CV of gaps": abs(_gap_off(mmpp, log)) / LIKE}
    for d, by, more in zip(log.dispersions, index.tolist(), empty.tolist(), strict=True):
        allowed = max(LIKE, 3.0 * d.error)
        off[f"the index of dispersion at {d.window_s:g} s"] = abs(by) / allowed
        off[f"the share of empty windows of {d.window_s:g} s"] = abs(more) / LIKE_EMPTY
    worst = max(off, key=lambda name: off[name])
    windows = np.array([d.window_s for d in log.dispersions])
    indexes = tuple(dispersions_of(mmpp, windows).tolist())
    return Fit(mmpp, indexes, tuple(empty_shares(mmpp, windows).tolist()), off[worst], worst)
