"""Arrival processes: when requests come.

1. A process is a frozen dataclass of numbers; its randomness is a Generator that is passed in.
2. ``instants_ns`` yields its instants without end, in blocks whose sizes do not depend on how many
   are wanted.  So n requests are always the first n of any longer draw of the same stream.
3. Time 0 is an arrival that is not counted: the first request of a renewal process comes one gap
   later.  Instants are rounded to the nearest ns (half to even) after summing, so that rounding
   errors do not add up.
4. ``at_rate`` rescales a process so that its mean rate is the one asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

from .closed import Closed
from .errors import WorkloadError, is_positive, require
from .modulated import SECOND_NS, Mmpp, RateCurve, block_sizes, running_sum
from .replay import Replay

LATEST_NS = 2**62
"""146 years: beyond it sums of instants would overflow int64."""


Instants = NDArray[Any]
"""Instants in ns, float64, or int64 where they are exact."""


class Arrivals(Protocol):
    """What every open arrival process has."""

    @property
    def rate_per_s(self) -> float:
        """Mean rate in requests per second."""
        ...

    @property
    def gap_cv(self) -> float | None:
        """Coefficient of variation of the gaps in the long run; None where it is not known."""
        ...

    def at_rate(self, rate_per_s: float) -> Self:
        """The same process with another mean rate."""
        ...

    def instants_ns(self, rng: np.random.Generator) -> Iterator[Instants]:
        """Blocks of instants, not decreasing, without end (a recorded trace does end)."""
        ...


@dataclass(frozen=True)
class Paced:
    """Equal gaps."""

    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate_per_s)

    @property
    def gap_cv(self) -> float:
        """No variation."""
        return 0.0

    def at_rate(self, rate_per_s: float) -> Self:
        """Other gaps."""
        return replace(self, rate_per_s=rate_per_s)

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Multiples of the gap; draws nothing."""
        first = 1
        for size in block_sizes():
            steps = np.arange(first, first + size, dtype=np.float64)
            yield steps * (SECOND_NS / self.rate_per_s)
            first += size


@dataclass(frozen=True)
class Poisson:
    """Independent users: exponential gaps."""

    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate_per_s)

    @property
    def gap_cv(self) -> float:
        """Exponential gaps."""
        return 1.0

    def at_rate(self, rate_per_s: float) -> Self:
        """Other gaps."""
        return replace(self, rate_per_s=rate_per_s)

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Sums of exponential gaps."""
        mean_ns = SECOND_NS / self.rate_per_s
        return running_sum(lambda size: rng.standard_exponential(size) * mean_ns)


@dataclass(frozen=True)
class Gamma:
    """Gamma gaps: smoother than Poisson with ``cv`` below 1, burstier above."""

    cv: float
    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate_per_s)
        require(is_positive(self.cv), "cv > 0", cv=self.cv)

    @property
    def gap_cv(self) -> float:
        """As given."""
        return self.cv

    def at_rate(self, rate_per_s: float) -> Self:
        """Other gaps of the same shape."""
        return replace(self, rate_per_s=rate_per_s)

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Sums of gamma gaps with shape ``1 / cv**2``."""
        square = self.cv * self.cv
        scale_ns = square * SECOND_NS / self.rate_per_s
        return running_sum(lambda size: rng.standard_gamma(1.0 / square, size) * scale_ns)


