"""Policies over values of any key: ``sweep("bert", {"service.servers": [1, 2, 4]})``."""

from .compare import sweep

__all__ = ["sweep"]
