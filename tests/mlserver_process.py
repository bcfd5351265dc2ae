"""MLServer asked in a process of its own: its protocol buffers and Triton's exclude each other.

Run as a script it answers one question, JSON on its standard input, with JSON on its output.
"""

import asyncio
import json
import selectors
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest


def ask(question: str, **given):
    """The answer of a function of this file, from a process with MLServer; skips without it."""
    if find_spec("mlserver") is None:
        pytest.skip("MLServer is not installed")
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), question],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def keys_of_a_model() -> dict[str, list[str]]:
    """Keys that the settings of a model and of the server have."""
    from mlserver.settings import ModelSettings, Settings

    return {
        "model": [field.alias or name for name, field in ModelSettings.model_fields.items()],
        "server": list(Settings.model_fields),
    }


def settings_of(tables) -> list[tuple[int, float, int]]:
    """What MLServer finds in each table of a model and of the server."""
    from mlserver.settings import ModelSettings, Settings

    found = []
    for model, server in tables:
        settings = ModelSettings.model_validate({**model, "implementation": "mlserver.MLModel"})
        workers = Settings(**server).parallel_workers
        found.append((settings.max_batch_size, settings.max_batch_time, workers))
    return found


class JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: a clock jumps instead."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout=None):
        events = super().select(0)
        if timeout and not events:
            self.clock.now_s += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock that jumps from timer to timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(JumpingSelector(self))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now_s


class Merged:
    """A batch, as the batcher makes it of its requests."""

    def __init__(self, requests) -> None:
        self.inference_requests = requests
        self.merged_request = list(requests.values())

    def split_response(self, response):
        return dict.fromkeys(self.inference_requests, response)


class BlockingModel:
    """Holds the event loop for as long as a batch takes, and writes the batch down."""

    def __init__(self, loop, wait_s: float, service_s: list[float]) -> None:
        self.loop = loop
        self.service_s = service_s
        self.settings = types.SimpleNamespace(max_batch_size=len(service_s), max_batch_time=wait_s)
        self.batches = []

    async def predict(self, merged) -> list:
        self.batches.append((round(self.loop.now_s * 1e6), len(merged)))
        self.loop.now_s += self.service_s[len(merged) - 1]
        return merged


def batches_of(arrivals_s, wait_s: float, service_s) -> list[tuple[int, int]]:
    """Start in us and size of each batch that MLServer's batcher forms, on virtual time."""
    from mlserver.batching import adaptive

    loop = VirtualLoop()
    adaptive.time = types.SimpleNamespace(time=loop.time)
    adaptive.BatchedRequests = Merged
    adaptive.metrics = types.SimpleNamespace(register=lambda *_: None, log=lambda **_: None)
    model = BlockingModel(loop, wait_s, service_s)
    batcher = adaptive.AdaptiveBatcher(model)
    tasks = []

    def arrive(request: int) -> None:
        tasks.append(loop.create_task(batcher.predict(request)))

    async def all_served() -> None:
        while len(tasks) < len(arrivals_s):
            await asyncio.sleep(1)
        await asyncio.gather(*tasks)

    for request, instant_s in enumerate(arrivals_s):
        loop.call_at(instant_s, arrive, request)
    loop.run_until_complete(all_served())
    loop.close()
    return model.batches


QUESTIONS = {each.__name__: each for each in (keys_of_a_model, settings_of, batches_of)}

if __name__ == "__main__":
    answer = QUESTIONS[sys.argv[1]](**json.load(sys.stdin))
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