@dataclass(frozen=True)
class Hyperexponential:
    """Gaps from one of two exponentials with balanced means: ``cv`` above 1.

    Both phases contribute the same time: ``p / rate_1 = (1 - p) / rate_2`` with
    ``p = (1 + sqrt((cv**2 - 1) / (cv**2 + 1))) / 2``  (Tijms, Stochastic Models, 1994, B.11).
    """

    cv: float
    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate_per_s)
        require(math.isfinite(self.cv) and self.cv > 1, "cv > 1", cv=self.cv)

    @property
    def gap_cv(self) -> float:
        """As given."""
        return self.cv

    def at_rate(self, rate_per_s: float) -> Self:
        """Other gaps of the same shape."""
        return replace(self, rate_per_s=rate_per_s)

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Sums of gaps; each draws its phase and its time."""
        square = self.cv * self.cv
        p = (1.0 + math.sqrt((square - 1.0) / (square + 1.0))) / 2.0
        half_ns = SECOND_NS / (2.0 * self.rate_per_s)

        def gaps(size: int) -> FloatArray:
            mean_ns = np.where(rng.random(size) < p, half_ns / p, half_ns / (1.0 - p))
            return rng.standard_exponential(size) * mean_ns

        return running_sum(gaps)


@dataclass(frozen=True)
class Clumped:
    """Groups of requests that belong together (a page that asks for many things at once).

    Groups of ``clump_size`` begin as a Poisson process; each member follows the beginning of its
    group after a time of its own, uniform between 0 and ``spread_ns``.
    """

    clump_size: int
    spread_ns: int
    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate_per_s)
        require(self.clump_size >= 1, "clump_size >= 1", clump_size=self.clump_size)
        require(self.spread_ns >= 0, "spread_ns >= 0", spread_ns=self.spread_ns)

    @property
    def gap_cv(self) -> float | None:
        """Known where a group comes at one instant: ``sqrt(2 clump_size - 1)``."""
        return math.sqrt(2 * self.clump_size - 1) if self.spread_ns == 0 else None

    def at_rate(self, rate_per_s: float) -> Self:
        """More or fewer groups of the same size and spread."""
        return replace(self, rate_per_s=rate_per_s)

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Sorted members; those after the last beginning of a block wait for the next block."""
        mean_ns = SECOND_NS * self.clump_size / self.rate_per_s
        late = np.zeros(0)

        def gaps(size: int) -> FloatArray:
            return rng.standard_exponential(max(1, size // self.clump_size)) * mean_ns

        for begin_ns in running_sum(gaps):
            spread_ns = rng.random((len(begin_ns), self.clump_size)) * self.spread_ns
            members = np.concatenate([late, (begin_ns[:, None] + spread_ns).ravel()])
            members.sort()
            known = int(np.searchsorted(members, begin_ns[-1], side="right"))
            yield members[:known]
            late = members[known:]


ARRIVALS: dict[str, Any] = {
    "paced": Paced,
    "poisson": Poisson,
    "gamma": Gamma,
    "hyperexponential": Hyperexponential,
    "mmpp": Mmpp,
    "clumped": Clumped,
    "rate_curve": RateCurve,
    "trace": Replay,
    "closed": Closed,
}
"""Every arrival process by its name in a scenario."""


def draw_arrivals(
    process: Arrivals,
    rng: np.random.Generator,
    requests: int | None = None,
    duration_ns: int | None = None,
) -> IntArray:
    """Instants of a process, int64 (N,), not decreasing.

    Args:
        process: an open arrival process.
        rng: its stream.
        requests: at most so many; exactly so many where there is no duration and no end.
        duration_ns: only those at or before this instant.

    Raises:
        WorkloadError: neither limit is given to a process without end, or time would overflow.
    """
    require(requests is None or requests >= 1, "requests >= 1", requests=requests)
    require(duration_ns is None or duration_ns >= 1, "duration_ns >= 1", duration_ns=duration_ns)
    if requests is None and duration_ns is None and not isinstance(process, Replay):
        raise WorkloadError("give requests or a duration: this arrival process has no end")
    blocks: list[IntArray] = []
    left = LATEST_NS if requests is None else requests
    for block_ns in process.instants_ns(rng):
        if len(block_ns) and block_ns[-1] > LATEST_NS and duration_ns is None:
            raise WorkloadError(
                f"{requests} requests at {process.rate_per_s:g} per second take more than 146"
                " years; give a higher rate or fewer requests"
            )
        rounded = block_ns if block_ns.dtype == np.int64 else np.rint(block_ns)
        instant_ns = np.minimum(rounded[:left], LATEST_NS).astype(np.int64)
        if duration_ns is not None and len(instant_ns) and instant_ns[-1] > duration_ns:
            blocks.append(instant_ns[: np.searchsorted(instant_ns, duration_ns, side="right")])
            break
        blocks.append(instant_ns)
        left -= len(instant_ns)
        if left == 0:
            break
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)


def _check_rate(rate_per_s: float) -> None:
    require(is_positive(rate_per_s), "rate_per_s > 0", rate_per_s=rate_per_s)
