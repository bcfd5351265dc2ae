"""Series for figures are exact: they are held against counting request by request."""

from dataclasses import replace

import numpy as np
import pytest

from policies.contract import NEVER
from sim import series
from sim.recursion import recursion
from sim.service import Service
from sim.trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from sim.workload import Workload

SERVICE = Service(np.array([[[10, 14], [12, 18], [14, 22]]]), np.array([4, 8]), servers=2)
INSTANTS = np.arange(0, 400, 7)


@pytest.fixture(scope="module")
def trace() -> Trace:
    """Every status: the last request never fires, and two others fail in ways made by hand.

    Where a request leaves a batch of several, the batch becomes smaller.
    """
    random = np.random.default_rng(1)
    workload = Workload(
        random.integers(1, 12, 60).astype(np.int32), np.cumsum(random.integers(0, 9, 60))
    )
    made = recursion(workload, SERVICE, 3, NEVER, 2)
    status, size, finish = made.status.copy(), made.batch_size.copy(), made.finish_ns.copy()
    start, batch = made.start_ns.copy(), made.batch.copy()
    shared = np.flatnonzero(size[batch] > 1)
    for request, fate in ((shared[10], REJECTED), (shared[20], EXPIRED)):
        size[batch[request]] -= 1
        status[request], start[request], batch[request] = fate, -1, -1
        finish[request] = made.arrival_ns[request] + 4 if fate == EXPIRED else -1
    lane = np.where(status == REJECTED, -1, made.lane).astype(np.int16)
    return replace(
        made,
        status=status,
        batch_size=size,
        finish_ns=finish,
        start_ns=start,
        batch=batch,
        lane=lane,
    )


def spans(trace: Trace, column: str, forever: int = 10**6) -> list[tuple[int, int]]:
    """From arrival to start or finish of each request that was let in, one at a time."""
    found = []
    for request in range(len(trace)):
        status = trace.status[request]
        if status == REJECTED:
            continue
        until = getattr(trace, column)[request]
        if status == EXPIRED:
            until = trace.finish_ns[request]
        found.append((trace.arrival_ns[request], forever if status == UNFINISHED else until))
    return found


def counted(pairs: list[tuple[int, int]], at: int) -> int:
    return sum(low <= at < high for low, high in pairs)


def test_the_trace_has_every_status(trace):
    assert set(trace.status.tolist()) == {SERVED, REJECTED, EXPIRED, UNFINISHED}


def test_queue_depth_counts_who_waits(trace):
    found = series.queue_depth(trace, INSTANTS)
    assert found.value.tolist() == [counted(spans(trace, "start_ns"), at) for at in INSTANTS]
    assert found.at_ns is INSTANTS


def test_number_in_system_counts_who_waits_or_is_served(trace):
    found = series.number_in_system(trace, INSTANTS)
    assert found.value.tolist() == [counted(spans(trace, "finish_ns"), at) for at in INSTANTS]


@pytest.mark.parametrize(
    ("function", "column"),
    [(series.mean_queue_depth, "start_ns"), (series.mean_number_in_system, "finish_ns")],
)
def test_means_over_bins_are_integrals(trace, function, column):
    pairs = spans(trace, column)
    line = [counted(pairs, at) for at in range(INSTANTS[-1])]
    found = function(trace, INSTANTS)
    expected = [np.mean(line[at : at + 7]) for at in INSTANTS[:-1]]
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)


def test_the_peak_of_the_queue_counts_arrivals_before_the_starts_of_their_instant(trace):
    pairs = spans(trace, "start_ns")
    found = series.peak_queue_depth(trace, INSTANTS)
    for low, high, peak in zip(INSTANTS[:-1], INSTANTS[1:], found.value, strict=True):
        inside = [arrival for arrival, _ in pairs if low <= arrival < high]
        expired = trace.status == EXPIRED
        times = trace.arrival_ns[expired], trace.finish_ns[expired]
        gone = {(a, f) for a, f in zip(*times, strict=True)}
        after = [
            sum(
                a <= at and (at < until or (at == until and (a, until) not in gone))
                for a, until in pairs
            )
            for at in inside
        ]
        assert peak == max([counted(pairs, low), *after])


def test_utilisation_is_the_busy_share_of_the_servers(trace):
    found = series.utilisation(trace, INSTANTS)
    busy = list(zip(trace.batch_start_ns, trace.batch_finish_ns, strict=True))
    line = [counted(busy, at) / 2 for at in range(INSTANTS[-1])]
    expected = [np.mean(line[at : at + 7]) for at in INSTANTS[:-1]]
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    assert 0.5 < max(found.value) <= 1.0


def test_points_and_bins_span_the_run(trace):
    last = trace.finish_ns.max()
    assert series.queue_depth(trace, 11).at_ns[[0, -1]].tolist() == [0, last]
    bins = series.utilisation(trace, 5)
    assert (len(bins.edges_ns), len(bins.value), bins.edges_ns[-1]) == (6, 5, last)


def test_an_ecdf_is_the_share_that_does_not_exceed():
    values = np.random.default_rng(1).integers(0, 500, 10_000)
    curve = series.ecdf(values, 100)
    assert len(curve.value) <= 100
    assert curve.share.tolist() == [np.mean(values <= value) for value in curve.value]
    assert (curve.value[0], curve.value[-1], curve.share[-1]) == (values.min(), values.max(), 1.0)


def test_an_ecdf_shows_the_tail():
    curve = series.ecdf(np.arange(1_000_000), 200)
    assert sum(curve.share > 0.999) > 30
    assert sum(curve.share < 0.5) > 40


def test_an_ecdf_of_nothing_is_empty():
    assert len(series.ecdf(np.zeros(0)).value) == 0


def test_latencies_and_waits_are_of_the_served(trace):
    served = trace.status == SERVED
    latency, wait = series.latencies_ns(trace), series.waits_ns(trace)
    assert len(latency) == len(wait) == served.sum()
    took = (trace.batch_finish_ns - trace.batch_start_ns)[trace.batch[served]]
    assert (latency - wait).tolist() == took.tolist()


def test_batch_sizes_are_counted(trace):
    sizes = trace.batch_size.tolist()
    assert series.batch_size_histogram(trace).tolist() == [sizes.count(k) for k in range(4)]


def test_padding_is_what_a_batch_runs_beyond_its_lengths(trace):
    for shortest in (0, 4):
        waste = series.padding_by_batch_size(trace, shortest)
        assert np.isnan(waste[0])
        for size in range(1, 4):
            ids = [k for k, count in enumerate(trace.batch_size) if count == size]
            own = sum(int(trace.length[trace.batch == k].sum()) for k in ids)
            padded = sum(size * max(trace.batch_longest[k], shortest) for k in ids)
            assert waste[size] == pytest.approx(1 - own / padded)
