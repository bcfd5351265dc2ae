"""MLServer: the exported settings, with a runtime that is the model of known cost beside them.

The runtime blocks, as the export asks for: one model then runs in the server's own process, where
requests are also read and batched, and with parallel workers in processes of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.export.contract import Exported
from experiments.export.mlserver import NAME, SERVER, export, read
from policies.sealed_batches import SealedBatches
from policies.timer_from_pick import TimerFromPick

from .contract import MODEL, Bare, Command, Request, Ruling, StackError, Wish
from .model_files import put_model
from .processes import LOCALHOST
from .rulings import table_of

PORTS = 3
"""HTTP, gRPC, metrics."""
READY = f"/v2/models/{MODEL}/ready"

MODEL_CODE = '''\
"""The model of known cost as a runtime of MLServer."""

from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput
from slow_model import SlowModel


class Model(MLModel):
    async def load(self):
        self.slow = SlowModel()
        return True

    async def predict(self, payload):
        numbers = [int(each) for each in payload.inputs[0].data]
        done = self.slow.run(numbers[::2], numbers[1::2])
        y = ResponseOutput(name="y", shape=[len(done), 1], datatype="INT64", data=done)
        return InferenceResponse(model_name=self.name, outputs=[y])
'''


def write(folder: Path, wish: Wish) -> Exported:
    """Write settings and runtime.

    Raises:
        NotExpressible: MLServer cannot do what the policy does.
        StackError: it would be several models.
    """
    found = export(wish.setting, nearest=wish.nearest)
    files = bare_files() if wish.bare else _only(found)
    for name, text in {**files, "model.py": MODEL_CODE}.items():
        (folder / name).write_text(text, encoding="utf-8")
    put_model(folder, wish.costs)
    return found


def _only(found: Exported) -> Mapping[str, str]:
    """The settings of one model.

    Raises:
        StackError: there are several.
    """
    if NAME not in found.files:
        raise StackError(
            "mlserver: the policy becomes a model for each range of lengths; try runs one: choose "
            "another policy with --policy"
        )
    return {name: found.files[name] for name in (NAME, SERVER)}


def bare_files() -> dict[str, str]:
    """A model with nothing set: ``max_batch_size`` and ``max_batch_time`` are 0, and no batch is.

    ``parallel_workers`` is left to MLServer, too: 1.
    """
    model = {"name": MODEL, "implementation": "model.Model"}
    return {NAME: json.dumps(model, indent=2), SERVER: "{}"}


def command(folder: Path, python: Path, ports: Sequence[int]) -> Command:
    """Start it; addresses come from variables, which the exported ``settings.json`` leaves open."""
    http, grpc, metrics = ports
    return Command(
        [str(python), str(python.parent / "mlserver"), "start", str(folder)],
        {
            "PYTHONPATH": str(folder),
            "MLSERVER_HOST": LOCALHOST,
            "MLSERVER_HTTP_PORT": str(http),
            "MLSERVER_GRPC_PORT": str(grpc),
            "MLSERVER_METRICS_PORT": str(metrics),
        },
    )


def request(identity: int, length: int) -> Request:
    """An inference of the KServe protocol, version 2."""
    x = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [identity, length]}
    return Request(f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [x]}).encode())


def policy(wish: Wish) -> Ruling:
    """A wait from when the batcher collects; with workers, batches that are sealed meanwhile."""
    if wish.bare:
        return Ruling(sealed({"max_batch_size": 1}), 1)
    files = _only(export(wish.setting, nearest=wish.nearest))
    found = read(files)
    workers = json.loads(files[SERVER])["parallel_workers"]
    if workers:
        notes = ("batches go to the workers in turn; simulated is a worker that is free",)
        return Ruling(sealed(found.table), workers, notes if workers > 1 else ())
    notes = ("behind a full batch the wait begins while the model is still busy",)
    size, wait_ms = found.table["max_batch_size"], found.table.get("max_wait_ms", 0)
    if size == 1:
        return Ruling(sealed(found.table), 1)
    return Ruling(table_of(TimerFromPick, max_batch_size=size, max_wait_ms=wait_ms), 1, notes)


def sealed(window: Mapping[str, Any]) -> dict[str, Any]:
    """The window of a table that was read, as batches that are closed while others run."""
    wait_ms = window.get("max_wait_ms", 0)
    size = window["max_batch_size"]
    return table_of(SealedBatches, max_batch_size=size, max_wait_ms=wait_ms)


def bare(wish: Wish) -> Bare:
    """MLServer batches nothing before both a size and a time are given."""
    words = "no batching, which takes both max_batch_size and max_batch_time; one parallel worker"
    return Bare(wish.as_bare(), words)
