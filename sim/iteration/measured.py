"""Times of iterations from a measured profile: the formula and grid that rules and drivers read."""

from __future__ import annotations

from policies.iteration.times import StepTimes
from profiles.steps import StepProfile


def step_times(profile: StepProfile) -> StepTimes:
    """What a rule may know of a profile, and what the simulators take as the time."""
    return StepTimes(*profile.form())
