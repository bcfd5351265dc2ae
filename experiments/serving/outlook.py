"""What a policy was chosen for: what is expected of life from now on, and what batches cost.

A setting that was tuned for other traffic, or for other times of the device, comes with both
(``PUT /policy``): the alarm that said "tune again" then watches the new prediction, and rules that
know of service times know those that they were tuned for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from policies.contract import IntArray, Policy
from profiles.latency import LATENCY_NS_MAX
from sim.service import Service

from .drift import Drift, Expected, Interval
from .driver import Driver
from .open_inference import RequestError

BINS_MOST = 4096


class Outlook(NamedTuple):
    """See the module's docstring; what is None stays as it is."""

    expected: Expected | None = None
    service_ns: IntArray | None = None
    """int64 (1, largest batch, edges), as :class:`sim.service.Service` has it."""


SAME = Outlook()


def adopt(
    driver: Driver, drift: Drift | None, policy: Policy, table: Mapping[str, Any], outlook: Outlook
) -> None:
    """Another policy from the next batch on, with its outlook.

    Raises:
        ValueError: a parameter of the policy is out of range; everything stays.
        DriverError: the driver has ended.
    """
    driver.change(policy, table, outlook.service_ns)
    if drift is not None and outlook.expected is not None:
        drift.renew(outlook.expected)


def written(expected: Expected | None, service: Service | None = None) -> dict[str, Any]:
    """An outlook as JSON has it, beside the policy.

    Args:
        expected: of windows; None: what the server expects.
        service: whose times policies shall know; None: those that the server has.
    """
    found: dict[str, Any] = {}
    if expected is not None:
        found["expected"] = {
            "arrivals": list(expected.arrivals),
            "service": list(expected.service),
            "lengths": {
                "up_to": expected.bins.tolist(),
                "share": expected.below.tolist(),
                "distance": expected.distance,
            },
        }
    if service is not None:
        found["times"] = {
            "lengths": service.length_edges.tolist(),
            "ns": service.service_ns[0].tolist(),
        }
    return found


def read(content: Mapping[str, Any], service: Service) -> Outlook:
    """The outlook beside a policy.

    Args:
        content: JSON.
        service: what the server knows of times.

    Raises:
        RequestError: it is none, or its times are of another grid.
    """
    for key in content:
        if key not in ("policy", "expected", "times"):
            raise RequestError(f"unknown key {key[:60]}; there are policy, expected and times")
    expected, times = content.get("expected"), content.get("times")
    return Outlook(
        None if expected is None else _expected(expected),
        None if times is None else _times_ns(times, service),
    )


def _expected(content: Any) -> Expected:
    table = _table(content, "expected")
    lengths = _table(table.get("lengths"), "expected.lengths")
    bins = _numbers(lengths.get("up_to"), "expected.lengths.up_to")
    below = _numbers(lengths.get("share"), "expected.lengths.share")
    distance = _numbers([lengths.get("distance")], "expected.lengths.distance")[0]
    increase = all(low < high for low, high in pairwise(bins))
    if not (0 < len(bins) == len(below) <= BINS_MOST and increase):
        raise RequestError(
            f"expected.lengths.up_to must be 1 to {BINS_MOST} lengths that increase, and share as "
            f"many shares, but there are {len(bins)} and {len(below)}"
        )
    return Expected(
        arrivals=_interval(table.get("arrivals"), "expected.arrivals"),
        service=_interval(table.get("service"), "expected.service"),
        bins=np.array(bins, dtype=np.int64),
        below=np.array(below, dtype=np.float64),
        distance=distance,
    )


def _times_ns(content: Any, service: Service) -> IntArray:
    table = _table(content, "times")
    edges = _numbers(table.get("lengths"), "times.lengths")
    if edges != service.length_edges.tolist():
        raise RequestError(
            f"times.lengths must be the {len(service.length_edges)} lengths that the server was "
            f"started with, {service.length_edges[0]} to {service.length_edges[-1]}: start it again"
        )
    rows, shape = table.get("ns"), service.service_ns.shape
    if not isinstance(rows, list) or len(rows) != shape[1]:
        raise RequestError(f"times.ns must be a list of {shape[1]} lists, one a batch size")
    for at, row in enumerate(rows):
        if len(_numbers(row, f"times.ns[{at}]")) != shape[2]:
            raise RequestError(f"times.ns[{at}] must have {shape[2]} numbers, one a length")
        if not all(1 <= value <= LATENCY_NS_MAX for value in row):
            raise RequestError(f"times.ns[{at}] must be times above 0 and below 11 days")
    return np.array(rows, dtype=np.int64)[np.newaxis]


def _table(content: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise RequestError(f"{place} must be an object")
    return content


def _interval(content: Any, place: str) -> Interval:
    numbers = _numbers(content, place)
    if len(numbers) != 3 or not numbers[0] <= numbers[1] <= numbers[2]:
        raise RequestError(f"{place} must be [low, usual, high]")
    return Interval(*numbers)


def _numbers(content: Any, place: str) -> Sequence[float]:
    numbers = isinstance(content, list) and all(
        type(value) in (int, float) and math.isfinite(value) and value >= 0 for value in content
    )
    if not numbers:
        raise RequestError(f"{place} must be numbers of at least 0")
    return list(content)


__all__ = ["SAME", "Outlook", "adopt", "read", "written"]
