"""LitServe: the exported arguments and launcher, with the model beside them.

The exported launcher leaves address and port to LitServe, which would listen on every address; a
starter beside it runs the launcher's server on the loopback.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from experiments.export.contract import Exported
from experiments.export.litserve import LAUNCHER, NAME, export

from .contract import Bare, Command, Request, Ruling, StackError, Wish
from .model_files import PROFILES, put_served
from .processes import LOCALHOST
from .rulings import WINDOW, table_of

PORTS = 1
READY = "/health"
REAL_MODELS = True
SCRATCH = (PROFILES,)
"""Not kept when the server has ended."""

START = "start.py"

MODEL_CODE = '''\
"""The model as an API of LitServe."""

from pathlib import Path

import litserve
from served import Served


class Model(litserve.LitAPI):
    """Without batching ``predict`` is given one request, and else a list of them."""

    def setup(self, device):
        self.model = Served(Path(__file__).parent)

    def decode_request(self, request):
        return request["id"], request["length"]

    def batch(self, inputs):
        return inputs

    def predict(self, x):
        if isinstance(x, tuple):
            return self.model.run([x[0]], [x[1]])[0]
        return self.model.run([who for who, _ in x], [length for _, length in x])

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"id": output}
'''

START_CODE = f'''\
"""Runs the server of {LAUNCHER} on the loopback, at the port that is given."""

import sys

if __name__ == "__main__":
    from serve import server

    server.run(
        host="{LOCALHOST}", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
'''


def write(folder: Path, wish: Wish) -> Exported:
    """Write arguments, launcher, starter and model.

    Raises:
        NotExpressible: LitServe cannot do what the policy does.
        StackError: it would be several servers.
    """
    found = _exported(wish)
    for name, text in found.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if wish.bare:
        (folder / NAME).write_text(json.dumps(bare_arguments(wish), indent=2), encoding="utf-8")
    (folder / "model.py").write_text(MODEL_CODE, encoding="utf-8")
    (folder / START).write_text(START_CODE, encoding="utf-8")
    put_served(folder, wish)
    return found


def _exported(wish: Wish) -> Exported:
    """What the exporter writes for one server.

    Raises:
        NotExpressible: LitServe cannot do what the policy does.
        StackError: it would be several servers.
    """
    found = export(wish.setting, nearest=wish.nearest)
    if not {NAME, LAUNCHER} <= found.files.keys():
        raise StackError(
            "litserve: the policy becomes a server for each range of lengths; try runs one: choose "
            "another policy with --policy"
        )
    return found


def bare_arguments(wish: Wish) -> dict[str, dict[str, int]]:
    """A size, without which LitServe does not batch, and no wait."""
    server = {"devices": 1, "workers_per_device": wish.servers}
    return {"api": {"max_batch_size": wish.largest_batch}, "server": server}


def command(folder: Path, python: Path, ports: Sequence[int]) -> Command:
    """Start it."""
    return Command([str(python), str(folder / START), str(ports[0])], {"PYTHONPATH": ""})


def request(identity: int, length: int) -> Request:
    """An inference."""
    return Request("/predict", json.dumps({"id": identity, "length": length}).encode())


def policy(wish: Wish) -> Ruling:
    """A window that a worker opens whether or not a request is there."""
    if wish.bare:
        table = table_of(WINDOW, max_batch_size=wish.largest_batch, max_wait_ms=0)
        return Ruling(table, wish.servers, _notes(wish))
    api = json.loads(_exported(wish).files[NAME])["api"]
    wait_ms = 1000 * Decimal(str(api["batch_timeout"]))
    table = table_of(WINDOW, max_batch_size=api["max_batch_size"], max_wait_ms=wait_ms)
    return Ruling(table, wish.servers, _notes(wish))


def _notes(wish: Wish) -> tuple[str, ...]:
    if wish.servers == 1:
        return ()
    return ("idle workers of LitServe take requests one by one; simulated is one taking all",)


def bare(wish: Wish) -> Bare:
    """A size alone: ``batch_timeout`` is 0."""
    own = wish.as_bare()
    words = f"max_batch_size {own.largest_batch} and nothing else: a worker takes what is there"
    return Bare(own, words)
