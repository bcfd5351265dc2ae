"""Traffic of a Prometheus: a real one, with counters that were written into its own blocks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from threading import Thread

import numpy as np
import pytest

from experiments.config import load_scenario
from experiments.retuning.asking import Asked
from experiments.retuning.from_metrics import Metrics, retuned
from experiments.retuning.prometheus import curve, found_of, minutes_of, risen, spread
from sim.modulated import RateCurve

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="prometheus is not installed"
)
SCENARIO = """
name = "s"
[workload]
requests = 5_000
arrivals = { process = "poisson", rate_per_s = 100.0 }
lengths = { distribution = "uniform", min = 10, max = 300 }
tiers = [{ name = "urgent", share = 0.5 }, { name = "calm", share = 0.5 }]
[service]
model = { base_ms = 2.0, per_request_ms = 0.5, per_length_ms = 0.005, max_batch_size = 16 }
[policies.greedy]
kind = "greedy"
"""
RATES = [20.0] * 10 + [60.0] * 10
"""Per second, in each of the last 20 minutes."""
SCRAPE_S = 15
BUCKETS = {"64": 0.25, "128": 0.75, "300": 1.0, "+Inf": 1.0}
SERVICE = 1.3


def scraped(end_s, instance="a:8000", restarted_after=None):
    """What scrapes of a server would have found, as OpenMetrics with instants."""
    series = {}
    urgent = calm = batches = 0.0
    for step in range(len(RATES) * 60 // SCRAPE_S + 1):
        at = end_s - len(RATES) * 60 + step * SCRAPE_S
        if step:
            rate = RATES[(step - 1) * SCRAPE_S // 60]
            urgent, calm = urgent + 0.25 * rate * SCRAPE_S, calm + 0.75 * rate * SCRAPE_S
            batches += 10 * SCRAPE_S
        if restarted_after == step:
            urgent = calm = batches = 0.0
        total = urgent + calm
        values = {
            'arrivals_total{tier="urgent"': urgent, 'arrivals_total{tier="calm"': calm,
            'device_busy_seconds_total{server="0"': batches * 0.01 * SERVICE,
            "device_expected_seconds_total{": batches * 0.01, "batch_size_count{": batches,
            **{f'request_length_bucket{{le="{le}"': total * share for le, share in BUCKETS.items()},
        }  # fmt: skip
        for name, value in values.items():
            comma = "" if name.endswith("{") else ","
            key = f'batchwright_{name}{comma}instance="{instance}",job="batchwright"}}'
            series.setdefault(key, []).append(f"{key} {value} {at}")
    return series


def text_of(*parts):
    """All series, those of one metric together, as OpenMetrics wants them."""
    lines = {key: rows for part in parts for key, rows in part.items()}
    blocks = []
    for name in dict.fromkeys(key.partition("{")[0] for key in lines):
        blocks.append(f"# TYPE {name} unknown")
        for key, rows in lines.items():
            if key.partition("{")[0] == name:
                blocks += rows
    return "\n".join([*blocks, "# EOF", ""])


@contextmanager
def prometheus(folder, text):
    """A Prometheus whose past is a text; gives its address."""
    (folder / "past.txt").write_text(text)
    subprocess.run(
        [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"], cwd=folder,
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "prometheus.yml").write_text("global: {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [PROMETHEUS, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
         f"--web.listen-address=127.0.0.1:{port}"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def base(tmp_path):
    (tmp_path / "s.toml").write_text(SCENARIO)
    return load_scenario(tmp_path / "s.toml")


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """The address of a Prometheus that knows two servers, one of which began again."""
    folder = tmp_path_factory.mktemp("prometheus")
    end_s = int(time.time()) - 30
    servers = scraped(end_s), scraped(end_s, "b:8000", restarted_after=33)
    with prometheus(folder, text_of(*servers)) as url:
        yield url


@needs_prometheus
def test_traffic_comes_back_by_the_minute_with_shares_lengths_and_times(past, base, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    found = retuned(base, Metrics(past), folder)
    scenario = found.scenario
    assert scenario.spec.workload.arrivals.process == "rate_curve"
    rates = [float(rate) for _, rate in scenario.spec.workload.arrivals.points]
    assert scenario.offered_rate_per_s == pytest.approx(40.0, rel=0.05), "of one of two servers"
    # a minute of ours begins at any instant, so that one may hold a part of both rates
    assert sum(abs(rate - 20) < 0.5 or abs(rate - 60) < 0.5 for rate in rates) >= len(rates) - 6
    assert [float(tier.share) for tier in scenario.spec.workload.tiers] == pytest.approx(
        [0.25, 0.75], abs=0.01
    )
    pmf = scenario.workload.pmf()
    below = [float(pmf.probability[pmf.length <= end].sum()) for end in (64, 128, 300)]
    assert below == pytest.approx([0.25, 0.75, 1.0], abs=0.01)
    assert pmf.longest == 300
    np.testing.assert_allclose(scenario.service_ns / base.service_ns, SERVICE, rtol=0.01)
    told = " ".join(found.told)
    assert "bursts that are shorter are not in what Prometheus keeps" in told
    assert "They came to 2 servers; the scenario is one of them." in told
    assert sorted(path.name for path in folder.iterdir()) == ["lengths.csv", "recorded.toml"]


@needs_prometheus
def test_the_rise_of_a_counter_that_began_again_is_never_negative(past):
    end_s = int(time.time())
    rises = risen(Asked(past), "arrivals_total", (end_s - 1500, end_s), ("tier",))
    assert set(rises) == {
        (tier, "batchwright", instance)
        for tier in ("urgent", "calm") for instance in ("a:8000", "b:8000")
    }  # fmt: skip
    whole, again = (rises["calm", "batchwright", instance] for instance in ("a:8000", "b:8000"))
    assert np.nanmin(again) >= 0
    assert np.nansum(whole) == pytest.approx(0.75 * 60 * sum(RATES), rel=0.1)
    assert 0 < np.nansum(whole) - np.nansum(again) < 0.75 * 60 * max(RATES)


@needs_prometheus
def test_what_a_prometheus_does_not_know_is_told(past, base, tmp_path):
    other = load_scenario(
        base.path, ['workload.tiers=[{ name = "gold", share = 0.5 }, { name = "x", share = 0.5 }]']
    )
    with pytest.raises(ValueError, match="has requests of tier 'calm', but scenario s has gold, x"):
        found_of(Asked(past), other, 3600)
    with prometheus(tmp_path, text_of(scraped(int(time.time()) - 7200))) as url:
        with pytest.raises(ValueError, match="has no batchwright_arrivals_total of the last 600"):
            found_of(Asked(url), base, 600)
        assert found_of(Asked(url), base, 3 * 3600).ratio is not None


def test_a_rate_steps_from_minute_to_minute():
    points = curve(np.array([10.0, 30.0, 0.0]))
    assert points == [[0, 10], [60, 10], [60.001, 30], [120, 30], [120.001, 0], [180, 0]]
    process = RateCurve(tuple((round(at * 1e9), rate) for at, rate in points))
    assert process.rate_per_s == pytest.approx(40 / 3, rel=1e-4)


@pytest.mark.parametrize(("low", "high", "count"), [(0, 1, 7), (4, 8, 10), (64, 1000, 999)])
def test_the_lengths_of_a_bin_are_spread_evenly_over_it(low, high, count):
    rows = spread(low, high, count)
    assert sum(part for _, part in rows) == count
    assert all(low < length <= high for length, _ in rows)
    assert rows[-1][0] == high
    assert max(part for _, part in rows) - min(part for _, part in rows) <= 1


def test_minutes_that_nobody_saw_are_not_zero():
    parts = [np.array([1.0, np.nan, np.nan]), np.array([2.0, 4.0, np.nan])]
    found = minutes_of(parts)
    assert found[:2].tolist() == [3.0, 4.0]
    assert np.isnan(found[2])
    assert minutes_of([]).shape == (0,)


@contextmanager
def pretending(answers):
    """A server of HTTP that is neither, or wants a token; gives its address."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, content = answers.get(self.path.partition("?")[0], (404, b"not here"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("answers", "token", "words"),
    [
        ({}, None, "is neither a server of batchwright serve nor a Prometheus"),
        ({"/recorded": (200, b"<html>")}, None, "is neither a server of batchwright serve nor"),
        ({"/recorded": (401, b"")}, None, "wants a token: give it with --token-file FILE, or in"),
        ({"/recorded": (401, b"")}, "x" * 20, "does not take the token that it was given"),
        ({"/v2": (200, b'{"name": "batchwright"}')}, None, "remembers no requests: it was started"),
        ({"/recorded": (200, b"arrival_s,length,tier\n")}, None, "has no requests yet"),
    ],
)
def test_an_address_that_does_not_help_is_one_sentence(base, tmp_path, answers, token, words):
    folder = tmp_path / "run"
    folder.mkdir()
    with pretending(answers) as url, pytest.raises(ValueError, match=words):
        retuned(base, Metrics(url, token), folder)
    assert list(folder.iterdir()) == []


def test_a_prometheus_that_has_no_answer_is_told(base):
    built = json.dumps({"status": "success", "data": {}}).encode()
    answers = {
        "/api/v1/status/buildinfo": (200, built),
        "/api/v1/query_range": (422, b'{"status": "error", "error": "too many points"}'),
    }
    with pretending(answers) as url, pytest.raises(ValueError, match="not answer: too many points"):
        found_of(Asked(url), base, 3600)
