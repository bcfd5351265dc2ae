"""The figure of a search space: the objective over the largest batch and the longest wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.plots import axes_or_new
from experiments.style import FAINT, plain_ticks, styled

from .looks import WIDE, axis_name, scale
from .search import Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from .contestants import Setting
    from .goal import Measure
    from .result import Tuning

SIZE, WAIT = "max_batch_size", "max_wait_ms"
"""The keys of the two axes of the surface."""

COLOURS, LIGHTEST = "viridis", 0.9
"""Dark is good; lightness alone tells values apart, also for readers who confuse colours."""

FEWEST_FOR_LINES = 24
"""Settings from which on lines of equal objective are drawn."""

SHARES = (0.05, 0.1, 0.2, 0.5)
"""Lines of equal objective stand so far from the best one that was tried."""

LONGEST_SIDE = 0.34
"""A line crosses no triangle of settings with a longer side, as a share of the panel."""


def surface_policies(found: Tuning) -> list[str]:
    """Policies with a size and one wait, the winner's first, then those with most trials."""
    counts: dict[str, int] = {}
    for one in found.tried:
        if SIZE in one.setting.table and isinstance(one.setting.table.get(WAIT), int | float):
            counts[one.setting.name] = counts.get(one.setting.name, 0) + 1
    best = None if found.winner is None else found.winner.setting.name
    return sorted(counts, key=lambda name: (name != best, -counts[name]))


def surface(
    found: Tuning, policy: str | None = None, objective: int = 0, ax: Axes | None = None
) -> Axes:
    """An objective over the largest batch and the longest wait of a policy, as it was tried.

    Every setting is a mark: a dot where it is feasible, a hollow square where it breaks a
    constraint, a cross where it cannot keep up.  Lines of equal objective are drawn only for a
    policy without other numbers, and only between settings that lie close.

    Raises:
        ValueError: no policy, or not the given one, has both numbers.
    """
    names = surface_policies(found)
    if not names or (policy is not None and policy not in names):
        there = f"; there are {', '.join(names)}" if names else ""
        raise ValueError(
            f"{policy or 'no policy that was tried'} has not both {SIZE} and {WAIT}{there}"
        )
    name = policy or names[0]
    measure, times = found.goal.objectives[objective], scale(found.goal.objectives[objective])
    own = [one for one in found.tried if one.setting.name == name]
    points = {id(one): (_size(one.setting), _wait(one)) for one in own}
    zero_at = _zero_at([y for _, y in points.values()])
    with styled():
        axes = axes_or_new(ax, 7.6, 4.6)
        steady = [one for one in own if one.score.values is not None]
        steady.sort(key=lambda one: _rank(one, objective, measure.sign), reverse=True)
        x = np.array([points[id(one)][0] for one in steady])
        y = np.array([points[id(one)][1] or zero_at for one in steady])
        z = np.array([times * one.score.values[objective] for one in steady if one.score.values])
        good = np.array([one.score.feasible for one in steady], dtype=bool)
        axes.set_xscale("log")
        axes.set_yscale("log")
        lost = [points[id(one)] for one in own if one.score.values is None]
        axes.scatter([a for a, _ in lost], [b or zero_at for _, b in lost], marker="x", s=20,
                     color="#94a4a2", lw=0.9, label=_lost(found))  # fmt: skip
        if len(z):
            _marks(axes, (x, y, z), good, measure)
        if len(z) >= FEWEST_FOR_LINES and _only_two(own):
            _lines(axes, x, y, z, measure.sign)
        _limits(axes, [a for a, _ in points.values()], [b or zero_at for _, b in points.values()])
        _mark_winner(axes, found, name, zero_at)
        _name_axes(axes, name, measure, zero_at)
        return axes


