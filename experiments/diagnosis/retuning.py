"""The rule of a run with another batch size or another wait."""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.contract import Policy
from policies.size_or_timeout import SizeOrTimeout
from sim.service import Service

CAPS = ("max_batch_size", "batch_size")
"""What rules call their largest batch."""


def _cap_field(policy: Policy) -> str:
    """The field of a rule's largest batch; empty where it has none."""
    return next((name for name in CAPS if hasattr(policy, name)), "")


def cap_of(policy: Policy, service: Service) -> int:
    """The largest batch that a rule makes."""
    own = getattr(policy, _cap_field(policy) or CAPS[0], 0)
    found = int(np.max(own)) if np.size(own) else 0
    return min(found or service.largest_batch, service.largest_batch)


def wait_of(policy: Policy) -> int:
    """The longest wait of a rule, 0 where it has none."""
    own = getattr(policy, "max_wait_ns", 0)
    return int(np.max(own)) if np.size(own) else 0


def with_cap(policy: Policy, cap: int) -> Policy:
    """The same rule with another largest batch; a rule without one becomes size-or-timeout."""
    field = _cap_field(policy)
    if not field:
        return SizeOrTimeout(cap, wait_of(policy))
    changes: dict[str, Any] = {field: _like(policy, field, cap)}
    if hasattr(policy, "min_batch_size"):
        smallest = getattr(policy, "min_batch_size")  # noqa: B009 - a field of some rules only
        changes["min_batch_size"] = min(smallest, cap)
    return _changed(policy, changes)


def with_wait(policy: Policy, wait_ns: int, cap: int) -> Policy:
    """The same rule with another wait; a rule without one becomes size-or-timeout."""
    if not hasattr(policy, "max_wait_ns"):
        return SizeOrTimeout(cap, wait_ns)
    return _changed(policy, {"max_wait_ns": _like(policy, "max_wait_ns", wait_ns)})


def _like(policy: Policy, field: str, value: int) -> Any:
    """A number, or as many of them as the rule has; one where an array says nothing yet."""
    own = getattr(policy, field)
    if not isinstance(own, np.ndarray):
        return value
    return np.full(max(1, len(own)), value, dtype=np.int64)


def _changed(policy: Policy, changes: dict[str, Any]) -> Policy:
    changed: Policy = policy._replace(**changes)  # type: ignore[attr-defined]
    return changed
