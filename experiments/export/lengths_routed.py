"""Ranges of length on a stack that has no lanes: a model for each, and what a router must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .plan import Lane, Plan, Window
from .setting import Setting


class Route(NamedTuple):
    """A model of the stack, for a range of lengths."""

    model: str
    folder: str
    """Where its files go, with a slash at its end; empty where there is one model."""
    lane: Lane

    @property
    def window(self) -> Window:
        """When a batch starts."""
        return self.lane.window


def routes(setting: Setting, plan: Plan) -> tuple[Route, ...]:
    """The models of a plan, by length."""
    if len(plan.lanes) == 1:
        return (Route(setting.model, "", plan.lanes[0]),)
    named = [(f"{setting.model}-{_range(lane)}", lane) for lane in plan.lanes]
    return tuple(Route(name, f"{name}/", lane) for name, lane in named)


def route_notes(setting: Setting, plan: Plan) -> tuple[str, ...]:
    """The rule of the router, a clause without its full stop; none where there is one model."""
    if len(plan.lanes) == 1:
        return ()
    rules = "; ".join(
        f"{_lengths(route.lane, setting.length_unit)} to {route.model}"
        for route in routes(setting, plan)
    )
    return (f"the router sends {rules}",)


def file_of_each(
    setting: Setting, plan: Plan, name: str, text: Callable[[Route], str]
) -> dict[str, str]:
    """A file of the same ``name`` for every model of a plan."""
    return {f"{route.folder}{name}": text(route) for route in routes(setting, plan)}


def _range(lane: Lane) -> str:
    return f"above-{lane.low}" if lane.high is None else f"to-{lane.high}"


def _lengths(lane: Lane, unit: str) -> str:
    if lane.high is None:
        return f"lengths above {lane.low} {unit}"
    if lane.low is None:
        return f"lengths up to and including {lane.high} {unit}"
    return f"lengths above {lane.low} up to and including {lane.high} {unit}"