def _limits(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Room around every mark."""
    for values, put in ((x, axes.set_xlim), (y, axes.set_ylim)):
        low, high = min(values), max(values)
        room = max((high / low) ** 0.06, 1.2)
        put(low / room, high * room)


def _size(setting: Setting) -> float:
    """The largest batch; of buckets that memory holds to sizes of their own, the largest of all."""
    return float(np.max(setting.table[SIZE]))


def _wait(one: Tried) -> float:
    return float(one.setting.table[WAIT])


def _lost(found: Tuning) -> str:
    return "meets the SLO at no rate" if found.goal.finds_load else "cannot keep up"


def _rank(one: Tried, objective: int, sign: float) -> tuple[bool, float]:
    assert one.score.values is not None, "only those with values are ranked"
    return (not one.score.feasible, sign * one.score.values[objective])


def _zero_at(waits: Sequence[float]) -> float:
    """Where no wait at all stands on the log axis: a step below the least wait."""
    return min((wait for wait in waits if wait > 0.0), default=1.0) / 2.5


def _marks(axes: Axes, points: tuple[Any, Any, Any], good: Any, measure: Measure) -> None:
    """Settings that keep up, the best on top, coloured by the objective."""
    x, y, z = points
    norm, shades = _norm(z, z[good] if good.any() else z), _map(measure.sign)
    for which, shape, size, label in (
        (~good, "s", 17, "breaks a constraint"),
        (good, "o", 42, "feasible"),
    ):
        if not which.any():
            continue
        colours = shades(norm(z[which]))
        face = colours if shape == "o" else "none"
        edge = "white" if shape == "o" else colours
        axes.scatter(x[which], y[which], marker=shape, s=size, c=face, edgecolors=edge,
                     linewidths=0.5 if shape == "o" else 1.2, label=label, zorder=3)  # fmt: skip
    from matplotlib.cm import ScalarMappable

    bar = axes.figure.colorbar(
        ScalarMappable(norm, shades), ax=axes, pad=0.02, extend=_extend(z, norm)
    )
    bar.set_label(axis_name(measure) + (" (log scale)" if _is_log(norm) else ""), fontsize=9)
    bar.outline.set_visible(False)
    if _is_log(norm):
        plain_ticks(bar.ax, "y")


def _norm(values: Any, good: Any) -> Normalize:
    """The scale of the colours: over the feasible values, and a little beyond them."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(good.min()), float(good.max())
    if len(good) < len(values):
        low, high = max(low / 1.5, float(values.min())), min(high * 1.5, float(values.max()))
    if high <= low:
        low, high = low - 0.5 * abs(low or 1.0), high + 0.5 * abs(high or 1.0)
    return LogNorm(low, high) if low > 0.0 and high > WIDE * low else Normalize(low, high)


def _is_log(norm: Normalize) -> bool:
    from matplotlib.colors import LogNorm

    return isinstance(norm, LogNorm)


def _map(sign: float) -> Any:
    """From dark to light as values get worse."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    shades = mpl.colormaps[COLOURS](np.linspace(0.0, LIGHTEST, 256))
    return ListedColormap(shades if sign > 0 else shades[::-1])


def _extend(values: Any, norm: Normalize) -> Any:
    assert norm.vmin is not None, "it was given"
    assert norm.vmax is not None, "it was given"
    below, above = bool(values.min() < norm.vmin), bool(values.max() > norm.vmax)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (below, above), "neither"
    )


def _only_two(own: Sequence[Tried]) -> bool:
    """Whether nothing but size and wait differs between the settings."""
    rest = {
        repr([(k, v) for k, v in one.setting.table.items() if k not in (SIZE, WAIT)])
        + str(one.setting.servers)
        for one in own
    }
    return len(rest) == 1


def _lines(axes: Axes, x: Any, y: Any, z: Any, sign: float) -> None:
    """Lines at shares worse than the best setting, over triangles of neighbouring settings."""
    from matplotlib.tri import Triangulation

    place = np.column_stack([np.log(x), np.log(y)])
    span = np.ptp(place, axis=0)
    if not (span > 0.0).all():
        return
    place = (place - place.min(axis=0)) / span
    unique, first = np.unique(place, axis=0, return_index=True)
    if len(unique) < FEWEST_FOR_LINES:
        return
    mesh = Triangulation(unique[:, 0], unique[:, 1])
    corners = unique[mesh.triangles]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    far = sides.max(axis=1) > LONGEST_SIDE
    if far.all():
        return
    drawn = Triangulation(x[first], y[first], mesh.triangles, far)
    values = z[first] / (z.min() if sign > 0 else z.max())
    shares = [share for share in SHARES if values.min() < 1.0 + sign * share < values.max()]
    if z.min() <= 0.0 or not shares:
        return
    levels = {1.0 + sign * share: f"{100 * sign * share:+.0f} %" for share in shares}
    lines = axes.tricontour(
        drawn, values, levels=sorted(levels), colors="#94a4a2", linewidths=0.9, zorder=1
    )
    axes.clabel(lines, fontsize=7.5, colors="#717581", fmt=lambda level: levels[level])


def _mark_winner(axes: Axes, found: Tuning, name: str, zero_at: float) -> None:
    """A ring around the best judged setting of the policy: the winner, where it is of this one."""
    one = found.winner
    if one is None or one.setting.name != name or one.role != "tuned":
        return
    if SIZE not in one.setting.table or WAIT not in one.setting.table:
        return
    axes.scatter(
        [_size(one.setting)], [one.setting.table[WAIT] or zero_at], marker="o", s=190,
        facecolors="none", edgecolors="#bd1f01", linewidths=1.8, label="winner", zorder=5,
    )  # fmt: skip


def _name_axes(axes: Axes, name: str, measure: Measure, zero_at: float) -> None:
    plain_ticks(axes, "x")
    plain_ticks(axes, "y")
    low, high = axes.get_ylim()
    if low <= zero_at:
        ticks = [t for t in axes.get_yticks() if 1.6 * zero_at < t and low <= t <= high]
        axes.set_yticks([zero_at, *ticks], ["0", *(f"{t:,.10g}" for t in ticks)])
        axes.axhline(zero_at * 1.55, color=FAINT, lw=0.8, ls=(0, (1, 2)), zorder=0)
        axes.set_ylim(low, high)
    axes.minorticks_off()
    axes.set_xlabel("largest batch, requests (log scale)")
    axes.set_ylabel("longest wait, ms (log scale; 0: no wait)")
    axes.set_title(f"{measure.title} of {name}, as searched", pad=22)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.1, handletextpad=0.2,
        columnspacing=1.2, borderpad=0.1,
    )  # fmt: skip
