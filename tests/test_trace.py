"""Traces: every invariant rejects a trace that breaks it, and a saved trace comes back equal."""

import json
from dataclasses import replace

import numpy as np
import pytest

from policies.contract import NEVER, Tier
from sim import invariants
from sim.conformance import table_ns
from sim.recursion import recursion
from sim.service import Noise, Service, expected_ns
from sim.trace import (
    BATCH_COLUMNS,
    EXPIRED,
    REJECTED,
    REQUEST_COLUMNS,
    SERVED,
    UNFINISHED,
    Trace,
)
from sim.workload import Workload

TABLE = np.array([[[10, 14], [12, 18], [14, 22]]])
SERVICE = Service(TABLE, np.array([4, 8]), servers=2, capacity=3)
PATIENCE = np.array([NEVER, NEVER, NEVER, 4, NEVER, NEVER, NEVER, NEVER, NEVER])


def small_trace() -> Trace:
    """Nine requests by hand: two lanes, two servers, room for three, and every status.

    At 7 request 3 gives up just before request 6 arrives; at 10 a batch takes from both lanes.
    """
    columns = {
        "arrival_ns": [0, 1, 2, 3, 4, 5, 7, 12, 20],
        "length": [4, 8, 4, 8, 4, 4, 4, 8, 4],
        "tier": [0, 0, 0, 0, 0, 0, 0, 0, 0],
        "lane": [0, 1, 0, 1, 1, -1, 0, 0, 1],
        "start_ns": [0, 1, 10, -1, 10, -1, 10, 15, -1],
        "finish_ns": [10, 15, 24, 7, 24, -1, 24, 29, -1],
        "batch": [0, 1, 2, -1, 2, -1, 2, 3, -1],
        "server": [0, 1, 0, -1, 0, -1, 0, 1, -1],
        "status": [SERVED] * 3 + [EXPIRED, SERVED, REJECTED, SERVED, SERVED, UNFINISHED],
    }
    batches = {
        "start_ns": [0, 1, 10, 15],
        "finish_ns": [10, 15, 24, 29],
        "size": [1, 1, 3, 1],
        "longest": [4, 8, 4, 8],
        "lane": [0, 1, -1, 0],
        "server": [0, 1, 0, 1],
        "formed_ns": [0, 1, 10, 15],
    }
    return Trace(
        **{name: np.array(columns[name], dtype) for name, dtype in REQUEST_COLUMNS.items()},
        **{f"batch_{name}": np.array(batches[name], dt) for name, dt in BATCH_COLUMNS.items()},
        servers=2,
    )


def small_workload() -> Workload:
    trace = small_trace()
    return Workload(trace.length, trace.arrival_ns, timeout_ns=PATIENCE)


def crowd(requests: int = 200) -> Workload:
    """Arrivals about twice as fast as the service of `long_trace`, on a coarse grid."""
    random = np.random.default_rng(7)
    return Workload(
        random.integers(1, 12, requests).astype(np.int32),
        np.cumsum(random.integers(0, 6, requests)),
    )


def long_trace() -> Trace:
    return recursion(crowd(), replace(SERVICE, capacity=NEVER), 3, 20)


def changed(trace: Trace, column: str, row: int, value: int) -> Trace:
    values = getattr(trace, column).copy()
    values[row] = value
    return replace(trace, **{column: values})


def test_a_right_trace_passes_every_invariant():
    small_trace().check(SERVICE, small_workload())
    long_trace().check(replace(SERVICE, capacity=NEVER), crowd())


def test_an_empty_trace_passes_every_invariant():
    nothing = Workload(np.zeros(0, np.int32), np.zeros(0, np.int64))
    recursion(nothing, SERVICE, 3, 0).check(SERVICE, nothing)


