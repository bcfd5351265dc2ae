"""More servers of the same kind, on one queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .world import World


def with_servers(world: World, servers: int) -> World:
    """The same world with another number of servers; routers and shared GPUs are left out."""
    changes: dict[str, Any] = {"servers": servers}
    if getattr(world.service, "cluster", None) is not None:
        changes["cluster"] = None
    return replace(world, service=replace(world.service, **changes))
