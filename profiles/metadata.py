"""Where a profile comes from: what ran, on what, how it was timed, and who says so."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


class ProfileError(ValueError):
    """A profile or a table of latencies is not usable; the text is one sentence that says why."""


EXECUTIONS = ("engine", "eager")
"""``engine``: compiled or captured, little jitter.  ``eager``: one launch per operator."""


@dataclass(frozen=True)
class Metadata:
    """The side file of a profile, apart from unit and statistic.

    Raises:
        ProfileError: a field that every profile needs is empty, or ``execution`` is unknown.
    """

    model: str
    device: str
    precision: str
    framework: str
    """Framework and version, as the source prints it."""
    timed: str
    """What the clock saw: GPU only or end to end, padding or none, copies or none."""
    licence: str
    task: str = ""
    execution: str = "eager"
    """One of :data:`EXECUTIONS`; it chooses the jitter assumed where no percentile is known."""
    source_repository: str = ""
    """``owner/name``; empty for a profile measured with this project."""
    source_path: str = ""
    source_commit: str = ""
    measured: str = "not stated"
    """When, as a date or in words."""
    samples: str = "not stated"
    warm_up: str = "not stated"
    command: str = "published table"
    """The command that made the profile again, or ``published table``."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Further software versions by name: driver, CUDA, framework."""
    defects: tuple[str, ...] = ()
    """What a user of these numbers must know to be wrong or missing."""

    def __post_init__(self) -> None:
        for key in ("model", "device", "precision", "framework", "timed", "licence"):
            if not getattr(self, key):
                raise ProfileError(f"`{key}` must say what it was, but is empty")
        if self.execution not in EXECUTIONS:
            raise ProfileError(
                f"`execution` must be one of {', '.join(EXECUTIONS)}, but got {self.execution!r}"
            )

    @property
    def source(self) -> str:
        """One line to cite: repository, path and commit, or that it was measured here."""
        commit = f"@ {self.source_commit[:8]}" if self.source_commit else ""
        words = (self.source_repository, self.source_path, commit)
        return " ".join(filter(None, words)) or "measured with batchwright"


def to_mapping(metadata: Metadata) -> dict[str, Any]:
    """Metadata as plain JSON values, in the order of the fields."""
    plain = {key.name: getattr(metadata, key.name) for key in fields(metadata)}
    return plain | {"versions": dict(metadata.versions), "defects": list(metadata.defects)}


def from_mapping(mapping: Mapping[str, Any]) -> Metadata:
    """Metadata from plain JSON values.

    Raises:
        ProfileError: an unknown or missing key, or a value of the wrong type.
    """
    known = [key.name for key in fields(Metadata)]
    for key, value in mapping.items():
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ProfileError(f"`{key}` is not a key of a profile; the nearest is `{nearest}`")
        _check_type(key, value)
    for key in ("model", "device", "precision", "framework", "timed", "licence"):
        if key not in mapping:
            raise ProfileError(f"`{key}` is missing")
    return Metadata(**{**mapping, "defects": tuple(mapping.get("defects", ()))})


def _check_type(key: str, value: object) -> None:
    if key == "versions":
        right = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        expected = "a table of texts"
    elif key == "defects":
        right = isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
        expected = "a list of texts"
    else:
        right, expected = isinstance(value, str), "a text"
    if not right:
        raise ProfileError(f"`{key}` must be {expected}, but got {value!r}")
