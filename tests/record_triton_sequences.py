"""Drives a real Triton's sequence batcher over HTTP and records *sent when, in which batch*.

``chrt -r 1 python tests/record_triton_sequences.py PYTHON`` writes
``tests/data/stacks/triton-sequences.json``; ``PYTHON`` is the interpreter of an environment with
``nvidia-pytriton`` 0.7.0.  Every request belongs to a sequence and says whether it is its first or
its last; the model of known cost logs who was in which place of a batch, and which instance it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from record_batches import FOLDER

from experiments.export.setting import Costs
from experiments.loading.sending import Plan, Sender
from experiments.stacks import triton
from experiments.stacks.contract import MODEL
from experiments.stacks.model_files import logged, put_model
from experiments.stacks.processes import serving, wait_until_ready

SIZE, PORT = 4, 23_500
SERVICE_NS = 20_000_000 + 4_000_000 * np.arange(1, SIZE + 1)
COSTS = Costs(SERVICE_NS[:, np.newaxis], np.array([1]), np.array([1]), np.array([1.0]))
WARM, WARM_SEQUENCES, EMPTY = 10**6, 10**6, -1
"""Identities of requests and sequences that only warm the server up, and of an empty place."""

CONFIG = """\
name: "m"
backend: "python"
max_batch_size: 4
input [ {{ name: "x" data_type: TYPE_INT64 dims: [ 2 ] }} ]
output [ {{ name: "y" data_type: TYPE_INT64 dims: [ 1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
sequence_batching {{
  max_sequence_idle_microseconds: {idle_us}
  {strategy}
  control_input [
    {{ name: "READY"
       control [ {{ kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] }} ] }}
  ]
}}
"""

MODEL_CODE = '''\
"""The model of known cost for Triton's Python backend; an empty place costs as a request does."""

import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).parent))
from slow_model import SlowModel  # noqa: E402


def value(request, name):
    return int(pb_utils.get_input_tensor_by_name(request, name).as_numpy().flat[0])


class TritonPythonModel:
    def initialize(self, args):
        self.slow = SlowModel(Path(__file__).parent)

    def execute(self, requests):
        who = [value(each, "x") if value(each, "READY") else -1 for each in requests]
        self.slow.run(who, [1] * len(who))
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("y", np.array([[one]]))]) for one in who
        ]
