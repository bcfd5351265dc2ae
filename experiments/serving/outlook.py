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

from policies.contract import FloatArray, IntArray, Policy
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
        RequestError: it is none, or its times are of other batch sizes.
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
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise RequestError("times.lengths must be lengths that increase")
    rows, sizes = table.get("ns"), service.service_ns.shape[1]
    if not isinstance(rows, list) or len(rows) != sizes:
        raise RequestError(f"times.ns must be a list of {sizes} lists, one a batch size")
    for at, row in enumerate(rows):
        if len(_numbers(row, f"times.ns[{at}]")) != len(edges):
            raise RequestError(f"times.ns[{at}] must have {len(edges)} numbers, one a length")
        if not all(1 <= value <= LATENCY_NS_MAX for value in row):
            raise RequestError(f"times.ns[{at}] must be times above 0 and below 11 days")
    return at_own_lengths(np.array(edges, dtype=np.float64), np.array(rows), service)


def at_own_lengths(
    edges: FloatArray | IntArray, times_ns: FloatArray | IntArray, service: Service
) -> IntArray:
    """Times at the lengths that a server knows.

    Shorter or longer than any that is given, the server's own times are off by as much as they are
    at the nearest that is.

    Args:
        edges: (lengths,), increasing.
        times_ns: (largest batch, lengths), with as many batch sizes as the server has.
        service: of the server.

    Returns:
        int64 (1, largest batch, edges of the server).
    """
    own_edges = service.length_edges
    there = np.clip(own_edges, edges[0], edges[-1])
    found = [
        own * np.interp(there, edges, given) / np.interp(there, own_edges, own)
        for own, given in zip(service.service_ns[0], times_ns, strict=True)
    ]
    whole: IntArray = np.maximum(1, np.rint(np.array([found]))).astype(np.int64)
    return whole


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


__all__ = ["SAME", "Outlook", "adopt", "at_own_lengths", "read", "written"]
