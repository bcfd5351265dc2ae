"""BentoML's ``CorkDispatcher``, on virtual time: an API whose function awaits."""

import asyncio
import types

from virtual_loop import VirtualLoop, run, seconds

PACKAGE = "bentoml"


def batches_of(case) -> list[list[int]]:
    """Start in ns, size and first request of each batch, in order of their starts."""
    from bentoml._internal.marshal import dispatcher
    from bentoml._internal.utils import alg

    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    # numpy fits the durations: it takes floats, not fractions
    dispatcher.time = alg.time = types.SimpleNamespace(time=lambda: float(loop.now))
    found = []

    async def model(requests):
        found.append([loop.now_ns, len(requests), requests[0]])
        await asyncio.sleep(seconds(case["service_ns"][len(requests) - 1]))
        return requests

    corked = dispatcher.CorkDispatcher(
        case["max_latency_ms"],
        case["max_batch_size"],
        fallback=lambda: None,
        get_batch_size=lambda _: 1,
    )(model)
    run(loop, case["arrival_ns"], corked)
    return found
