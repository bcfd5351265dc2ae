"""What to measure within a budget of time: which shapes, how often, in which phases.

1. The grid is every batch size up to the cap by every length, since real curves are staircases.
   Beside it stand shapes off the grid (the hold-out), which the profile must interpolate.
2. Grid and hold-out are visited in rounds of random order.  A cell of n samples is in n rounds,
   evenly spread, so that drift of the machine is not mistaken for an effect of size or length; all
   cells are in the first round.
3. Samples go as ``weight / sqrt(cost)``, which makes the sum of the relative variances smallest
   for the time spent; batch size 1 and the cap weigh double (they anchor idle latency and
   capacity).  No cell has fewer than :data:`SAMPLES_LEAST` or more than :data:`SAMPLES_MOST`,
   those of the two anchors :data:`SAMPLES_ANCHOR`.
4. Then come steady series of one shape back to back, whose autocorrelation is the noise's, and
   paced calls, since an idle device clocks down.
5. What does not fit is given up in the order of :func:`grids`: whole batch sizes, then lengths,
   then the cap.  A profile has no holes.
6. With CUDA graphs time is flat between the captured shapes, so the grid is these, and there is no
   batch size between to measure (:func:`graph_sizes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from typing import NamedTuple

from .cost import Cost
from .metadata import ProfileError
from .models.buckets import SIZES

SAMPLES_LEAST, SAMPLES_MOST, SAMPLES_ANCHOR = 5, 50, 200
SIZES_BEYOND = (40, 48, 64, 96, 128, 192, 256, 384, 512)
"""Batch sizes above 32; up to there every size is measured."""
STEADY_SHARE, STEADY_CALLS, STEADY_LEAST = 0.15, 400, 60
"""Share of the budget for all steady series; calls in one; below the last it says too little."""
PACED_SHARE, PACED_CALLS = 0.10, 20
PACED_GAPS_NS = (20_000_000, 100_000_000)
SPARE = 1.2
"""The estimate is of median calls; stalls, the loop around them and the pilot's error take some."""


class Cell(NamedTuple):
    """A shape of the grid or of the hold-out."""

    batch_size: int
    length: int
    samples: int
    kind: str
    """``grid`` or ``holdout``."""


class Series(NamedTuple):
    """Calls of one shape in a row."""

    batch_size: int
    length: int
    calls: int
    gap_ns: int
    """Idle time before each; 0 is back to back."""

    @property
    def kind(self) -> str:
        """``paced`` or ``steady``."""
        return "paced" if self.gap_ns else "steady"


@dataclass(frozen=True)
class Warming:
    """What is run and thrown away before anything counts."""

    calls: int = 2
    """Of each new shape."""
    load_ns: int = 0
    """Of load before the first shape, for clocks to rise."""


CPU_WARMING, CUDA_WARMING = Warming(2), Warming(3, 1_500_000_000)


@dataclass(frozen=True)
class Plan:
    """Everything that will be measured, in phases."""

    cells: tuple[Cell, ...]
    series: tuple[Series, ...]
    warming: Warming
    cost: Cost
    dropped: tuple[str, ...] = ()
    """What did not fit, in words."""

    @property
    def rounds(self) -> int:
        """Rounds of grid and hold-out."""
        return max(cell.samples for cell in self.cells)

    def in_round(self, number: int) -> list[Cell]:
        """The cells of a round, counted from 0."""
        last = self.rounds
        return [
            cell
            for cell in self.cells
            if ceil((number + 1) * cell.samples / last) > ceil(number * cell.samples / last)
        ]

    def sizes(self) -> list[int]:
        """Batch sizes of the grid."""
        return sorted({cell.batch_size for cell in self.cells if cell.kind == "grid"})

    def lengths(self) -> list[int]:
        """Lengths of the grid."""
        return sorted({cell.length for cell in self.cells if cell.kind == "grid"})

    @property
    def series_ns(self) -> float:
        """Estimated time of steady and paced calls."""
        return SPARE * sum(_series_ns(series, self.cost) for series in self.series)

    @property
    def expected_ns(self) -> float:
        """Estimated time of everything."""
        warm = self.warming.load_ns + SPARE * sum(_warming_ns(self, cell) for cell in self.cells)
        timed = sum(cell.samples * self.cost(*cell[:2]) for cell in self.cells)
        return warm + SPARE * timed + self.series_ns


