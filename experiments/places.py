"""Paths as people type them: what no file can be called is simply not there.

``pathlib`` raises where a name is too long for the disk, goes through a link to itself, or begins
with the home of somebody unknown; for whoever asks whether a file is there the answer is no.
"""

from __future__ import annotations

import os
from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Whether a file is there."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises


def at_home(path: str | Path) -> Path:
    """A path with ``~`` replaced, where there is such a home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises
