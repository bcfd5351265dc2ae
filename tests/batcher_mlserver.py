"""MLServer's ``AdaptiveBatcher``, on virtual time.

The model ``blocks`` the loop, as one in the server's own process does; otherwise it runs in a
worker that takes batches in turn, as one of ``parallel_workers`` does.
"""

import asyncio
import types

from virtual_loop import VirtualLoop, run, seconds

PACKAGE = "mlserver"


class Merged:
    """A batch, as the batcher makes it of its requests."""

    def __init__(self, requests) -> None:
        self.inference_requests = requests
        self.merged_request = list(requests.values())

    def split_response(self, response):
        return dict.fromkeys(self.inference_requests, response)


class Model:
    """Takes its time for each batch and writes it down."""

    def __init__(self, loop, case) -> None:
        self.loop, self.case = loop, case
        self.free = asyncio.Lock()
        self.settings = types.SimpleNamespace(
            max_batch_size=case["max_batch_size"], max_batch_time=seconds(case["wait_ns"])
        )
        self.batches = []

    def start(self, merged) -> int:
        self.batches.append([self.loop.now_ns, len(merged), merged[0]])
        return self.case["service_ns"][len(merged) - 1]

    async def predict(self, merged):
        if self.case["blocks"]:
            self.loop.block(self.start(merged))
            return merged
        async with self.free:
            await asyncio.sleep(seconds(self.start(merged)))
        return merged


def batches_of(case) -> list[list[int]]:
    """Start in ns, size and first request of each batch, in order of their starts."""
    from mlserver.batching import adaptive

    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    adaptive.time = types.SimpleNamespace(time=loop.time)
    adaptive.BatchedRequests = Merged
    adaptive.metrics = types.SimpleNamespace(register=lambda *_: None, log=lambda **_: None)
    model = Model(loop, case)
    run(loop, case["arrival_ns"], adaptive.AdaptiveBatcher(model).predict)
    return model.batches
