"""What a server remembers of its requests, how it tells it, and the file that it writes."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import time
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from serving_client import MS, FakeWorker, Served, inference, offer, play, service, until

from experiments.serving.desk import Refusal
from experiments.serving.open_inference import RequestError
from experiments.serving.open_inference import Served as Answered
from experiments.serving.recording import OUTCOMES, ROW, WAITING, Recording
from experiments.serving.recording_text import (
    COLUMNS,
    STEP,
    Recorder,
    checked_file,
    parts,
    since,
    text,
)
from experiments.serving.web import Front
from experiments.starting.log import read_log
from policies.contract import Tier
from sim.endless import Comer
from sim.replay import read_trace

TIERS = (Tier("interactive", 100 * MS), Tier("batch, slow"))


def lived(recording, count, first=0, tier=0):
    """Requests that come and are served, one a millisecond."""
    for at in range(first, first + count):
        comer = Comer(at * MS, 10 + at % 7, tier)
        recording.arrived(comer)
        recording.answered(comer, Answered(2, 32, 1, 3 * MS, 5 * MS + 7), (at + 8) * MS)


def read(recording, **given):
    return recording.rows(recording.moment(), **given)


def test_a_request_is_one_row_with_how_it_was_served():
    recording = Recording(8)
    lived(recording, 1)
    (row,) = read(recording)
    assert dict(zip(ROW.names, row.tolist(), strict=True)) == {
        "arrival_ns": 0, "waited_ns": 3 * MS, "service_ns": 5 * MS + 7, "length": 10,
        "padded_to": 32, "batch_size": 2, "server": 1, "tier": 0, "outcome": 0,
    }  # fmt: skip


@pytest.mark.parametrize("refusal", Refusal)
def test_who_is_refused_is_remembered_with_the_time_that_it_waited(refusal):
    recording = Recording(8)
    comer = Comer(2 * MS, 5, 1)
    recording.arrived(comer)
    recording.answered(comer, refusal, 9 * MS)
    (row,) = read(recording)
    assert OUTCOMES[row["outcome"]] == refusal.value
    assert (row["waited_ns"], row["batch_size"], row["server"]) == (7 * MS, 0, -1)


def test_who_still_waits_is_known_too_and_rows_are_in_the_order_of_arrival():
    recording = Recording(8)
    early, late = Comer(1 * MS, 5), Comer(2 * MS, 6)
    for comer in (early, late):
        recording.arrived(comer)
    recording.answered(late, Answered(1, 6, 0, 0, MS), 4 * MS)
    found = read(recording)
    assert found["length"].tolist() == [5, 6]
    assert found["outcome"].tolist() == [WAITING, 0]
    recording.answered(early, Answered(1, 6, 0, 3 * MS, MS), 6 * MS)
    assert read(recording)["outcome"].tolist() == [0, 0]


@pytest.mark.parametrize("count", [3, 8, 9, 20, 24])
def test_only_the_last_ones_are_kept(count):
    recording = Recording(8)
    lived(recording, count)
    assert read(recording)["arrival_ns"].tolist() == [
        at * MS for at in range(max(0, count - 8), count)
    ]


def test_a_record_has_no_holes_where_somebody_who_came_early_was_answered_late():
    recording = Recording(4)
    slow = Comer(0, 99)
    recording.arrived(slow)
    lived(recording, 3, first=1)
    recording.answered(slow, Answered(1, 99, 0, 0, 9 * MS), 9 * MS)
    assert read(recording)["arrival_ns"].tolist() == [0, MS, 2 * MS, 3 * MS]
    lived(recording, 1, first=10)  # the one at 1 ms is lost: nobody before it is told
    assert read(recording)["arrival_ns"].tolist() == [2 * MS, 3 * MS, 10 * MS]


def test_what_comes_while_a_moment_is_read_is_not_in_it_and_what_is_lost_is_left_out():
    recording = Recording(8)
    lived(recording, 8)
    moment = recording.moment()
    lived(recording, 3, first=8)
    assert recording.rows(moment)["arrival_ns"].tolist() == [at * MS for at in range(3, 8)]
    lived(recording, 30, first=11)
    assert len(recording.rows(moment)) == 0


def test_instants_are_those_of_the_world_and_may_be_cut():
    recording = Recording(8)
    before_ns = time.time_ns()
    recording.begin(time.monotonic_ns())
    lived(recording, 5)
    first = int(read(recording)["arrival_ns"][0])
    assert before_ns <= first <= time.time_ns()
    assert len(read(recording, since_ns=first + 2 * MS)) == 3


def test_memory_is_that_of_the_rows_and_nothing_is_kept_of_who_is_gone():
    tracemalloc.start()
    try:
        recording = Recording(1_000)
        lived(recording, 1_000)
        held = tracemalloc.get_traced_memory()[0]
        lived(recording, 20_000, first=1_000)
        grown = tracemalloc.get_traced_memory()[0] - held
    finally:
        tracemalloc.stop()
    assert ROW.itemsize == 40
    assert grown < 5_000


async def whole(recording, tiers, **given):
    return b"".join([part async for part in parts(recording, tiers, **given)])


def test_the_text_is_a_trace_that_scenarios_and_logs_read_exactly(tmp_path):
    recording = Recording(2_000)
    recording.origin_ns = 1_796_103_504_505_668_603
    lived(recording, 3 * STEP // 2)
    lived(recording, 20, first=3 * STEP // 2, tier=1)
    path = tmp_path / "record.csv"
    path.write_bytes(play(whole(recording, [tier.name for tier in TIERS])))
    trace = read_trace(path, {}, [tier.name for tier in TIERS])
    rows = read(recording)
    assert len(rows) == 3 * STEP // 2 + 20
    assert np.array_equal(trace.recorded_ns, rows["arrival_ns"] - rows["arrival_ns"][0])
    assert np.array_equal(trace.length, rows["length"])
    assert np.array_equal(trace.tier, rows["tier"])
    log = read_log(path)
    assert log.columns == {"arrival": "arrival_s", "length": "length", "tier": "tier"}
    assert log.tiers == ("interactive", "batch, slow")


def test_times_are_exact_and_who_was_not_served_has_no_batch():
    rows = np.array(
        [(10**18 + 5, 3, 2_000_001, 7, 8, 2, 0, 0, 0), (10**18 + 6, 4, 0, 7, 0, 0, -1, 0, 1),
         (10**18 + 7, 0, 0, 7, 0, 0, -1, 0, WAITING)], dtype=ROW
    )  # fmt: skip
    lines = text(rows, ["all"]).decode().splitlines()
    assert lines == [
        "1000000000.000000005,7,all,served,0.000003,2.000001,2,8,0",
        "1000000000.000000006,7,all,rejected,0.000004,,,,",
        "1000000000.000000007,7,all,waiting,,,,,",
    ]
    assert {line.count(",") for line in lines} == {len(COLUMNS) - 1}


def test_since_is_a_time_ago_or_an_instant():
    assert since(b"") == 0
    assert since(b"since=12.5") == 12_500_000_000
    now_ns = time.time_ns()
    assert 0 <= since(b"since=10m") - (now_ns - 600 * 10**9) < 60 * 10**9
    for wrong in (b"since=", b"since=-1", b"since=soon", b"since=1w", b"since=1e9"):
        with pytest.raises(RequestError, match=r"must be a time as in 30s, 10m, 2h or 1d"):
            since(wrong)


class Remembering(Served):
    """A server that remembers, and a client of it."""

    def __init__(self, offered, token=None):
        self.recording = Recording(100)
        super().__init__(offered, [FakeWorker()], token, (self.recording,))
        self.recording.begin(self.driver.origin_ns)
        self.front = Front(offered, self.driver, self.meters, token, self.recording)

    async def recorded(self, query=b"", method="GET", **headers):
        """Status, headers and body of ``/recorded``."""
        sent = []
        scope = {
            "type": "http", "method": method, "path": "/recorded", "query_string": query,
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip

        async def send(message):
            sent.append(message)

        await self.front(scope, None, send)
        start, *rest = sent
        assert [part.get("more_body", False) for part in rest] == [True] * (len(rest) - 1) + [False]
        return start["status"], dict(start["headers"]), b"".join(part["body"] for part in rest)

    def close(self):
        self.driver.close()
        for worker in self.workers:
            worker.close()


def remembered(scene, **given):
    async def whole():
        served = Remembering(offer(tiers=TIERS, service=service(capacity=1)), **given)
        try:
            return await scene(served)
        finally:
            served.close()

    return play(whole())


def test_a_server_tells_its_requests_with_their_tiers_and_outcomes():
    async def scene(served):
        await served.infer(16, tier="batch, slow")
        await served.infer(30, tier="interactive")
        served.workers[0].at_once = False
        held = asyncio.create_task(served.infer(40, tier="interactive"))
        await until(lambda: len(served.workers[0].batches) == 3)
        waits = asyncio.create_task(served.infer(50, tier="interactive"))
        await until(lambda: served.driver.desk.present == 2)
        assert (await served.infer(60, tier="interactive")).status == 429
        told = await served.recorded()
        served.workers[0].at_once = True
        served.workers[0].finish()
        await asyncio.gather(held, waits)
        return told, await served.recorded()

    (status, headers, first), (_, _, last) = remembered(scene)
    assert status == 200
    assert headers == {b"content-type": b"text/csv; charset=utf-8"}
    rows = list(csv.DictReader(io.StringIO(first.decode())))
    assert [(row["length"], row["tier"], row["outcome"]) for row in rows] == [
        ("16", "batch, slow", "served"), ("30", "interactive", "served"),
        ("40", "interactive", "waiting"), ("50", "interactive", "waiting"),
        ("60", "interactive", "rejected"),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(last.decode())))
    assert [row["outcome"] for row in rows] == ["served"] * 4 + ["rejected"]
    assert float(rows[3]["waited_ms"]) > 0


def test_a_record_is_zipped_where_that_is_wanted_cut_where_it_is_asked_and_has_a_head():
    async def scene(served):
        await served.infer(16, tier="interactive")
        plain, head = await served.recorded(), await served.recorded(method="HEAD")
        zipped = await served.recorded(accept_encoding="br, gzip")
        return plain, head, zipped, await served.recorded(b"since=99999999999"), (
            await served.recorded(b"since=x")
        )  # fmt: skip

    plain, head, zipped, later, wrong = remembered(scene)
    assert zipped[1][b"content-encoding"] == b"gzip"
    assert gzip.decompress(zipped[2]) == plain[2]
    assert (head[0], head[2]) == (200, b"")
    assert later[2].decode() == ",".join(COLUMNS) + "\n"
    assert wrong[0] == 400


def test_a_record_wants_the_token_and_takes_no_other_method():
    async def scene(served):
        return [
            (await served.recorded())[0],
            (await served.recorded(authorization="Bearer " + "s" * 20))[0],
            (await served.recorded(method="DELETE", authorization="Bearer " + "s" * 20))[0],
        ]

    assert remembered(scene, token="s" * 20) == [401, 200, 405]


def test_a_file_is_written_whole_again_and_again_and_the_one_from_before_is_kept(tmp_path):
    recording = Recording(100)
    path = tmp_path / "record.csv"
    path.write_text("of another server\n")

    async def scene():
        recorder = Recorder(recording, path, ["all"])
        await recorder.write()
        assert path.read_text() == "of another server\n"  # nobody came yet
        lived(recording, 5)
        await recorder.write()
        first = path.read_text()
        before = path.stat().st_mtime_ns
        await recorder.write()
        assert path.stat().st_mtime_ns == before
        lived(recording, 5, first=5)
        await recorder.write()
        return first, path.read_text()

    first, last = play(scene())
    assert (first.count("\n"), last.count("\n")) == (6, 11)
    assert last.startswith(first)
    assert (tmp_path / "record.csv.old").read_text() == "of another server\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["record.csv", "record.csv.old"]


def test_a_file_is_written_by_itself_and_a_disk_that_refuses_is_asked_again(tmp_path):
    recording = Recording(100)
    folder = tmp_path / "later"

    async def scene():
        recorder = Recorder(recording, folder / "record.csv.gz", ["all"])
        lived(recording, 3)
        with pytest.raises(FileNotFoundError):
            await recorder.write()
        task = asyncio.create_task(recorder.go_on(0.001))
        await asyncio.sleep(0.01)
        assert not task.done()
        folder.mkdir()
        await until((folder / "record.csv.gz").is_file)
        task.cancel()

    play(scene())
    assert gzip.decompress((folder / "record.csv.gz").read_bytes()).count(b"\n") == 4


def test_where_to_write_is_checked_before_anything_runs(tmp_path):
    assert checked_file(None, 0) is None
    assert checked_file(tmp_path / "r.csv", 10) == tmp_path / "r.csv"
    for path, kept, words in (
        (tmp_path, 10, "is a folder"), (tmp_path / "no" / "r.csv", 10, "that is not there"),
        (tmp_path / "r.csv", 0, "leave out --keep 0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            checked_file(path, kept)


def test_an_inference_is_as_it_was_without_a_recording():
    async def scene(served):
        reply = await served.ask(body=inference(8, tier="interactive"))
        return reply.status, reply.json["parameters"]["length"]

    assert remembered(scene) == (200, 8)
