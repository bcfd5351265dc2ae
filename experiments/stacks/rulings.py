"""Kinds of policies that are stacks, by the name under which this project has them."""

from __future__ import annotations

from typing import Any

from policies import POLICIES
from policies.collection_window import CollectionWindow

WINDOW: type = CollectionWindow


def table_of(cls: type, **parameters: Any) -> dict[str, Any]:
    """A scenario's table for a policy of a class."""
    return {"kind": kind_of(cls), **parameters}


def kind_of(cls: type) -> str:
    """Its key in :data:`policies.POLICIES`."""
    return next(kind for kind, known in POLICIES.items() if known is cls)
