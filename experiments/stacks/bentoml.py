"""BentoML: the exported service, with a ``model.py`` that is the model of known cost beside it.

The exported API takes texts and gives embeddings; each text holds the two numbers of a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.export.bentoml import NAME, bound_ms, class_name, export
from experiments.export.contract import Exported
from policies.cork import Cork

from .contract import MODEL, Bare, Command, Request, Ruling, StackError, Wish
from .model_files import put_model
from .processes import LOCALHOST
from .rulings import table_of

PORTS = 1
READY = "/readyz"

API = re.compile(r"    @bentoml\.api(\((?P<given>.*?)\))?\n    def (?P<name>\w+)\(", re.DOTALL)
"""An API of the exported service."""

BARE_BOUND_MS = 60_000
"""``max_latency_ms`` where it is not given."""

MODEL_CODE = '''\
"""The model of known cost: a text holds a request's number and its length."""

from slow_model import SlowModel


def load():
    slow = SlowModel()

    def run(texts):
        pairs = [text.split() for text in texts]
        done = slow.run([who for who, _ in pairs], [length for _, length in pairs])
        return [[float(who)] for who in done]

    return run
'''


def write(folder: Path, wish: Wish) -> Exported:
    """Write service and model.

    Raises:
        NotExpressible: without ``nearest``: BentoML has no wait to set.
        StackError: it would be several APIs, or one that does not batch.
    """
    found = export(wish.setting, nearest=wish.nearest)
    text = found.files[NAME]
    apis = list(API.finditer(text))
    if len(apis) != 1:
        raise StackError(
            "bentoml: the policy becomes an API for each range of lengths; try calls one: choose "
            "another policy with --policy"
        )
    if not apis[0]["given"]:
        raise StackError(
            "bentoml: batches of 1 are an API without a batcher, which runs several at a time; "
            "choose another policy with --policy"
        )
    if wish.bare:
        batched = f"@bentoml.api(batchable=True, max_batch_size={wish.largest_batch})"
        text = re.sub(r"@bentoml\.api\(.*?\)\n", f"{batched}\n", text, flags=re.DOTALL)
    (folder / NAME).write_text(text, encoding="utf-8")
    (folder / "model.py").write_text(MODEL_CODE, encoding="utf-8")
    put_model(folder, wish.costs)
    return found


def command(folder: Path, python: Path, ports: Sequence[int]) -> Command:
    """Start it, with everything that BentoML keeps in the folder."""
    module = NAME.removesuffix(".py")
    where = ["--host", LOCALHOST, "--port", str(ports[0]), "--working-dir", str(folder)]
    program = str(python.parent / "bentoml")
    return Command(
        [str(python), program, "serve", f"{module}:{class_name(MODEL)}", *where],
        {
            "PYTHONPATH": str(folder),
            "BENTOML_HOME": str(folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
        },
    )


def request(identity: int, length: int) -> Request:
    """An inference."""
    return Request("/predict", json.dumps({"texts": [f"{identity} {length}"]}).encode())


def policy(wish: Wish) -> Ruling:
    """A wait that is learned; ``max_latency_ms`` says when requests are dropped."""
    bound = BARE_BOUND_MS if wish.bare else bound_ms(wish.setting)
    size = wish.largest_batch
    table = table_of(Cork, max_batch_size=size, max_latency_ms=bound)
    notes = ("its workers have queues of their own; simulated is one queue",)
    return Ruling(table, wish.servers, notes if wish.servers > 1 else ())


def bare(wish: Wish) -> Bare:
    """``batchable=True`` with the size that the model can do; BentoML's own is 100."""
    own = wish.as_bare()
    words = f"batchable=True with max_batch_size {own.largest_batch}: it learns how long to wait"
    return Bare(own, words)
