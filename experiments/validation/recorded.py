"""A live window on disk, with all that a replay needs: no device, no clock, no profile.

A folder holds ``requests.csv``, ``batches.csv`` and ``trace.json`` of :meth:`sim.trace.Trace.save`,
and ``window.json``:

1. ``policy``, its table as in a scenario, and its name; ``load``, ``round``, ``attempt`` and
   ``condition`` as measured; ``device``, what is known of it.
2. ``service``: the calibrated table ``service_ns`` (models, sizes, edges) with ``length_edges``,
   the limits of the queue, and how the servers stand together where it is not one queue for all.
3. ``workload``: patience, think times and the end of the run, where there are any; everything else
   is in the trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plain import dumps
from experiments.rules import policy_of
from policies.contract import NEVER, IntArray, Policy
from sim.errors import WorkloadError
from sim.service import Idling, Service
from sim.trace import Trace
from sim.trace_files import is_whole, read_json, wrong_key
from sim.workload import NO_TIMES, ClosedLoop, Workload

from .predict import replayed
from .recorded_cluster import cluster_of, plain_cluster
from .summary import REPLAYED, error, summary_of
from .windows import Condition, Window

FORMAT = 1
FILE = "window.json"
LIMITS = ("servers", "capacity", "capacity_counts_in_system", "longest_admitted")
"""Fields of a service that are plain numbers."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """A window and what it ran on."""

    window: Window
    table: Mapping[str, Any]
    """The policy, as in a scenario."""
    workload: Workload
    service: Service
    """Calibrated, without noise."""
    device: Mapping[str, Any]

    @property
    def policy(self) -> Policy:
        """Not bound."""
        return policy_of(self.table)

    @property
    def busy(self) -> float:
        """Measured share of time that the servers were busy."""
        return summary_of(self.window.trace).values["busy"]

    def replay_errors(self) -> dict[str, float | None]:
        """Signed error of mean, p50, p90 and p99 when the simulator is fed the window's times."""
        live = self.window.trace
        late_ns = self.window.late_ns
        replay = replayed(self.policy, self.workload, self.service, live, late_ns)
        measured, found = summary_of(live).values, summary_of(replay.trace).values
        return {name: error(measured[name], found[name]) for name in REPLAYED}


def save(
    folder: str | Path,
    window: Window,
    table: Mapping[str, Any],
    workload: Workload,
    service: Service,
    device: Mapping[str, Any],
) -> Path:
    """Write a window into a folder, which is made if need be; returns the folder.

    Args:
        folder: of this window alone.
        window: as measured.
        table: the policy's table of a scenario, with its ``kind``.
        workload: what the window replayed.
        service: what the policy was bound to.
        device: plain values.
    """
    folder = window.trace.save(folder, "csv")
    about = {
        "format": FORMAT,
        "policy": {"name": window.policy, "table": table},
        "load": window.load,
        "round": window.round,
        "attempt": window.attempt,
        "condition": asdict(window.condition),
        "late_ns": window.late_ns,
        "device": device,
        "service": {
            "service_ns": service.service_ns,
            "length_edges": service.length_edges,
            "idling": service.idling._asdict(),
            **{name: getattr(service, name) for name in LIMITS},
            "tier_capacity": service.tier_capacity,
            "cluster": plain_cluster(service.cluster, len(window.trace)),
        },
        "workload": {
            "timeout_ns": workload.timeout_ns,
            "think_ns": None if workload.closed is None else workload.closed.think_ns,
            "until_ns": workload.until_ns,
        },
    }
    (folder / FILE).write_text(dumps(about, indent=None), encoding="utf-8")
    return folder


def load(folder: str | Path) -> Recorded:
    """Read what :func:`save` wrote.

    Raises:
        WorkloadError: a file is missing or broken, or what they hold does not go together.
    """
    folder = Path(folder)
    place = folder / FILE
    about = read_json(place)
    if about.get("format") != FORMAT:
        raise wrong_key(place, about, "format", str(FORMAT))
    trace = Trace.load(folder)
    with told(place):
        service = _service(about["service"])
        found = Recorded(
            Window(
                str(about["policy"]["name"]),
                about["load"],
                about["round"],
                about["attempt"],
                trace,
                Condition(**about["condition"]),
                None if about["late_ns"] is None else np.array(about["late_ns"], dtype=np.int64),
            ),
            about["policy"]["table"],
            _workload(trace, about["workload"]),
            service,
            about["device"],
        )
        service.policies(found.policy, trace.tiers)
    _go_together(place, found)
    return found


