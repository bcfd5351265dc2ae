"""A live run held against the simulator: predictions, errors, coverage, and what may be claimed.

What was measured comes as :class:`Window` objects and one :class:`Calibration`; nothing here needs
a device, a clock or a running server::

    calibration = Calibration(profile, block_factors)
    service = calibration.service(servers=1)  # what the policies were bound to, live
    found = judged(
        facts,  # of the scenario: name, hash, requests, seeds, ...: plain values
        policies,  # Mapping[str, Policy], not bound
        workloads,  # Mapping[float | None, Workload], by load
        calibration,
        windows,  # Sequence[Window], rejected ones included
        service,
        device={},  # what the windows ran on: plain values
        replications=200,
        seed=3,
        seconds=0.0,
        engine="kernel",  # or "simpy", for rules that do not compile
        bound_to=None,  # or one Service a window, where the calibration went on beside them
        progress=nothing,
    )  # -> Validation
    found.verdict, found.to_json(), found.to_frame(), found.plot.ecdf()

    shown.validation_tables(found, width=100)  # -> list of rich renderables
    figures.figures_of(found)  # -> dict[str, Figure], as of a tuning
    recorded.save(folder, window, table, workload, service, device)
    recorded.load(folder)  # -> Recorded, for a replay at any time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .calibration import Calibration
from .windows import Condition, Window

if TYPE_CHECKING:
    from .judge import judged
    from .result import Validation

__all__ = ["Calibration", "Condition", "Validation", "Window", "judged"]


def __getattr__(name: str) -> Any:
    """``judged`` and ``Validation``, when they are first used: they import the compiled kernel."""
    if name == "judged":
        from .judge import judged

        return judged
    if name == "Validation":
        from .result import Validation

        return Validation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
