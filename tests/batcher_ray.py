"""Ray Serve's ``_BatchQueue`` without a cluster, on virtual time.

The function awaits, as the exported application does; with ``blocks`` it holds the loop instead.
"""

import asyncio
import types

from virtual_loop import VirtualLoop, run, seconds

PACKAGE = "ray"


class Nothing:
    """Stands for a metric."""

    def __init__(self, *_, **__) -> None:
        pass

    def observe(self, *_, **__) -> None:
        pass

    set = inc = observe


def batches_of(case) -> list[list[int]]:
    """Start in ns, size and first request of each batch, in order of their starts."""
    from ray import serve
    from ray.serve import batching

    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    batching.Histogram = batching.Gauge = batching.Counter = Nothing
    batching.time = types.SimpleNamespace(time=loop.time)
    many = types.SimpleNamespace(max_ongoing_requests=10**6)
    serve.get_replica_context = lambda: types.SimpleNamespace(_deployment_config=many)
    found = []

    @serve.batch(max_batch_size=case["max_batch_size"], max_concurrent_batches=case["at_a_time"])
    async def model(requests):
        found.append([loop.now_ns, len(requests), requests[0]])
        service_ns = case["service_ns"][len(requests) - 1]
        if case["blocks"]:
            loop.block(service_ns)
        else:
            await asyncio.sleep(seconds(service_ns))
        return requests

    model.set_batch_wait_timeout_s(seconds(case["wait_ns"]))
    run(loop, case["arrival_ns"], model)
    return found
