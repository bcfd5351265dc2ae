"""What holds for every test: hypothesis draws the same examples each time, and has no deadline.

A failure can be had again by running the test alone, and no machine is too slow to pass.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "batchwright",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("batchwright")
