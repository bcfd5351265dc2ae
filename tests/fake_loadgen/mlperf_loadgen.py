"""Stands for MLPerf's LoadGen where that is not installed: it sends, waits and logs as it does."""
# ruff: noqa: N802 (the library's own names)

import json
import random
import threading
import time
from pathlib import Path
from types import SimpleNamespace

TestScenario = SimpleNamespace(Server="Server")
TestMode = SimpleNamespace(PerformanceOnly="PerformanceOnly")
TestSettings = LogSettings = LogOutputSettings = SimpleNamespace
QuerySample = SimpleNamespace

answered: dict[int, int] = {}
all_answered = threading.Event()


def ConstructSUT(issue, flush):
    return issue


def ConstructQSL(total, performance, load, unload):
    load([])
    return total, unload


def QuerySampleResponse(identity, data, size):
    return identity


def QuerySamplesComplete(identities):
    for identity in identities:
        assert identity not in answered, "a query is answered once"
        answered[identity] = time.monotonic_ns()
    if len(answered) == StartTestWithLogSettings.wanted:
        all_answered.set()


def StartTestWithLogSettings(issue, library, settings, logs, audit):
    StartTestWithLogSettings.wanted = count = settings.min_query_count
    drawn = random.Random(settings.schedule_rng_seed)
    now_ns, planned = time.monotonic_ns(), {}
    for identity in range(1, count + 1):
        now_ns += round(drawn.expovariate(settings.server_target_qps) * 1e9)
        time.sleep(max(0, now_ns - time.monotonic_ns()) / 1e9)
        planned[2**40 + identity] = now_ns
        issue([SimpleNamespace(id=2**40 + identity, index=0)])
    assert all_answered.wait(120)
    latency = sorted(answered[who] - at for who, at in planned.items())
    late = sum(ns > settings.server_target_latency_ns for ns in latency)
    log = {
        "result_validity": "VALID" if late == 0 and count >= 459 else "INVALID",
        "early_stopping_met": late == 0 and count >= 459,
        "result_query_count": count,
        "result_overlatency_query_count": late,
    }
    for share in (50, 90, 99):
        log[f"result_{share}.00_percentile_latency_ns"] = latency[count * share // 100]
    lines = [f":::MLLOG {json.dumps({'key': key, 'value': value})}" for key, value in log.items()]
    file = Path(logs.log_output.outdir) / "mlperf_log_detail.txt"
    file.write_text("\n".join(["not of the log", *lines]) + "\n")