'''


class Case(NamedTuple):
    """One recording."""

    strategy: str
    wait_ms: int
    per_s: float
    """Sequences."""
    instances: int = 1
    utilisation: float = 0.0
    """``minimum_slot_utilization`` of direct."""
    candidates: int = 0
    """``max_candidate_sequences`` of oldest."""
    preferred: tuple[int, ...] = ()
    idle_ms: int = 2000
    without_end: float = 0.0
    """Share of the sequences that never say that they end."""
    gap_ms: float = 120.0
    most: int = 12
    """Requests of a sequence, at most."""

    @property
    def title(self) -> str:
        """What makes it different."""
        parts = [f"{self.strategy}, {self.per_s:g} per second, wait {self.wait_ms} ms"]
        if self.utilisation:
            parts.append(f"utilisation {self.utilisation:g}")
        if self.candidates:
            parts.append(f"{self.candidates} candidates")
        if self.preferred:
            parts.append(f"preferred {list(self.preferred)}")
        if self.most == 1:
            parts.append("one request each")
        if self.without_end:
            parts.append(f"{self.without_end:g} never end")
        return ", ".join([*parts, f"{self.instances} at a time"])

    @property
    def config(self) -> str:
        """The strategy's table of ``config.pbtxt``."""
        delay = f"max_queue_delay_microseconds: {self.wait_ms * 1000}"
        if self.strategy == "direct":
            return f"direct {{ {delay} minimum_slot_utilization: {self.utilisation} }}"
        more = f" max_candidate_sequences: {self.candidates}" if self.candidates else ""
        sizes = f" preferred_batch_size: {list(self.preferred)}" if self.preferred else ""
        return f"oldest {{ {delay}{more}{sizes} }}"


CASES = [
    Case("direct", 0, 4.0),
    Case("direct", 30, 4.0, utilisation=0.75),
    Case("direct", 0, 6.5, instances=2),
    Case("direct", 0, 5.0, idle_ms=400, without_end=0.4),
    Case("oldest", 0, 4.0),
    Case("oldest", 30, 4.0, candidates=12),
    Case("oldest", 0, 12.0, candidates=12),
    Case("oldest", 30, 9.0, candidates=12, preferred=(2, 4)),
    Case("oldest", 40, 11.0, candidates=12, preferred=(3,)),
    Case("oldest", 0, 5.0, candidates=3, idle_ms=400, without_end=0.4),
    Case("oldest", 30, 14.0, instances=2, candidates=12),
    Case("oldest", 30, 25.0, candidates=12, most=1),
]
TRIES, CALM_NS = 5, 6_000_000
"""A recording in which the machine stalled for longer is made again, so many times at most."""
SEQUENCES = 60
PAUSE_MS = 200.0
"""Who never says that it ends comes once more, so long after its time is over."""


class Sent(NamedTuple):
    """A request as it is planned."""

    instant_ns: int
    sequence: int
    starts: bool
    ends: bool


def planned(case: Case, seed: int) -> list[Sent]:
    """Requests in order of their instants: chunks of sequences that start at random."""
    random, found, start_s = Random(seed), [], 0.05
    for sequence in range(SEQUENCES):
        start_s += random.expovariate(case.per_s)
        count = random.randint(1, case.most)
        ends = random.random() >= case.without_end
        for place in range(count):
            last = place == count - 1
            pause_ms = 0.0 if ends or not last else case.idle_ms + PAUSE_MS
            instant_s = start_s + (place * case.gap_ms + pause_ms + random.uniform(0, 15)) / 1000
            found.append(Sent(round(instant_s * 1e9), sequence, place == 0, last and ends))
    return sorted(found)


def plan(sent: list[Sent], first: int, sequences: int) -> Plan:
    """Requests to the server."""
    texts = []
    for place, each in enumerate(sent):
        x = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [first + place, 1]}
        parameters = {
            "sequence_id": sequences + each.sequence + 1,
            "sequence_start": each.starts,
            "sequence_end": each.ends,
        }
        body = json.dumps({"inputs": [x], "parameters": parameters}).encode()
        head = (
            f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        texts.append(head.encode() + body)
    return Plan("127.0.0.1", PORT, [each.instant_ns for each in sent], texts)


def written(case: Case, folder: Path) -> None:
    """The model repository."""
    place = folder / triton.REPOSITORY / MODEL
    (place / triton.VERSION).mkdir(parents=True)
    numbers = {"instances": case.instances, "idle_us": case.idle_ms * 1000}
    text = CONFIG.format(**numbers, strategy=case.config)
    (place / triton.CONFIG).write_text(text, encoding="utf-8")
    (place / triton.VERSION / "model.py").write_text(MODEL_CODE, encoding="utf-8")
    put_model(place / triton.VERSION, COSTS)


def driven(python: Path, case: Case, folder: Path) -> dict[str, Any]:
    """What became of the requests: see ``about`` in the file."""
    written(case, folder)
    command = triton.command(folder, python, [PORT, PORT + 1, PORT + 2])
    sent = planned(case, 2)
    warm = [Sent(i * 60_000_000, i, True, True) for i in range(30)]
    with serving(command, folder / "server.log", None, urgent=True) as server, Sender() as sender:
        wait_until_ready(server, PORT, triton.READY, 60, "triton")
        sender.run(plan(warm, WARM, WARM_SEQUENCES))
        answers = sender.run(plan(sent, 0, 0))
    origin_ns = int(answers.sent_ns[0])
    found = [each for each in logged(folder) if max(each.identities) < WARM]
    processes = sorted({each.process for each in found})
    return {
        "late_ns": int(answers.late_ns.max()),
        "arrival_ns": (answers.sent_ns - origin_ns).tolist(),
        "sequence": [each.sequence for each in sent],
        "ends": [int(each.ends) for each in sent],
        "refused": np.flatnonzero(~answers.good).tolist(),
        "batches": [
            [b.begin_ns - origin_ns, b.end_ns - b.begin_ns, processes.index(b.process),
             list(b.identities)]
            for b in found
        ],
    }  # fmt: skip


def hiccup_ns(found: dict[str, Any]) -> int:
    """How long the machine stalled at worst: a batch, or the sender."""
    took = [ran - int(SERVICE_NS[len(who) - 1]) for _, ran, _, who in found["batches"]]
    return max(*took, found["late_ns"])


def main() -> None:
    """Record all cases."""
    lines = []
    for case in CASES:
        tries = []
        while len(tries) < TRIES and (not tries or hiccup_ns(tries[-1]) > CALM_NS):
            with tempfile.TemporaryDirectory() as folder:
                tries.append(driven(Path(sys.argv[1]), case, Path(folder)))
        found = min(tries, key=hiccup_ns)
        numbers = {**case._asdict(), "service_ns": SERVICE_NS.tolist(), **found}
        lines.append(f"{json.dumps(case.title)}: {json.dumps(numbers, separators=(',', ':'))}")
        refused = len(found["refused"])
        sys.stdout.write(
            f"{case.title}: {len(found['batches'])} batches, {refused} refused, "
            f"{hiccup_ns(found) / 1e6:.1f} ms late at worst\n"
        )
        sys.stdout.flush()
    about = {
        "stack": "triton",
        "version": "2.51, the server in nvidia-pytriton 0.7.0",
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "chrt -r 1 python tests/record_triton_sequences.py PYTHON",
        "batches": "start in ns, how long it ran, instance, and the request in each place (-1: "
        "nobody)",
        "refused": "requests of sequences that the server did not know any more",
    }
    text = ",\n".join(lines)
    (FOLDER / "triton-sequences.json").write_text(
        f'{{"about": {json.dumps(about)},\n"cases": {{\n{text}\n}}}}\n', "utf-8"
    )


if __name__ == "__main__":
    main()
