"""NVIDIA Triton: the server that the wheel of ``nvidia-pytriton`` brings, run without PyTriton.

1. The wheel holds ``tritonserver`` 2.51, its Python backend, and a stub for each version of Python.
   The backend is copied into the run's folder with the stub of the environment's version beside it.
2. The stub links the interpreter's own shared library, so that its folder goes into
   ``LD_LIBRARY_PATH``; ``PYTHONHOME`` must not be set, or outputs come back empty.
3. The exported ``config.pbtxt`` says nothing of the model: backend, input and output are added.
   Its instances run on the CPU, whatever the profile was measured on.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from experiments.export.contract import Exported
from experiments.export.triton import CONFIG, export, read

from .contract import MODEL, Bare, Command, OwnBatches, Request, Ruling, Wish
from .model_files import only_file, put_model
from .processes import LOCALHOST
from .rulings import AHEAD, table_of

PORTS = 3
"""HTTP, gRPC, metrics."""
READY = "/v2/health/ready"

REPOSITORY, BACKENDS, BACKEND = "repository", "backends", "python"
VERSION = "1"
SCRATCH = (BACKENDS,)
"""Not kept when the server has ended."""

ADDED = """\

# Added to run it here: the model of known cost, on the CPU.
backend: "python"
input [ { name: "x" data_type: TYPE_INT64 dims: [ 2 ] } ]
output [ { name: "y" data_type: TYPE_INT64 dims: [ 1 ] } ]
"""

NOT_AHEAD = ("allow_timeout_override: true", "default_timeout_microseconds", "priority_levels")
"""With any of these no batch is formed before an instance waits for one."""

GROUP = re.compile(r"kind: KIND_GPU count: (\d+) gpus: \[([^\]]*)\]")
"""An instance group of GPUs, as the exporter writes it: so many instances on each of them."""

MODEL_CODE = '''\
"""The model of known cost for Triton's Python backend."""

import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).parent))
from slow_model import SlowModel  # noqa: E402


class TritonPythonModel:
    """One instance."""

    def initialize(self, args):
        self.slow = SlowModel(Path(__file__).parent)

    def execute(self, requests):
        rows = [pb_utils.get_input_tensor_by_name(each, "x").as_numpy() for each in requests]
        x = np.concatenate(rows)
        self.slow.run(x[:, 0].tolist(), x[:, 1].tolist())
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("y", row[:, :1])]) for row in rows
        ]
'''

WHERE = (
    "import sys, sysconfig, importlib.util as u; "
    "print(u.find_spec('pytriton').submodule_search_locations[0]); "
    "print(sysconfig.get_config_var('LIBDIR')); print('%d.%d' % sys.version_info[:2])"
)
"""What is asked of the environment: the package, the interpreter's library, its version."""


def write(folder: Path, wish: Wish) -> Exported:
    """Write the model repository.

    Raises:
        NotExpressible: Triton cannot do what the policy does.
        StackError: it would be several models.
    """
    found = export(wish.setting, nearest=wish.nearest)
    text = bare_config(wish) if wish.bare else only_file("triton", CONFIG, found)
    place = folder / REPOSITORY / MODEL
    (place / VERSION).mkdir(parents=True)
    (place / CONFIG).write_text(GROUP.sub(_on_cpu, text) + ADDED, encoding="utf-8")
    (place / VERSION / "model.py").write_text(MODEL_CODE, encoding="utf-8")
    put_model(place / VERSION, wish.costs)
    return found


def _on_cpu(group: re.Match[str]) -> str:
    """As many instances as on all the GPUs of a group."""
    return f"kind: KIND_CPU count: {int(group[1]) * len(group[2].split(','))}"


def bare_config(wish: Wish) -> str:
    """A dynamic batcher with nothing set."""
    return (
        f'name: "{MODEL}"\nmax_batch_size: {wish.largest_batch}\ndynamic_batching {{ }}\n'
        f"instance_group [ {{ kind: KIND_CPU count: {wish.servers} }} ]\n"
    )


def command(folder: Path, python: Path, ports: Sequence[int]) -> Command:
    """Start ``tritonserver`` with a backend folder of its own."""
    package, library, version = _environment(python)
    server = package / "tritonserver"
    backend = folder / BACKENDS / BACKEND
    shutil.copytree(server / "backends" / BACKEND, backend, dirs_exist_ok=True)
    stub = "triton_python_backend_stub"
    shutil.copyfile(server / "python_backend_stubs" / version / stub, backend / stub)
    (backend / stub).chmod(0o755)
    packages = package.parent
    http, grpc, metrics = ports
    addresses = (f"--{each}-address={LOCALHOST}" for each in ("http", "grpc", "metrics"))
    return Command(
        [
            str(server / "bin" / "tritonserver"),
            f"--model-repository={folder / REPOSITORY}",
            f"--backend-directory={folder / BACKENDS}",
            *addresses,
            f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}",
        ],
        {
            "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}:{library}",
            "PYTHONPATH": str(packages),
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "PYTHONHOME": "",
        },
    )  # fmt: skip


def _environment(python: Path) -> tuple[Path, str, str]:
    """Folder of the package, folder of the interpreter's library, and version of Python."""
    asked = [str(python), "-c", WHERE]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    package, library, version = done.stdout.split("\n")[:3]
    return Path(package), library, version


def request(identity: int, length: int) -> Request:
    """An inference of the KServe protocol, version 2."""
    x = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [identity, length]}
    return Request(f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [x]}).encode())


def policy(wish: Wish) -> Ruling:
    """The policy that the written file means, for a model whose inputs have one shape.

    A file with a delay alone lets Triton form batches ahead, which not every request joins; the
    exporter turns that off.
    """
    if wish.bare:
        return Ruling({"kind": "greedy", "max_batch_size": wish.largest_batch}, wish.servers)
    found = export(wish.setting, nearest=wish.nearest)
    return Ruling(table_of_config(only_file("triton", CONFIG, found)), wish.servers)


def table_of_config(text: str) -> dict[str, Any]:
    """What a ``config.pbtxt`` asks for, as a scenario's table."""
    table = dict(read({CONFIG: text}).table)
    delay_alone = table["kind"] == "size_or_timeout" and "min_batch_size" not in table
    if delay_alone and not any(word in text for word in NOT_AHEAD):
        size, wait_ms = table["max_batch_size"], table["max_wait_ms"]
        return table_of(AHEAD, max_batch_size=size, max_wait_ms=wait_ms)
    return table


def bare(wish: Wish) -> Bare:
    """``dynamic_batching { }``."""
    own = wish.as_bare()
    words = f"dynamic_batching {{ }} with max_batch_size {own.largest_batch}: no delay"
    return Bare(own, words)


def own_batches(ports: Sequence[int]) -> list[OwnBatches]:
    """``batch_stats``: inference with its input and output, by batch size."""
    connection = HTTPConnection(LOCALHOST, ports[0], timeout=10)
    try:
        connection.request("GET", f"/v2/models/{MODEL}/stats")
        found = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    stats = found["model_stats"][0].get("batch_stats", [])
    parts = ("compute_input", "compute_infer", "compute_output")
    return [
        OwnBatches(
            int(each["batch_size"]),
            int(each["compute_infer"]["count"]),
            sum(int(each[part]["ns"]) for part in parts),
        )
        for each in stats
    ]