@contextmanager
def told(place: Path) -> Iterator[None]:
    """Say where a value is none of what it has to be.

    Raises:
        WorkloadError: in one sentence.
    """
    try:
        yield
    except KeyError as error:
        raise WorkloadError(f"{place}: {error.args[0]} is missing; measure it again") from error
    except (TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        raise WorkloadError(f"{place} holds a wrong value: {error}; measure it again") from error


def _go_together(place: Path, found: Recorded) -> None:
    """What is in the window's file is about the requests and the servers of its trace.

    Raises:
        WorkloadError: it is not.
    """
    trace, service, workload = found.window.trace, found.service, found.workload
    late, times, closed = found.window.late_ns, service.service_ns, workload.closed
    asked = len(workload.timeout_ns)
    cluster = service.cluster
    for holds, rule in (
        (times.ndim == 3 and times.size and times.min() >= 1, "service_ns is a table of times"),
        (service.length_edges.shape == times.shape[2:], "every length edge has its times"),
        ((np.diff(service.length_edges, prepend=0) > 0).all(), "length_edges increase"),
        (trace.length.max(initial=0) <= service.length_edges[-1:].sum(), "all lengths have times"),
        (len(times) in (1, len(trace.tiers)), "there is one table, or one for each tier"),
        (trace.batch_size.max(initial=0) <= times.shape[1:2][0], "all sizes have times"),
        (service.servers == trace.servers, "servers are those of the trace"),
        (late is None or late.shape == (len(trace),), "late_ns has a number for each request"),
        (late is None or (late >= 0).all(), "late_ns is not below 0"),
        (asked in (0, len(trace)), "timeout_ns has a number for each request"),
        ((workload.timeout_ns > 0).all(), "timeout_ns is above 0"),
        (closed is None or _cycles(closed.think_ns), "think_ns has a number for each cycle"),
        (len(service.tier_capacity) in (0, len(trace.tiers)), "tier_capacity is one a tier"),
        (cluster is None or cluster.servers == trace.servers, "the cluster has all servers"),
    ):
        if not holds:
            raise WorkloadError(f"{place}: {rule} must hold, but does not; measure it again")


def _cycles(think_ns: IntArray) -> bool:
    return bool(think_ns.ndim == 2 and think_ns.size and think_ns.min() >= 0)


def _service(found: Mapping[str, Any]) -> Service:
    """What the policy was bound to."""
    limits = {name: found[name] for name in LIMITS}
    for name, value in limits.items():
        if not is_whole(int(value), 0):
            raise ValueError(f"{name} = {value!r} must be a whole number, not below 0")
    return Service(
        np.array(found["service_ns"], dtype=np.int64),
        np.array(found["length_edges"], dtype=np.int64),
        idling=Idling(**{name: float(value) for name, value in found["idling"].items()}),
        **limits,
        tier_capacity=np.array(found.get("tier_capacity", ()), dtype=np.int64),
        cluster=cluster_of(found.get("cluster")),
    )


def _workload(trace: Trace, more: Mapping[str, Any]) -> Workload:
    """The requests of a trace, as they were asked for."""
    think_ns = more["think_ns"]
    return Workload(
        length=trace.length,
        arrival_ns=NO_TIMES if think_ns is not None else trace.arrival_ns,
        tier=trace.tier if len(trace.tiers) > 1 else np.zeros(0, dtype=np.int8),
        timeout_ns=np.array(more["timeout_ns"], dtype=np.int64),
        closed=None if think_ns is None else ClosedLoop(np.array(think_ns, dtype=np.int64)),
        tiers=trace.tiers,
        length_unit=trace.length_unit,
        until_ns=more.get("until_ns", NEVER),
    )