CORRUPTIONS = [
    ("1, request 2: arrivals start at 0 or later and do not decrease", "arrival_ns", 2, 0),
    ("1, request 0: arrivals start at 0 or later", "arrival_ns", 0, -1),
    ("1, request 4: 0 <= tier < 1", "tier", 4, 1),
    ("2, request 8: status is served, rejected, expired, unfinished or lost", "status", 8, 5),
    ("2, request 2: a served request is in a batch", "batch", 2, -1),
    ("2, request 2: a served request is in a batch", "batch", 2, 4),
    ("3, request 2: arrival <= start < finish", "start_ns", 2, 1),
    ("3, request 2: arrival <= start < finish", "finish_ns", 2, 10),
    ("4, request 8: start, batch and server are -1", "start_ns", 8, 20),
    ("4, request 3: start, batch and server are -1", "batch", 3, 1),
    ("4, request 5: start, batch and server are -1", "server", 5, 0),
    ("4, request 3: arrival < expiry", "finish_ns", 3, 3),
    ("4, request 8: finish is -1 for who never left", "finish_ns", 8, 30),
    ("4, request 5: all but the rejected have a lane", "lane", 5, 0),
    ("4, request 2: all but the rejected have a lane", "lane", 2, -1),
    ("5, batch 2: size is the number of members", "batch_size", 2, 2),
    ("5, batch 2: size is the number of members", "batch", 4, 3),
    ("6, batch 2: longest is the length of the longest member", "batch_longest", 2, 8),
    ("7, request 6: start_ns is that of its batch", "start_ns", 6, 11),
    ("7, request 6: finish_ns is that of its batch", "finish_ns", 6, 23),
    ("7, request 0: server is that of its batch", "batch_server", 0, 1),
    ("8, batch 2: lane is that of the members, -1 where they differ", "batch_lane", 2, 0),
    ("8, batch 3: lane is that of the members, -1 where they differ", "batch_lane", 3, -1),
    ("13, request 3: an expired request gives up at its limit", "finish_ns", 3, 8),
]


@pytest.mark.parametrize(("message", "column", "row", "value"), CORRUPTIONS)
def test_a_corrupted_column_is_rejected_with_number_and_row(message, column, row, value):
    trace = changed(small_trace(), column, row, value)
    with pytest.raises(AssertionError, match=f"^invariant {message}"):
        trace.check(SERVICE, small_workload())


def test_a_wrong_dtype_or_shape_is_rejected():
    wide = replace(small_trace(), length=small_trace().length.astype(np.int64))
    with pytest.raises(AssertionError, match=r"^invariant 1, column length: int32 \(9,\)"):
        wide.check()
    short = replace(small_trace(), batch_lane=small_trace().batch_lane[:3])
    with pytest.raises(AssertionError, match=r"^invariant 1, column batch_lane: int16 \(4,\)"):
        short.check()


def test_a_batch_above_the_limit_is_rejected():
    small_trace().check(largest_batch=3)
    with pytest.raises(AssertionError, match=r"^invariant 5, batch 2: 1 <= size <= 2 must hold"):
        small_trace().check(largest_batch=2)


def test_a_server_that_runs_two_batches_at_once_is_rejected():
    twice = changed(changed(small_trace(), "batch_server", 3, 0), "server", 7, 0)
    with pytest.raises(AssertionError, match=r"^invariant 9, batch 3: a server runs one batch"):
        twice.check()


def test_an_unknown_server_is_rejected():
    far = changed(changed(small_trace(), "batch_server", 3, 2), "server", 7, 2)
    with pytest.raises(AssertionError, match=r"^invariant 9, batch 3: 0 <= server < 2 must hold"):
        far.check()


def test_batches_out_of_order_are_rejected():
    order = np.array([0, 2, 1, 3])
    trace = small_trace()
    columns = {f"batch_{name}": getattr(trace, f"batch_{name}")[order] for name in BATCH_COLUMNS}
    batch = np.where(trace.batch >= 0, order[trace.batch], -1).astype(np.int32)
    with pytest.raises(AssertionError, match=r"^invariant 9, batch 2: batches are in order"):
        replace(trace, batch=batch, **columns).check()


def test_overtaking_in_a_lane_is_rejected():
    trace = long_trace()
    ids = np.arange(1, len(trace))
    swappable = (trace.batch[1:] > trace.batch[:-1]) & (trace.arrival_ns[1:] <= trace.start_ns[:-1])
    second = int(ids[swappable][0])
    order = np.arange(len(trace))
    order[[second - 1, second]] = second, second - 1
    names = ("start_ns", "finish_ns", "batch", "server", "length")
    swapped = replace(trace, **{name: getattr(trace, name)[order] for name in names})
    with pytest.raises(AssertionError, match=rf"^invariant 10, request {second}: a lane is FIFO"):
        swapped.check()


