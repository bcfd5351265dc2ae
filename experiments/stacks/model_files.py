"""The model put next to a stack's files, and the log that it wrote read back.

Either one of known cost, which sleeps, or a reference model that is really run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import profiles
from experiments.export.contract import Exported
from experiments.export.setting import Costs

from . import slow_model, torch_model
from .contract import RealModel, StackError, Wish

COSTS = "costs.json"
LOGS = "batches-*.jsonl"
MODEL_JSON = "model.json"
PROFILES = "profiles"
"""The copy of the package that opens models, for servers in environments without this project."""

SLEEPS = "from slow_model import SlowModel"
RUNS = "from real.torch_model import TorchModel"


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


def put_served(folder: Path, wish: Wish) -> None:
    """Put ``served.py`` into a folder, whose ``Served`` is the model that was wished for."""
    put_model(folder, wish.costs)
    what = SLEEPS if wish.real is None else RUNS
    (folder / "served.py").write_text(f"{what} as Served  # noqa: F401\n", encoding="utf-8")
    if wish.real is not None:
        _put_real(folder, wish.real)


def _put_real(folder: Path, model: RealModel) -> None:
    """The package ``real``, what it asks for, and the code of :mod:`profiles` without its data."""
    package = folder / "real"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    for module in (slow_model, torch_model):
        source = Path(str(module.__file__))
        shutil.copyfile(source, package / source.name)
    asked = {
        "model": model.name, "device": model.device, "precision": model.precision,
        "mode": model.mode, "threads": model.threads, "seed": model.seed,
    }  # fmt: skip
    (folder / MODEL_JSON).write_text(json.dumps(asked), encoding="utf-8")
    source, target = Path(profiles.__file__).parent, folder / PROFILES
    for path in source.rglob("*.py"):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


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
