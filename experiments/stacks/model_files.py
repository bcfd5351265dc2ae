"""The model of known cost, put next to a stack's files, and the log that it wrote read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from experiments.export.contract import Exported
from experiments.export.setting import Costs

from . import slow_model
from .contract import StackError

COSTS = "costs.json"
LOGS = "batches-*.jsonl"


class Logged(NamedTuple):
    """A batch as the model logged it."""

    begin_ns: int
    end_ns: int
    identities: tuple[int, ...]
    process: int
    """Of the instance of the model."""


def only_file(stack: str, name: str, found: Exported) -> str:
    """The one file of an export.

    Raises:
        StackError: there are several.
    """
    if set(found.files) != {name}:
        raise StackError(
            f"{stack}: the policy becomes a model for each range of lengths; try runs one: choose "
            "another policy with --policy"
        )
    return found.files[name]


def put_model(folder: Path, costs: Costs) -> None:
    """Put ``slow_model.py`` and its costs into a folder."""
    shutil.copyfile(slow_model.__file__, folder / "slow_model.py")
    table = {"service_ns": costs.service_ns.tolist(), "edges": costs.length_edges.tolist()}
    (folder / COSTS).write_text(json.dumps(table), encoding="utf-8")


def logged(folder: Path) -> list[Logged]:
    """All batches that models anywhere below a folder have logged, in the order of their begin.

    A last line that is not whole, of a process that was ended, is passed over.
    """
    found = []
    for path in folder.rglob(LOGS):
        process = int(path.stem.rpartition("-")[2])
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                batch = json.loads(line)
                members = tuple(batch["ids"])
                found.append(Logged(batch["t0"], batch["t1"], members, process))
    return sorted(found)