@pytest.mark.parametrize(("status", "left"), [(UNFINISHED, -1), (EXPIRED, 10**6)])
def test_overtaking_one_who_waits_on_is_rejected(status, left):
    trace = long_trace()
    pair = int(np.flatnonzero(trace.batch_size >= 2)[0])
    stays = int(np.flatnonzero(trace.batch == pair)[0])
    for column, value in {"start_ns": -1, "finish_ns": left, "batch": -1, "server": -1}.items():
        trace = changed(trace, column, stays, value)
    trace = changed(trace, "status", stays, status)
    trace = changed(trace, "batch_size", pair, trace.batch_size[pair] - 1)
    longest = trace.length[trace.batch == pair].max()
    trace = changed(trace, "batch_longest", pair, longest)
    with pytest.raises(AssertionError, match=rf"^invariant 10, request {stays + 1}: a lane is"):
        trace.check()


def test_littles_law_rejects_a_batch_table_that_disagrees_with_its_requests():
    invariants._check_little(small_trace())
    late = changed(small_trace(), "batch_finish_ns", 2, 25)
    with pytest.raises(AssertionError, match=r"^invariant 11: .*times_in_system=.*integral="):
        invariants._check_little(late)


def test_littles_law_rejects_leaving_twice():
    twice = changed(small_trace(), "batch_size", 0, 5)
    with pytest.raises(AssertionError, match=r"^invariant 11, event \d+: nobody leaves twice"):
        invariants._check_little(twice)


