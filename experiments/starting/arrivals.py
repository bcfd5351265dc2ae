"""Which arrival process a log looks like, and why: the simplest one that nothing speaks against.

1. Poisson, where gaps and counts vary as those of independent users do.
2. Independent gaps (paced, gamma, hyperexponential), where neighbouring gaps know nothing of each
   other and counts vary as such gaps make them.
3. A rate that jumps between two or three states (MMPP), where it has the log's figures.
4. Else the log itself is replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.sentences import ScenarioError
from policies.contract import FloatArray, IntArray

from .burstiness import NS, TOGETHER, Burstiness, burstiness
from .jumping_rate import LEAST_INDEX, Fit, fit_mmpp

KINDS = ("auto", "poisson", "gamma", "mmpp", "trace")
"""What ``--arrivals`` takes."""

ERRORS = 4.0
"""Standard errors that a figure may be off: one false alarm in thousands of logs."""
LIKE_POISSON = 0.03
"""A CV that near to 1 changes no queue that anybody would notice."""
FEWEST = 200
"""Requests that it takes to tell anything but a rate."""
PACED_CV = 0.02
LEAST_VISITS = 5
"""Rounds through all states within the log: fewer are one day's story, not a process."""


@dataclass(frozen=True)
class Chosen:
    """A process as the keys of ``workload.arrivals``, and the reasons."""

    process: str
    keys: dict[str, Any] = field(default_factory=dict)
    why: tuple[str, ...] = ()
    """Sentences."""
    fit: Fit | None = None

    @property
    def replays(self) -> bool:
        """Whether the log itself is played again."""
        return self.process == "trace"


def choose_arrivals(arrival_ns: IntArray, wanted: str = "auto") -> tuple[Burstiness, Chosen]:
    """The process for recorded arrivals.

    Args:
        arrival_ns: int64 (N,), not decreasing.
        wanted: one of :data:`KINDS`.

    Raises:
        ScenarioError: all requests come at one instant, or too few for what is wanted.
    """
    if arrival_ns[-1] == arrival_ns[0]:
        raise ScenarioError(
            "all requests of the log come at one instant, so it has no rate; are the column and "
            "its unit right? --columns arrival=NAME, --unit ms"
        )
    log = burstiness(arrival_ns)
    gaps_s = np.diff(arrival_ns) / NS
    if wanted == "auto":
        return log, _found(log, gaps_s)
    return log, _as_wanted(log, wanted)


def _as_wanted(log: Burstiness, wanted: str) -> Chosen:
    asked = f"--arrivals {wanted} asks for it"
    match wanted:
        case "poisson":
            return Chosen("poisson", _rate(log), (f"{asked}.",))
        case "gamma":
            return Chosen("gamma", {**_rate(log), "cv": _digits(log.gap_cv)}, (f"{asked}.",))
        case "mmpp":
            if not log.dispersions:
                raise ScenarioError(
                    f"--arrivals mmpp needs more than the {log.requests} requests of the log; "
                    "use --arrivals poisson or --arrivals trace"
                )
            fits = [fit_mmpp(log, states) for states in (2, 3)]
            fit = next((each for each in fits if each.misfit <= 1.0), None)
            fit = fit or min(fits, key=lambda each: each.misfit)
            return _jumping(fit, (f"{asked}.",))
    return Chosen("trace", {}, (f"{asked}: the log itself is played again.",))


def _found(log: Burstiness, gaps_s: FloatArray) -> Chosen:
    if log.requests < FEWEST or not log.dispersions:
        return Chosen("poisson", _rate(log), (_too_little(log),))
    against = against_poisson(log)
    if not against:
        return Chosen("poisson", _rate(log), (_like_poisson(log),))
    reasons = [f"Not Poisson: {against}."]
    if log.gaps_known:
        if log.together > TOGETHER:
            reasons.append(
                f"{100 * log.together:.0f} % of requests come at the same instant as the one "
                "before, in groups that no fitted process has: the log itself is played again."
            )
            return Chosen("trace", {}, tuple(reasons))
        if independent := _independent_gaps(log, gaps_s):
            return Chosen(independent.process, independent.keys, (*reasons, *independent.why))
        reasons.append(_not_independent(log))
    return _jumping_or_replayed(log, reasons)


def _too_little(log: Burstiness) -> str:
    if log.requests < FEWEST:
        return (
            f"{log.requests} requests tell a rate and little else: Poisson (independent users) is "
            f"an assumption. From {FEWEST} requests on the log is looked at."
        )
    clock = "" if log.gaps_known else f" and a clock with ticks of {log.clock_s:g} s"
    return (
        f"{log.requests:,} requests within {log.span_s:.3g} s{clock} tell a rate and little else: "
        "Poisson (independent users) is an assumption. A longer log"
        f"{'' if log.gaps_known else ', or one with finer instants,'} would tell bursts."
    )


