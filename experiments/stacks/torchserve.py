"""TorchServe: the exported ``model-config.yaml`` in a model's folder, and a handler beside it.

The model's folder is served as it is (``no-archive``), so that its log stays in the run's folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from experiments.export.contract import Exported
from experiments.export.torchserve import DEFAULT_DELAY_MS, NAME, PROPERTIES, export, read
from policies.timer_from_pick import TimerFromPick

from .contract import MODEL, Bare, Command, Request, Ruling, Wish
from .model_files import PROFILES, only_file, put_served
from .processes import LOCALHOST
from .rulings import table_of

PORTS = 6
"""Inference, management, metrics, gRPC of the first two, and the number of a worker's socket."""
READY = f"/predictions/{MODEL}"
"""``/ping`` is also healthy while workers that have died are started again."""

STORE = "store"
REAL_MODELS = True
SCRATCH = (f"{STORE}/{MODEL}/{PROFILES}",)
"""Not kept when the server has ended."""

CLOCK_MS = 1
"""``pollBatch`` counts the wait in whole ticks."""

HANDLER_CODE = '''\
"""The model as a handler of TorchServe."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from served import Served  # noqa: E402


class Handler:
    """One worker."""

    def initialize(self, context):
        self.model = Served(Path(__file__).parent)

    def handle(self, data, context):
        rows = [row.get("body", row.get("data")) for row in data]
        if not all(rows):  # whether this worker lives is asked without a body
            return ["ready"] * len(rows)
        rows = [row if isinstance(row, dict) else json.loads(row) for row in rows]
        return self.model.run([row["id"] for row in rows], [row["length"] for row in rows])
'''

MANIFEST = {
    "createdOn": "01/01/2026 00:00:00",
    "runtime": "python",
    "model": {
        "modelName": MODEL,
        "handler": "handler.py",
        "modelVersion": "1.0",
        "configFile": NAME,
    },
    "archiverVersion": "0.12.0",
}
"""What ``torch-model-archiver --archive-format no-archive`` would write."""


def write(folder: Path, wish: Wish) -> Exported:
    """Write the model's folder.

    Raises:
        NotExpressible: TorchServe cannot do what the policy does.
        StackError: it would be several models.
    """
    found = export(wish.setting, nearest=wish.nearest)
    text = bare_config(wish) if wish.bare else only_file("torchserve", NAME, found)
    place = folder / STORE / MODEL
    (place / "MAR-INF").mkdir(parents=True)
    (place / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    (place / NAME).write_text(text, encoding="utf-8")
    (place / "handler.py").write_text(HANDLER_CODE, encoding="utf-8")
    put_served(place, wish)
    return found


def bare_config(wish: Wish) -> str:
    """A size, without which TorchServe does not batch, and so many workers."""
    workers = wish.servers
    return f"minWorkers: {workers}\nmaxWorkers: {workers}\nbatchSize: {wish.largest_batch}\n"


def command(folder: Path, python: Path, ports: Sequence[int]) -> Command:
    """Start it in the foreground, without tokens; logs and sockets are this run's."""
    names = ("inference", "management", "metrics")
    addresses = zip(names, ports, strict=False)
    lines = [
        *(f"{name}_address=http://{LOCALHOST}:{port}" for name, port in addresses),
        f"grpc_inference_address={LOCALHOST}",
        f"grpc_management_address={LOCALHOST}",
        f"grpc_inference_port={ports[3]}",
        f"grpc_management_port={ports[4]}",
        f"initial_worker_port={ports[5]}",
        "disable_token_authorization=true",
        "enable_metrics_api=false",
        f"model_store={folder / STORE}",
        f"load_models={MODEL}",
    ]
    properties = folder / PROPERTIES
    properties.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Command(
        [
            str(python), str(python.parent / "torchserve"), "--start", "--foreground",
            "--disable-token-auth", "--ts-config", str(properties),
        ],
        {
            "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
            "LOG_LOCATION": str(folder / "logs"),
            "METRICS_LOCATION": str(folder / "logs"),
            "PYTHONPATH": "",
        },
    )  # fmt: skip


def request(identity: int, length: int) -> Request:
    """An inference."""
    body = json.dumps({"id": identity, "length": length}).encode()
    return Request(f"/predictions/{MODEL}", body)


def policy(wish: Wish) -> Ruling:
    """A wait from when an idle worker takes the first request."""
    found = export(wish.setting, nearest=wish.nearest)
    text = bare_config(wish) if wish.bare else only_file("torchserve", NAME, found)
    asked = read({NAME: text}).table
    table = table_of(
        TimerFromPick,
        max_batch_size=asked["max_batch_size"],
        max_wait_ms=asked.get("max_wait_ms", 0),
        clock_ms=CLOCK_MS,
    )
    return Ruling(table, wish.servers)


def bare(wish: Wish) -> Bare:
    """A size alone: an absent ``maxBatchDelay`` is 100 ms."""
    own = wish.as_bare()
    size = own.largest_batch
    words = f"batchSize {size} and nothing else: maxBatchDelay is {DEFAULT_DELAY_MS} ms"
    return Bare(own, words)