def test_littles_law_is_exact_where_the_sum_exceeds_64_bits():
    instants = np.arange(8) * 2**60
    workload = Workload(np.ones(8, np.int32), instants // 8)
    slow = Service(np.array([[[2**59]]]), np.array([1]))
    trace = recursion(workload, slow, 1, 0)
    assert sum((trace.finish_ns - trace.arrival_ns).tolist()) > 2**63
    trace.check(slow, workload)


def test_another_workload_is_rejected():
    trace, workload = small_trace(), small_workload()
    with pytest.raises(AssertionError, match=r"^invariant 12: as many requests"):
        trace.check(workload=crowd(10))
    with pytest.raises(AssertionError, match=r"^invariant 12, request 0: length is the workload's"):
        trace.check(workload=replace(workload, length=workload.length + np.int32(1)))
    with pytest.raises(AssertionError, match=r"^invariant 12, request 0: arrival_ns is the workl"):
        trace.check(workload=replace(workload, arrival_ns=workload.arrival_ns + 1))


def test_other_limits_of_patience_are_rejected():
    trace, workload = small_trace(), small_workload()
    with pytest.raises(AssertionError, match=r"^invariant 13, request 3: nobody gives up without"):
        trace.check(workload=replace(workload, timeout_ns=np.zeros(0, np.int64)))
    served = PATIENCE.copy()
    served[2] = 8
    with pytest.raises(AssertionError, match=r"^invariant 13, request 2: a served request starts"):
        trace.check(workload=replace(workload, timeout_ns=served))
    left = PATIENCE.copy()
    left[8] = 100
    with pytest.raises(AssertionError, match=r"^invariant 13, request 8: nobody with a limit"):
        trace.check(workload=replace(workload, timeout_ns=left))


@pytest.mark.parametrize(
    ("service", "request_"),
    [
        (replace(SERVICE, capacity=2), 4),
        (replace(SERVICE, capacity=4), 5),
        (replace(SERVICE, capacity=NEVER), 5),
        (replace(SERVICE, capacity=4, capacity_counts_in_system=True), 4),
        (replace(SERVICE, longest_admitted=4), 1),
    ],
)
def test_a_wrong_admission_is_rejected(service, request_):
    with pytest.raises(AssertionError, match=rf"^invariant 14, request {request_}: "):
        small_trace().check(service)


def test_capacity_may_count_the_whole_system():
    small_trace().check(replace(SERVICE, capacity=5, capacity_counts_in_system=True))


def test_an_arrival_at_the_instant_of_a_start_still_finds_those_who_start():
    """At 10 the server takes what waits, after request 3 has found it there and was refused."""
    arrival, start = np.array([0, 1, 2, 10, 11]), np.array([0, 10, 10, -1, 22])
    one = replace(SERVICE, servers=1, capacity=2)
    lane, batch = np.array([0, 0, 0, -1, 0]), np.array([0, 1, 1, -1, 2])
    fates = np.array([SERVED, SERVED, SERVED, REJECTED, SERVED])
    trace = replace(
        recursion(Workload(np.full(5, 4, np.int32), arrival), one, 3, 0),
        lane=lane.astype(np.int16),
        start_ns=start,
        finish_ns=np.array([10, 22, 22, -1, 32]),
        batch=batch.astype(np.int32),
        server=lane.astype(np.int16),
        status=fates.astype(np.int8),
        batch_start_ns=np.array([0, 10, 22]),
        batch_formed_ns=np.array([0, 10, 22]),
        batch_finish_ns=np.array([10, 22, 32]),
        batch_size=np.array([1, 2, 1], np.int32),
        batch_longest=np.full(3, 4, np.int32),
        batch_lane=np.zeros(3, np.int16),
        batch_server=np.zeros(3, np.int16),
    )
    trace.check(one)


def test_other_service_times_are_rejected():
    slower = replace(SERVICE, service_ns=TABLE + np.array([[[0], [0], [1]]]))
    with pytest.raises(AssertionError, match=r"^invariant 15, batch 2: a batch takes the profile"):
        small_trace().check(slower)
    noisy = replace(slower, noise=Noise(draws=np.ones((1, 2, 4), np.float32)))
    small_trace().check(noisy)
    with pytest.raises(AssertionError, match=r"^invariant 15: as many servers"):
        small_trace().check(replace(SERVICE, servers=3))


def test_many_service_times_at_once_equal_one_at_a_time_to_the_last_bit():
    random = np.random.default_rng(3)
    table = random.integers(1, 10**9, (1, 9, 5))
    edges = np.array([3, 7, 50, 51, 900])
    size, longest = random.integers(1, 10, 2000), random.integers(1, 1000, 2000)
    for columns in (slice(None), slice(2, 3)):
        service = Service(table[:, :, columns], edges[columns])
        one = [
            expected_ns(service.service_ns[0], service.length_edges, k, n)
            for k, n in zip(size, longest, strict=True)
        ]
        assert table_ns(service, size, longest).tolist() == one


@pytest.mark.parametrize("kind", ["parquet", "csv", None])
def test_a_saved_trace_comes_back_equal(tmp_path, kind):
    tiers = (Tier("fast", 5, 90.0), Tier("slow"))
    trace = replace(small_trace(), tiers=tiers, length_unit="audio_ms")
    folder = trace.save(tmp_path / "deep" / "trace", kind)
    again = Trace.load(folder)
    assert again.equals(trace)
    again.check(SERVICE, small_workload())
    assert json.loads((folder / "trace.json").read_text())["tables"] == kind or kind is None


def test_without_pyarrow_a_trace_is_saved_as_csv(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.trace.find_spec", lambda name: None)
    folder = small_trace().save(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "batches.csv",
        "requests.csv",
        "trace.json",
    ]


def test_another_kind_of_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a trace is saved as `parquet` or `csv`, not `xlsx`"):
        small_trace().save(tmp_path, "xlsx")


def test_a_saved_trace_without_a_column_says_which(tmp_path):
    small_trace().save(tmp_path, "csv")
    table = tmp_path / "batches.csv"
    table.write_text(table.read_text().replace("longest", "width"))
    with pytest.raises(ValueError, match=r"batches\.csv: column `longest` is missing"):
        Trace.load(tmp_path)


def test_equal_means_every_column_and_label():
    trace = small_trace()
    assert trace.equals(small_trace())
    assert not trace.equals(replace(trace, servers=3))
    assert not trace.equals(changed(trace, "batch_lane", 2, 0))


def test_frames_have_a_row_per_request_and_per_batch():
    frame, batches = small_trace().to_frame(), small_trace().batches_frame()
    assert list(frame.columns) == list(REQUEST_COLUMNS)
    assert frame["status"].astype(str).tolist()[3:6] == ["expired", "served", "rejected"]
    assert (frame.index.name, len(frame)) == ("request", 9)
    assert list(batches.columns) == list(BATCH_COLUMNS)
    assert (batches.index.name, batches["size"].tolist()) == ("batch", [1, 1, 3, 1])
