"""Continuous batching for people: scenario files with an ``[engine]``, and what is done with them.

The functions have the names of the commands.
"""

from __future__ import annotations

from .compare import compare, simulate
from .config import load_scenario
from .results import TokenComparison
from .scenario import TokenScenario

__all__ = ["TokenComparison", "TokenScenario", "compare", "load_scenario", "simulate"]
