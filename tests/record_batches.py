"""Drives the batcher of a stack and records *arrivals in, batches out*.

``python tests/record_batches.py ray`` writes ``tests/data/stacks/ray.json``, where Ray Serve is
installed; so for the other stacks of ``CASES``.  With ``--ask`` it answers cases, JSON on its
standard input, with their batches: a stack stays in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE / "data" / "stacks"

Case = dict[str, Any]

COST_US = {size: 5000 + 500 * size for size in range(1, 9)}
"""5 ms and 0.5 ms a request: 889 requests per second in batches of 8."""


def arrivals_ns(rate_per_s: float, requests: int, seed: int) -> list[int]:
    """Poisson arrivals at whole us, no two at once, none where a timer of whole ms could end."""
    random, found, now_s = Random(seed), [0], 0.0
    while len(found) <= requests:
        now_s += random.expovariate(rate_per_s)
        instant_ns = int(now_s * 1e6) * 1000 + 1 + len(found)
        found.append(max(instant_ns, found[-1] + 1))
    return found[1:]


def case(rate_per_s: float, wait_ms: float, seed: int, requests: int = 400, **more: Any) -> Case:
    """Arrivals, service times and a setting."""
    return {
        "max_batch_size": 8,
        "wait_ns": round(wait_ms * 1e6),
        "arrival_ns": arrivals_ns(rate_per_s, requests, seed),
        "service_ns": [us * 1000 for us in COST_US.values()],
        **more,
    }


def cases_of_ray() -> dict[str, Case]:
    """Sealed batches at several loads, waits and limits; and a function that blocks."""
    found = {
        f"{rate} per second, wait {wait} ms, {many} at a time": case(
            rate, wait, seed, at_a_time=many, blocks=False
        )
        for seed, (rate, wait, many) in enumerate(
            [(50, 10, 1), (400, 10, 1), (800, 10, 1), (400, 4, 1), (300, 0, 1), (1500, 4, 2)]
        )
    }
    return found | {
        f"{rate} per second, wait 10 ms, it blocks": case(rate, 10, 9, at_a_time=1, blocks=True)
        for rate in (50, 300)
    }


def cases_of_mlserver() -> dict[str, Case]:
    """A model in the server's own process, and one in a worker's."""
    return {
        f"{rate} per second, wait {wait} ms, {'it blocks' if blocks else 'one worker'}": case(
            rate, wait, rate, blocks=blocks
        )
        for blocks in (True, False)
        for rate, wait in [(50, 10), (200, 10), (400, 4), (800, 10)]
    }


def cases_of_bentoml() -> dict[str, Case]:
    """Under several loads, with a bound that nobody reaches and with one that drops requests.

    No batch ends at a whole ms, when the dispatcher looks: which comes first is the loop's matter.
    """
    service_ns = [us * 1000 + 1370 for us in COST_US.values()]
    return {
        f"{rate} per second, bound {bound} ms": case(
            rate, 0, rate, requests=1200, max_latency_ms=bound, service_ns=service_ns
        )
        for rate, bound in [(50, 1000), (200, 1000), (400, 1000), (700, 1000), (950, 40)]
    }


def cases_of_litserve() -> dict[str, Case]:
    """Windows at several loads and waits; the last takes what is there."""
    return {
        f"{rate} per second, wait {wait} ms": case(rate, wait, rate)
        for rate, wait in [(50, 10), (200, 10), (400, 10), (800, 10), (300, 2.5), (500, 0)]
    }


CASES = {
    "ray": cases_of_ray,
    "mlserver": cases_of_mlserver,
    "bentoml": cases_of_bentoml,
    "litserve": cases_of_litserve,
}


def batches_of(stack: str, cases: list[Case]) -> list[list[list[int]]]:
    """What the batcher makes of each case: start in ns, size and first request of each batch."""
    batcher = import_module(f"batcher_{stack}")
    return [batcher.batches_of(each) for each in cases]


def ask(stack: str, cases: list[Case]) -> list[list[list[int]]]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "record_batches.py"), stack, "--ask"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[list[int]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def is_installed(stack: str) -> bool:
    """Whether the stack can be asked here."""
    return find_spec(stack) is not None


def written(stack: str) -> str:
    """The file with the batches of every case, one line a case."""
    cases = CASES[stack]()
    found = ask(stack, list(cases.values()))
    about = {
        "stack": stack,
        "version": version(stack),
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": f"python tests/record_batches.py {stack}",
        "batches": "start in ns, size and first request of each batch; the clock is virtual",
    }
    lines = [
        f"{json.dumps(name)}: {json.dumps({**each, 'batches': batches}, separators=(',', ':'))}"
        for (name, each), batches in zip(cases.items(), found, strict=True)
    ]
    return f'{{"about": {json.dumps(about)},\n"cases": {{\n' + ",\n".join(lines) + "\n}}\n"


def main() -> None:
    """Answer or record."""
    stack = sys.argv[1]
    if "--ask" in sys.argv:
        answer = json.dumps(batches_of(stack, json.load(sys.stdin)))
        sys.stdout.write(f"\n{answer}\n")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{stack}.json").write_text(written(stack), encoding="utf-8")


if __name__ == "__main__":
    main()
