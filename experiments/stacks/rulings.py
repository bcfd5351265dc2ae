"""Policies that are stacks: those of this project by the kind that it has them under, and more."""

from __future__ import annotations

from typing import Any

from experiments.rules import build_rule
from policies import POLICIES
from policies.collection_window import CollectionWindow
from policies.contract import Policy

from .ahead import FormedAhead
from .contract import Ruling

WINDOW: type = CollectionWindow
AHEAD: type = FormedAhead

KINDS: dict[str, type] = {**POLICIES, "formed_ahead": AHEAD}
"""Also what only a stack does, and nobody would ask for."""


def table_of(cls: type, **parameters: Any) -> dict[str, Any]:
    """A scenario's table for a policy of a class."""
    return {"kind": kind_of(cls), **parameters}


def kind_of(cls: type) -> str:
    """Its key in :data:`KINDS`."""
    return next(kind for kind, known in KINDS.items() if known is cls)


def policy_of(ruling: Ruling) -> Policy:
    """The policy of a ruling, not yet bound."""
    policy: Policy = build_rule(ruling.table, KINDS, "policy")
    return policy