def _warming_ns(plan: Plan, cell: Cell) -> float:
    return plan.cost.first_ns + plan.warming.calls * plan.cost(*cell[:2])


def _series_ns(series: Series, cost: Cost) -> float:
    return series.calls * (series.gap_ns + cost(*series[:2]))


def all_sizes(cap: int) -> list[int]:
    """Every batch size up to 32, then those of :data:`SIZES_BEYOND`, up to the cap and with it."""
    return sorted({*range(1, min(cap, 32) + 1), *(s for s in SIZES_BEYOND if s < cap), cap})


def graph_sizes(cap: int) -> list[int]:
    """The batch sizes that have a CUDA graph, up to the cap and with it: it costs the next one."""
    top = range(2 * SIZES[-1], cap, SIZES[-1])
    return sorted({*(size for size in (*SIZES, *top) if size < cap), cap})


def grids(
    cap: int, lengths: Sequence[int], *, graphs: bool = False
) -> Iterator[tuple[list[int], list[int], str]]:
    """Grids to try, the fullest first, each with what it gives up in words.

    First batch sizes above 16 that 4 does not divide, then above 4; then all but the powers of two
    (and the cap); then every second length from the longest but one; then half the cap, and so on.
    """
    sizes, kept = graph_sizes(cap) if graphs else all_sizes(cap), sorted(lengths)
    yield sizes, kept, ""
    yield [s for s in sizes if s <= 16 or s % 4 == 0 or s == cap], kept, "sizes above 16 by 4"
    yield [s for s in sizes if s <= 4 or s % 4 == 0 or s == cap], kept, "sizes above 4 by 4"
    powers = [s for s in sizes if s & (s - 1) == 0 or s == cap]
    yield powers, kept, "sizes by powers of two"
    while len(kept) > 2:
        kept = [kept[0], *kept[1:-1][1::2], kept[-1]]
        words = f"sizes by powers of two, lengths {', '.join(map(str, kept))}"
        yield powers, kept, words
    while powers[-1] > 1:
        powers = [s for s in powers if s <= powers[-1] // 2] or [1]
        yield powers, kept, f"batch sizes up to {powers[-1]}, lengths {', '.join(map(str, kept))}"


def holdout_shapes(sizes: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Shapes off the grid: between lengths at three sizes, between sizes at three lengths."""
    between_lengths = [(a + b) // 2 for a, b in pairwise(lengths) if b - a > 1]
    between_sizes = [(a + b) // 2 for a, b in pairwise(sizes) if b - a > 1]
    spread = (sizes[0], sizes[len(sizes) // 2], sizes[-1])
    shapes = [(size, length) for length in between_lengths for size in spread]
    if between_sizes:
        some = (between_sizes[0], between_sizes[-1])
        shapes += [(size, length) for size in some for length in (lengths[0], lengths[-1])]
    return list(dict.fromkeys(shapes))


def planned(
    cap: int,
    lengths: Sequence[int],
    budget_ns: float,
    cost: Cost,
    warming: Warming = CPU_WARMING,
    *,
    graphs: bool = False,
) -> Plan:
    """The fullest plan that fits the budget.

    Args:
        cap: largest batch size.
        lengths: those of the fullest grid.
        budget_ns: time for everything.
        cost: what calls are thought to take.
        warming: what is run and thrown away.
        graphs: whether batches are padded up to captured shapes (rule 6).

    Raises:
        ProfileError: not even batch size 1 at two lengths fits; the sentence says what would.
    """
    for sizes, kept, words in grids(cap, lengths, graphs=graphs):
        series = _series(sizes, kept, budget_ns, cost)
        shapes = [(size, length, "grid") for size in sizes for length in kept]
        shapes += [(size, length, "holdout") for size, length in holdout_shapes(sizes, kept)]
        least = _plan(shapes, 0.0, series, warming, cost)
        if least.expected_ns > budget_ns:
            continue
        kinds = {one.kind for one in series}
        missing = [f"no {kind} calls" for kind in ("steady", "paced") if kind not in kinds]
        dropped = tuple(f"to fit the budget: {what}" for what in (words, *missing) if what)
        return _fullest(shapes, series, warming, cost, budget_ns, dropped)
    needed = ceil(least.expected_ns / 1e9)
    raise ProfileError(
        f"{budget_ns / 1e9:.2g} s of --budget are left after the pilot, but the smallest plan "
        f"(batch size 1, lengths {', '.join(map(str, kept))}) takes {needed} s: give a "
        f"longer budget or shorter lengths"
    )


def _fullest(
    shapes: list[tuple[int, int, str]],
    series: tuple[Series, ...],
    warming: Warming,
    cost: Cost,
    budget_ns: float,
    dropped: tuple[str, ...],
) -> Plan:
    """The plan with the most samples that fits, by bisection on the scale of rule 3."""
    low, high = 0.0, SAMPLES_ANCHOR * sqrt(max(cost(size, length) for size, length, _ in shapes))
    for _ in range(40):
        scale = (low + high) / 2
        fits = _plan(shapes, scale, series, warming, cost).expected_ns <= budget_ns
        low, high = (scale, high) if fits else (low, scale)
    full = _plan(shapes, high, series, warming, cost)
    best = full if full.expected_ns <= budget_ns else _plan(shapes, low, series, warming, cost)
    return Plan(best.cells, series, warming, cost, dropped)


def _plan(
    shapes: list[tuple[int, int, str]],
    scale: float,
    series: tuple[Series, ...],
    warming: Warming,
    cost: Cost,
) -> Plan:
    largest = max(size for size, _, _ in shapes)
    cells = []
    for size, length, kind in shapes:
        anchor = kind == "grid" and size in (1, largest)
        weight, most = (2.0, SAMPLES_ANCHOR) if anchor else (1.0, SAMPLES_MOST)
        wanted = int(scale * weight / sqrt(cost(size, length)))
        samples = min(max(wanted, SAMPLES_LEAST), most)
        cells.append(Cell(size, length, samples, kind))
    return Plan(tuple(cells), series, warming, cost)


def _series(
    sizes: Sequence[int], lengths: Sequence[int], budget_ns: float, cost: Cost
) -> tuple[Series, ...]:
    """Steady series of a small, a middle and a large shape, and paced calls of the first two.

    A shape too slow for its share gives way to the largest shape that is not.
    """
    each = STEADY_SHARE * budget_ns / 3 / SPARE
    by_cost = sorted((cost(s, n), s, n) for s in sizes for n in lengths)
    able = [(s, n) for ns, s, n in by_cost if STEADY_LEAST * ns <= each]
    if not able:
        return ()
    middle = (sizes[len(sizes) // 2], lengths[len(lengths) // 2])
    chosen = dict.fromkeys((able[0], middle if middle in able else able[len(able) // 2], able[-1]))
    steady = [Series(s, n, min(STEADY_CALLS, int(each / cost(s, n))), gap_ns=0) for s, n in chosen]
    paced = [Series(s, n, PACED_CALLS, gap) for s, n in list(chosen)[:2] for gap in PACED_GAPS_NS]
    took = SPARE * sum(_series_ns(series, cost) for series in paced)
    calls = int(PACED_CALLS * min(1.0, PACED_SHARE * budget_ns / took))
    if calls < SAMPLES_LEAST:
        paced = []
    return (*steady, *(series._replace(calls=calls) for series in paced))
