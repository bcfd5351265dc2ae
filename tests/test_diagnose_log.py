"""A user's log as a diagnosis reads it: batches, servers, workers, rule, and what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from planted_faults import plant, sound_run
from planted_services import write_log

from experiments.diagnose import diagnose, diagnose_log
from experiments.diagnosis.errors import DiagnosisError
from experiments.diagnosis.log import read_log
from experiments.diagnosis.rule import inferred
from experiments.diagnosis.seen import seen_of
from policies.size_or_timeout import SizeOrTimeout
from sim.kernel import run
from sim.service import Service
from sim.trace import Trace
from sim.workload import Workload

MS = 1_000_000
SEED = 1

GOOD = """arrival_ms,start_ms,finish_ms,batch,length
0,1,5,0,10
0.5,1,5,0,30
3,5,8,1,20
"""


def written(folder, text):
    path = folder / "log.csv"
    path.write_text(text)
    return path


def test_a_log_gives_back_the_run_that_wrote_it(tmp_path):
    for kind in ("timer", "slow_server", "slow_pre", "tier_blocking"):
        planted = plant(kind, SEED)
        seen = read_log(write_log(planted, tmp_path / "log.csv"))
        trace = seen_of(planted.trace)
        first = int((planted.stages or {}).get("arrival", trace.arrival_ns).min())
        assert len(seen) == len(trace)
        assert np.array_equal(np.sort(seen.start_ns), np.sort(trace.start_ns) - first), kind
        assert np.array_equal(seen.batch_start_ns, trace.batch_start_ns - first), kind
        assert np.array_equal(seen.batch_size, trace.batch_size), kind
        assert np.array_equal(seen.batch_longest, trace.batch_longest), kind
        assert seen.servers == trace.servers, kind
        names = [tier.name for tier in planted.trace.tiers]
        assert [tier.name for tier in seen.tiers] == names, kind


def test_workers_are_as_many_as_were_ever_busy_at_once(tmp_path):
    planted = plant("slow_pre", SEED)
    seen = read_log(write_log(planted, tmp_path / "log.csv"))
    stages = planted.stages
    instants = np.concatenate([stages["pre_start"], stages["pre_finish"]])
    steps = np.repeat([1, -1], len(stages["pre_start"]))
    most = np.cumsum(steps[np.lexsort((steps, instants))]).max()
    assert seen.pre_workers == most


def test_batches_without_a_name_are_told_by_start_and_finish(tmp_path):
    planted = sound_run(SEED)
    path = write_log(planted, tmp_path / "log.csv")
    lines = [line.split(",") for line in path.read_text().splitlines()]
    place = lines[0].index("batch")
    path.write_text("\n".join(",".join(c for k, c in enumerate(x) if k != place) for x in lines))
    seen = read_log(path)
    assert np.array_equal(np.sort(seen.batch_size), np.sort(planted.trace.batch_size))


def test_servers_without_a_name_are_as_many_as_run_at_once(tmp_path):
    text = "arrival_s,start_s,finish_s,batch\n0,1,3,a\n0,1,3,b\n0,3,4,c\n0,3,4,d\n"
    seen = read_log(written(tmp_path, text))
    assert seen.servers == 2
    assert sorted(seen.batch_server.tolist()) == [0, 0, 1, 1]


def test_units_come_from_the_name_or_from_the_option(tmp_path):
    text = "t,start_us,finish_ms,batch\n10,10000,30,0\n"
    seen = read_log(written(tmp_path, text), {"arrival": "t"}, "ms")
    assert seen.start_ns.tolist() == [0]
    assert seen.finish_ns.tolist() == [20 * MS]


def test_times_since_1970_keep_their_microseconds(tmp_path):
    text = "arrival_s,start_s,finish_s\n1700000000.000001,1700000000.000101,1700000000.000201\n"
    seen = read_log(written(tmp_path, text))
    assert abs(int(seen.start_ns[0]) - 100_000) < 1_000
    assert abs(int(seen.finish_ns[0]) - 200_000) < 1_000


def test_gzipped_logs_and_unsorted_lines_are_read(tmp_path):
    path = tmp_path / "log.csv.gz"
    header, *rows = GOOD.splitlines()
    with gzip.open(path, "wt") as file:
        file.write("\n".join([header, *rows[::-1]]))
    seen = read_log(path)
    assert seen.arrival_ns.tolist() == [0, MS // 2, 3 * MS]
    assert seen.batch_size.tolist() == [2, 1]


def test_a_request_without_a_start_was_lost(tmp_path):
    seen = read_log(written(tmp_path, GOOD + "4,,,,15\n"))
    assert seen.lost.tolist() == [False, False, False, True]
    assert seen.batch[-1] == -1


def test_small_overlaps_of_one_server_are_jitter_and_large_ones_another_server(tmp_path):
    rows = [f"0,{10 * k},{10 * k + 10.1},{k}" for k in range(30)]
    log = "arrival_ms,start_ms,finish_ms,batch\n"
    assert read_log(written(tmp_path, log + "\n".join(rows))).servers == 1
    rows = [f"0,{10 * k},{10 * k + 12},{k}" for k in range(30)]
    assert read_log(written(tmp_path, log + "\n".join(rows))).servers == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; give a header and one line a request"),
        ("arrival_s,start_s,finish_s\n", "holds a header but no request"),
        ("arrive,start_s,finish_s\n0,1,2\n", "has no column for arrival"),
        ("arrival_s,start_s,finish_s\n0,one,2\n", "line 2: start_s = 'one' must be a number of s"),
        ("arrival_s,start_s,finish_s\n0,1,2\n,1,2\n", "line 3: arrival_s is empty"),
        ("arrival_s,start_s,finish_s\n3,1,2\n", "line 2: start_s is before arrival_s"),
        ("arrival_s,start_s,finish_s\n0,2,2\n", "line 2: finish_s must be after start_s"),
        ("arrival_s,start_s,finish_s\n0,,\n", "no request has both a start and a finish"),
        (
            "arrival_s,start_s,finish_s,batch\n0,1,2,a\n0,5,6,a\n",
            "requests of batch a do not run at the same time",
        ),
        (
            "arrival_s,start_s,finish_s,length\n0,1,2,long\n",
            "line 2: length = 'long' must be a length from 0 to 2147483647",
        ),
        (
            "arrival_s,pre_finish_s,start_s,finish_s\n0,3,1,4\n",
            "line 2: start_s is before pre_finish_s",
        ),
    ],
)  # fmt: skip
def test_a_wrong_log_is_told_in_a_sentence_with_its_line(text, said, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(DiagnosisError) as wrong:
        read_log(path)
    assert str(path) in str(wrong.value)
    assert said in str(wrong.value)


def test_a_missing_file_a_wrong_column_and_a_wrong_unit_are_told(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(DiagnosisError, match=r"is not there; give a CSV file"):
        read_log(tmp_path / "no.csv")
    with pytest.raises(DiagnosisError, match=r"has no column 'star_ms' for start; did you mean 's"):
        read_log(path, {"start": "star_ms"})
    with pytest.raises(DiagnosisError, match=r"--columns: begin is not known"):
        read_log(path, {"begin": "start_ms"})
    with pytest.raises(DiagnosisError, match=r"--unit = 'min' must be one of s, ms, us, ns"):
        read_log(path, unit="min")


def test_a_log_that_is_too_short_is_refused_and_says_what_it_would_do_for(tmp_path):
    rows = "\n".join(f"{k},{k + 0.1},{k + 0.6},{k}" for k in range(300))
    path = written(tmp_path, f"arrival_s,start_s,finish_s,batch\n{rows}\n")
    with pytest.raises(
        DiagnosisError, match=r"p99 needs 1,000 requests, but there are 300; .* or --percentile 95"
    ):
        diagnose_log(path)
    assert diagnose_log(path, percentile=95).percentile == "p95"


def test_the_rule_of_a_run_is_inferred(tmp_path):
    service = Service(np.arange(5, 21)[None, :, None] * MS, np.array([1]))
    rng = np.random.default_rng(5)
    arrival = np.cumsum(rng.exponential(2.0 * MS, 4_000)).astype(np.int64)
    workload = Workload(np.ones(4_000, np.int32), arrival)
    for rule in (
        SizeOrTimeout(16, 0),
        SizeOrTimeout(4, 0),
        SizeOrTimeout(16, 9 * MS),
        SizeOrTimeout(16, 9 * MS, 0, True),
        SizeOrTimeout(8, 10**15),
    ):
        found = inferred(seen_of(run(rule, workload, service)))
        assert found.policy.max_batch_size in (rule.max_batch_size, 15, 14, 13, 12), rule
        if rule.max_wait_ns < 10**15:
            assert found.policy.max_wait_ns == pytest.approx(rule.max_wait_ns, abs=MS / 2), rule
        else:
            assert "full batches of 8 only" in found.words
        assert found.policy.from_idle == rule.from_idle, rule
        assert f"{found.policy.max_batch_size}" in found.words


LIVE = Path(__file__).parent / "data" / "live"


@pytest.mark.parametrize(
    ("window", "wait_ms"),
    [
        ("bert-tiny-cpu-size_or_timeout-load-0.06-round-2", 2.0),
        ("minilm-cpu-size_or_timeout-load-0.2-round-2", 20.0),
        ("minilm-cpu-greedy-load-0.2-round-1", 0.0),
        ("wav2vec2-cpu-greedy-load-0.4-round-1", 0.0),
    ],
)
def test_the_rule_of_a_live_run_is_inferred_and_its_latency_replayed(window, wait_ms):
    trace = Trace.load(LIVE / window)
    found = inferred(seen_of(trace))
    assert found.policy.max_wait_ns == pytest.approx(wait_ms * MS, rel=0.05, abs=0.01 * MS)
    told = diagnose(trace, percentile=90)
    assert told.fault is None
    assert told.replayed_ms == pytest.approx(told.value_ms, rel=0.1)
