"""What holds for every test: it is the same each time, and it has the core that it runs on.

1. Hypothesis draws the same examples each time and has no deadline: a failure can be had again by
   running the test alone, and no machine is too slow to pass.
2. OpenBLAS, which numpy and scipy bring, keeps to one thread.  Two test processes with a thread on
   every core wait for one another, spinning: small systems of equations then take 30 times as long.
"""

from __future__ import annotations

import gc
import os
from functools import cache

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported

import pytest
from hypothesis import HealthCheck, settings

from policies.compiled_twin import CompiledTwin

compiled = CompiledTwin._compiled

settings.register_profile(
    "batchwright",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("batchwright")


@pytest.fixture
def unswept(monkeypatch):
    """No sweep of memory before a measurement: in a process that holds every test it takes long."""
    monkeypatch.setattr(gc, "collect", lambda *_: 0)


@cache
def compiled_once(function, signature):
    return compiled(function, signature)


@pytest.fixture
def shared_twins(monkeypatch):
    """Examples of one shipped rule with the same types share their compiled methods."""
    monkeypatch.setattr(CompiledTwin, "_compiled", staticmethod(compiled_once))
