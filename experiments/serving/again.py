"""A policy read once more while it is served: SIGHUP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from policies.contract import Policy

from .chosen import Chosen
from .foretold import outlook_of
from .offer import Offer
from .outlook import Outlook


def read_again(
    read: Callable[[], Chosen], offer: Offer, window_ns: int | None, tell: Callable[[str], None]
) -> tuple[Policy, Mapping[str, Any], Outlook] | None:
    """The policy as it is written now, and what its scenario lets one expect.

    Args:
        read: reads it.
        offer: what is served.
        window_ns: of the drift alarm; None: there is none.
        tell: given a sentence: what is served now, or why it is the policy before.
    """
    try:
        found = read()
        outlook = outlook_of(found.scenario, found.policy, offer.service, window_ns)
        offer.service.policies(found.policy, offer.tiers)
    except (OSError, ValueError) as error:
        tell(f"error: {' '.join(str(error).split())}; the policy before goes on")
        return None
    tell(f"policy {found.name} from the next batch on")
    return found.policy, found.table, outlook


__all__ = ["read_again"]
