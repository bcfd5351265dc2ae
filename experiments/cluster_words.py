"""How the replicas of a cluster are used, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import table
from .wording import hundred, with_interval

if TYPE_CHECKING:
    from rich.table import Table

    from .results import Result


def replica_tables(found: Result) -> list[Table]:
    """One row a policy, where the service is a cluster of several replicas."""
    used = [(one, one.measures.replicas) for one in found.outcomes]
    there = [(one, use) for one, use in used if use is not None and len(use.utilisation) > 1]
    if not there:
        return []
    varies = any(use.mean is not None for _, use in there)
    more = ("ready,\nmean", "ready,\nleast", "ready,\nmost", "batches\nfailed") if varies else ()
    drawn = table("policy", "idlest,\nbusy %", "busiest,\nbusy %", *more, title="replicas")
    for outcome, use in there:
        busy = sorted(use.utilisation)
        cells = [hundred(busy[0]), hundred(busy[-1])]
        if use.mean is not None:
            cells += [with_interval(use.mean), str(use.least), str(use.most), f"{use.failed:,}"]
        drawn.add_row(outcome.policy, *cells)
    return [drawn]
