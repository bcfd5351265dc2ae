"""Ray Serve: the exported application and configuration on a cluster of this machine alone.

1. The configuration is deployed as ``serve deploy`` does it; only ``model`` is changed, from the
   export's echo to the model of known cost.
2. The cluster is one of its own, with as many CPUs and GPUs on paper as the deployments ask for.
   It is ready when all applications run, which a port of its own says: the proxy answers before.
3. Workers of Ray have a niceness of 15; here they have that of the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.export.contract import Exported
from experiments.export.ray_serve import CONFIG, export, read
from experiments.export.yaml_text import yaml_table
from policies.sealed_batches import SealedBatches

from .contract import MODEL, Bare, Command, Request, Ruling, StackError, Wish
from .mlserver import sealed
from .model_files import put_model
from .processes import Stop
from .rulings import kind_of

PORTS = 2
"""HTTP of the proxy, and what says that the applications run."""
READY = "/"
READY_PORT = 1
STOPS = Stop(seconds=20.0)

BARE_WAIT_MS, BARE_ONGOING = 10, 5
"""What ``@serve.batch`` and a deployment have where nothing is given (Ray 2.60)."""

MODEL_CODE = '''\
"""The model of known cost: a function from a list of requests to a list of as many answers."""

from slow_model import SlowModel

SLOW = SlowModel()


def run(items):
    return SLOW.run([each["id"] for each in items], [each["length"] for each in items])
'''

START_CODE = f'''\
"""Deploys {CONFIG} on a cluster of its own; says on a port that it has, and runs until SIGTERM."""

import os
import shutil
import signal
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import ray
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

HOST = "127.0.0.1"


class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def end(*_):
    raise SystemExit


def main():
    signal.signal(signal.SIGTERM, end)
    table = yaml.safe_load(Path("{CONFIG}").read_text())
    found = [each for one in table["applications"] for each in one["deployments"]]
    count = sum(each.get("num_replicas", 1) for each in found)
    sessions = tempfile.mkdtemp(prefix="bw-ray-", dir="/tmp")
    try:
        ray.init(
            num_cpus=count + 1, num_gpus=count, include_dashboard=False, _temp_dir=sessions,
            _node_ip_address=HOST, object_store_memory=200_000_000,
        )
        serve.start(http_options={{"host": HOST, "port": int(sys.argv[1])}})
        client = _get_global_client()
        client.deploy_apps(ServeDeploySchema.model_validate(table))
        names = [each["name"] for each in table["applications"]]
        for name in names:
            client._wait_for_application_running(name)
        HTTPServer((HOST, int(sys.argv[2])), Ready).serve_forever()
    finally:
        ray.shutdown()
        shutil.rmtree(sessions, ignore_errors=True)


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    main()
'''


def write(folder: Path, wish: Wish) -> Exported:
    """Write application, configuration, model and starter.

    Raises:
        NotExpressible: Ray Serve cannot do what the policy does.
        StackError: it would be several deployments.
    """
    found = export(wish.setting, nearest=wish.nearest)
    files = dict(found.files)
    if len(_deployments(files[CONFIG])) > 1:
        raise StackError(
            "ray: the policy becomes several deployments behind a router; try sends requests to "
            "one: choose another policy with --policy"
        )
    files[CONFIG] = files[CONFIG].replace("model: app:echo", "model: model:run")
    files |= {"model.py": MODEL_CODE, "start.py": START_CODE}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    put_model(folder, wish.costs)
    return found


def _deployments(text: str) -> list[dict[str, object]]:
    """Those of the one application of a configuration."""
    (application,) = yaml_table(CONFIG, text)["applications"]
    found: list[dict[str, object]] = application["deployments"]
    return found


def command(folder: Path, python: Path, ports: Sequence[int]) -> Command:
    """Start it; other nodes, tokens and statistics of use are switched off."""
    return Command(
        [str(python), str(folder / "start.py"), *map(str, ports)],
        {
            "PYTHONPATH": str(folder),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        },
    )


def request(identity: int, length: int) -> Request:
    """An inference."""
    return Request(f"/{MODEL}", json.dumps({"id": identity, "length": length}).encode())


def policy(wish: Wish) -> Ruling:
    """Batches that are closed while others run, of the requests that a replica takes at a time."""
    queues = ("its replicas have queues of their own; simulated is one queue",)
    notes = queues if wish.servers > 1 else ()
    text = export(wish.setting, nearest=wish.nearest).files[CONFIG]
    ongoing = _deployments(text)[0]["max_ongoing_requests"]
    table = {**sealed(read({CONFIG: text}).table), "max_ongoing_requests": ongoing}
    return Ruling(table, wish.servers, notes)


def bare(wish: Wish) -> Bare:
    """Ray's own wait and no other number, but room in the replica for the batches that it closes.

    With the limit of its own a replica never has a batch of Ray's own size, and a router that finds
    it full looks again after up to half a second, which nothing predicts.
    """
    size, wait_ms = wish.setting.largest_batch, BARE_WAIT_MS
    window = {"max_batch_size": size, "max_wait_ms": wait_ms}
    setting = replace(
        wish.setting,
        policy=SealedBatches(size, wait_ms * 1_000_000).bind(
            wish.costs.service_ns, wish.costs.length_edges, wish.setting.tiers, wish.servers
        ),
        kind=kind_of(SealedBatches),
        parameters=window,
    )
    words = (
        f"@serve.batch with max_batch_size {size} and nothing else, which waits {wait_ms} ms; "
        f"max_ongoing_requests is out of the way: by default a replica takes {BARE_ONGOING}, fewer "
        "than a batch"
    )
    return Bare(replace(wish, setting=setting, nearest=True, bare=True), words)