def _jumping_or_replayed(log: Burstiness, why: list[str]) -> Chosen:
    for states in (2, 3):
        fit = fit_mmpp(log, states)
        if fit.misfit > 1.0:
            why.append(f"A rate that jumps between {states} states misses {fit.worst}.")
        elif (rounds := _rounds(fit, log)) < LEAST_VISITS:
            why.append(
                f"A rate that jumps between {states} states goes round in "
                f"{log.span_s / rounds:.3g} s, and the log is only {log.span_s:.3g} s long: it "
                "cannot tell what is typical."
            )
        else:
            why.append(f"A rate that jumps between {states} states has all figures of the log.")
            return _jumping(fit, tuple(why))
    return Chosen("trace", {}, (*why, "So the log itself is played again."))


def against_poisson(log: Burstiness) -> str:
    """What speaks against a Poisson process; empty where nothing does."""
    if log.gaps_known:
        allowed = max(ERRORS / math.sqrt(log.requests), LIKE_POISSON)
        if abs(log.gap_cv - 1.0) > allowed:
            return f"the CV of gaps is {log.gap_cv:.3g}, not 1 ± {allowed:.2g}"
    for d in log.dispersions:
        allowed = ERRORS * d.error
        if abs(d.value - 1.0) > max(allowed, LIKE_POISSON):
            return (
                f"counts in windows of {d.window_s:g} s have an index of dispersion of "
                f"{d.value:.3g}, not 1 ± {allowed:.2g}"
            )
    return ""


def _like_poisson(log: Burstiness) -> str:
    gaps = f"the CV of gaps is {log.gap_cv:.3g} and " if log.gaps_known else ""
    windows = log.dispersions
    return (
        f"Poisson, as independent users come: {gaps}the index of dispersion within the noise of 1 "
        f"at all windows from {windows[0].window_s:g} to {windows[-1].window_s:g} s."
    )


def _independent_gaps(log: Burstiness, gaps_s: FloatArray) -> Chosen | None:
    """A renewal process that has the log's gaps and its long windows, if one does."""
    if log.gap_cv < PACED_CV:
        return Chosen("paced", _rate(log), (f"All gaps are equal (CV {log.gap_cv:.2g}): paced.",))
    if abs(log.gap_correlation) > max(ERRORS / math.sqrt(log.requests), 0.05):
        return None
    longest = log.dispersions[-1]
    if abs(math.log(max(longest.value, LEAST_INDEX) / log.gap_cv**2)) > max(
        0.2, ERRORS * longest.error
    ):
        return None
    name, distance = min(_distances(log, gaps_s).items(), key=lambda item: item[1])
    if distance > max(0.03, 1.95 / math.sqrt(log.requests)):
        return None
    keys = {**_rate(log), "cv": _digits(log.gap_cv)}
    why = (
        f"Gaps are independent (rank correlation of neighbours {log.gap_correlation:.2g}) and "
        f"{name}: of CV {log.gap_cv:.3g}, their distribution within {distance:.2g} of the log's, "
        f"and the index of dispersion at {longest.window_s:g} s is {longest.value:.3g}, the CV "
        f"squared being {log.gap_cv**2:.3g}."
    )
    return Chosen(name, keys, (why,))


def _distances(log: Burstiness, gaps_s: FloatArray) -> dict[str, float]:
    """Largest difference of the distribution functions (Kolmogorov-Smirnov), by process."""
    from scipy.stats import gamma, kstest

    mean, scv = float(gaps_s.mean()), log.gap_cv**2
    found = {"gamma": kstest(gaps_s, gamma(1.0 / scv, scale=mean * scv).cdf).statistic}
    if scv > 1.0:
        p = (1.0 + math.sqrt((scv - 1.0) / (scv + 1.0))) / 2.0

        def below(x: FloatArray) -> FloatArray:
            short, long = 2.0 * p / mean, 2.0 * (1.0 - p) / mean
            return 1.0 - p * np.exp(-short * x) - (1.0 - p) * np.exp(-long * x)

        found["hyperexponential"] = kstest(gaps_s, below).statistic  # type: ignore[arg-type]
    return {name: float(value) for name, value in found.items()}


def _not_independent(log: Burstiness) -> str:
    longest = log.dispersions[-1]
    return (
        "Independent gaps do not do it either: their rank correlation is "
        f"{log.gap_correlation:.2g}, and counts in windows of {longest.window_s:g} s have an index "
        f"of dispersion of {longest.value:.3g}, where gaps alone would make {log.gap_cv**2:.3g}."
    )


def _rounds(fit: Fit, log: Burstiness) -> float:
    """How often the process goes round its states while the log lasts."""
    return log.span_s / sum(1.0 / rate for rate in fit.mmpp.switch_per_s)


def _jumping(fit: Fit, why: tuple[str, ...]) -> Chosen:
    keys = {
        "rates_per_s": [_digits(rate) for rate in fit.mmpp.rates_per_s],
        "switch_per_s": [_digits(rate) for rate in fit.mmpp.switch_per_s],
    }
    return Chosen("mmpp", keys, why, fit)


def _rate(log: Burstiness) -> dict[str, Any]:
    return {"rate_per_s": _digits(log.rate_per_s)}


def _digits(value: float) -> float:
    """Four significant digits: no log knows more."""
    return float(f"{value:.4g}")
