"""LitServe's ``collate_requests`` in the loop of one worker, on virtual time."""

import types
from fractions import Fraction
from queue import Empty

from virtual_loop import SECOND_NS, seconds, snapped

PACKAGE = "litserve"


class Requests:
    """The queue of a worker; waiting for a request lets time pass."""

    def __init__(self, arrivals_ns) -> None:
        self.arrivals_ns, self.taken = arrivals_ns, 0
        self.now = Fraction(0)

    @property
    def next(self) -> Fraction:
        return seconds(self.arrivals_ns[self.taken])

    def get(self, timeout):
        until = self.now + snapped(timeout)
        if self.next > until:
            self.now = until
            raise Empty
        self.now = max(self.now, self.next)
        self.taken += 1
        return 0, self.taken - 1, self.now, None

    def get_nowait(self):
        return self.get(0)


def batches_of(case) -> list[list[int]]:
    """Start in ns, size and first request of each batch, in order of their starts."""
    from litserve.loops import base

    requests = Requests([*case["arrival_ns"], 2**62])
    base.time = types.SimpleNamespace(monotonic=lambda: requests.now)
    loop = types.SimpleNamespace(put_response=lambda **_: None)
    api = types.SimpleNamespace(
        batch_timeout=seconds(case["wait_ns"]),
        max_batch_size=case["max_batch_size"],
        request_timeout=False,
        stream=False,
    )
    found = []
    while requests.taken < len(case["arrival_ns"]):
        batch, _ = base.collate_requests(loop, api, requests, None)
        if batch:
            found.append([int(requests.now * SECOND_NS), len(batch), batch[0][1]])
            requests.now += seconds(case["service_ns"][len(batch) - 1])
        elif not case["wait_ns"]:  # a worker asks without a pause
            requests.now = requests.next
    return found
