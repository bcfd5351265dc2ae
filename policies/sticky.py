"""What rules say that keep the requests of a sequence on one slot of one server.

A rule is sticky where its class defines ``slots``.  Before it decides, every driver then lets only
those requests into its lane whose turn it is (:mod:`sim.sequences`), so that the rule itself need
know nothing of sequences.  It says:

``slots``
    property: how many sequences a server holds at a time.
``places``
    property: True where a batch has a place for each slot, and costs as much as if all up to
    the last one in use were requests.  Without it a batch costs what its requests do.
``max_idle_ns``
    how long a sequence may send nothing before it loses its slot.

Where requests belong to no sequences a sticky rule is an ordinary one.
"""

from __future__ import annotations

from .contract import NEVER, Policy


def slots(policy: Policy) -> int:
    """How many sequences a server holds at a time; 0 where the policy is not sticky."""
    return int(getattr(policy, "slots", 0))


def has_places(policy: Policy) -> bool:
    """Whether a batch has a place for each slot."""
    return bool(getattr(policy, "places", False))


def max_idle_ns(policy: Policy) -> int:
    """How long a sequence may send nothing; NEVER where the policy does not say."""
    return int(getattr(policy, "max_idle_ns", NEVER))
