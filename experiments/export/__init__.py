"""Settings written as the files of serving stacks, and read back.

:data:`STACKS` has one row a stack; its module is imported when it is used.  What a module gives is
in :mod:`experiments.export.contract`.
"""

from __future__ import annotations

from typing import NamedTuple


class Stack(NamedTuple):
    """A serving stack that a setting can be written for."""

    name: str
    """As ``--to`` takes it."""
    module: str
    """Inside this package."""
    title: str
    files: tuple[str, ...]
    """Names of its files, as patterns, by which ``import`` knows the stack; none: no import."""
    expresses: str
    """One clause: which policies it can do exactly."""


STACKS: dict[str, Stack] = {
    row.name: row
    for row in (
        Stack(
            "triton",
            "triton",
            "NVIDIA Triton",
            ("config.pbtxt", "*.pbtxt"),
            "greedy, size_or_timeout, preferred_sizes; length_bucketed only nearly",
        ),
        Stack(
            "ray",
            "ray_serve",
            "Ray Serve",
            ("serve_config.yaml", "serve*.yaml", "serve*.yml"),
            "batches of 1, static; a wait only nearly",
        ),
        Stack(
            "json",
            "plain",
            "plain JSON with a schema",
            ("policy.json",),
            "every policy",
        ),
    )
}
