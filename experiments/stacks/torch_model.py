"""A reference model that is really run, and logs its batches as the one that sleeps does.

Copied into the package ``real`` next to the files of a stack, with :mod:`profiles` beside it.
``model.json`` says what :func:`profiles.models.open_runner` is asked for.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from profiles.models import open_runner

from .slow_model import SlowModel


class TorchModel(SlowModel):
    """Runs a batch padded to its longest request; one at a time, as a device does."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load the model of a folder, by default the one that the package ``real`` is in."""
        super().__init__(folder or Path(__file__).parents[1])
        asked = json.loads((self.folder / "model.json").read_text())
        self.runner = open_runner(asked.pop("model"), **asked)
        self._one = threading.Lock()

    def run(self, identities: Iterable[int], lengths: Iterable[int]) -> list[int]:
        """Run a batch, blocking; returns its identities."""
        members, longs = [int(each) for each in identities], [int(each) for each in lengths]
        with self._one:
            begin_ns = time.monotonic_ns()
            self.runner.serve(longs)
            self._note(begin_ns, members)
        return members
