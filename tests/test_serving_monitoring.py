"""Metrics, dashboard and alerts: the names fit together, and Prometheus itself reads them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from serving_client import MS, offer, play, serving

from experiments.serving import monitoring
from experiments.serving.drift import Drift
from experiments.serving.gauges import show, show_drift
from experiments.serving.jobs.memory import MemoryQueue
from experiments.serving.jobs.office import Office
from experiments.serving.meters import edges, sizes
from policies.contract import Tier

DATA = Path(__file__).parent / "data"
TIERS = (Tier("interactive", 120 * MS), Tier("batch"))
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def page():
    """What /metrics answers, with everything that a server shows."""

    async def scene():
        async with serving(offer(tiers=TIERS)) as served:
            from test_serving_drift import FLAT

            show(served.meters, served.driver, lambda: True)
            show_drift(served.meters, Drift(FLAT))
            Office(MemoryQueue(8, 60.0), 0, served.front)
            await asyncio.gather(*(served.infer(tier=tier.name) for tier in TIERS))
            await served.infer(tier="no")
            return (await served.ask("/metrics", method="GET")).body.decode()

    return play(scene())


def known(page):
    return set(re.findall(r"^(batchwright_\w+|process_\w+)[{ ]", page, re.MULTILINE))


def asked(text):
    """Metrics that an expression names."""
    return set(re.findall(r"\b(?:batchwright|process)_\w+", text))


def test_every_metric_of_the_dashboard_exists(page):
    dashboard = json.loads(monitoring.shipped("dashboard.json"))
    names = set()
    for panel in dashboard["panels"]:
        assert panel["targets"]
        for target in panel["targets"]:
            names |= asked(target["expr"])
    assert len(names) >= 15
    assert names <= known(page)


def test_every_metric_of_the_alerts_exists(page):
    rules = monitoring.shipped("alerts.yml")
    names = set().union(*(asked(line) for line in rules.splitlines() if "batchwright_" in line))
    assert len(names) >= 6
    assert names <= known(page)


def test_every_recorded_name_that_the_dashboard_shows_is_recorded():
    records = set(re.findall(r"record: (\S+)", monitoring.shipped("alerts.yml")))
    shown = set(re.findall(r"batchwright:[\w:]+", monitoring.shipped("dashboard.json")))
    assert shown <= records
    assert shown


def test_panels_of_the_dashboard_do_not_overlap():
    cells = []
    for panel in json.loads(monitoring.shipped("dashboard.json"))["panels"]:
        place = panel["gridPos"]
        cells += [(place["x"] + dx, place["y"] + dy) for dx in range(place["w"])
                  for dy in range(place["h"])]  # fmt: skip
        assert place["x"] + place["w"] <= 24
    assert len(cells) == len(set(cells))


@needs_promtool
def test_prometheus_finds_nothing_wrong_with_the_metrics(page):
    own = "".join(line + "\n" for line in page.splitlines() if "batchwright_" in line)
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=own, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert not [line for line in checked.stderr.splitlines() if "_created" not in line]


@needs_promtool
def test_prometheus_takes_the_written_files_and_the_alerts_ring_when_they_should(tmp_path):
    names = [path.name for path in monitoring.write(tmp_path / "new", "127.0.0.1", 8123)]
    assert names == ["alerts.yml", "dashboard.json", "prometheus.yml"]
    folder = tmp_path / "new"
    assert '["127.0.0.1:8123"]' in (folder / "prometheus.yml").read_text()
    shutil.copy(DATA / "serving_alerts_test.yml", folder)
    for words in (("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"),
                  ("test", "rules", "serving_alerts_test.yml")):  # fmt: skip
        done = subprocess.run(
            [PROMTOOL, *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_slo_is_the_edge_of_a_bucket():
    assert 0.12 in edges(0.12)
    assert edges(0.12) == sorted(set(edges(0.12)))
    assert edges(None)[0] == 0.001


def test_batch_sizes_have_a_bucket_each_up_to_eight_and_the_largest():
    assert sizes(1) == [1]
    assert sizes(6) == [1, 2, 3, 4, 5, 6]
    assert sizes(30) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 30]


def test_a_latency_is_counted_in_the_tier_and_bucket_that_it_belongs_to(page):
    lines = [line for line in page.splitlines() if line.startswith("batchwright_request_latency")]
    for tier in TIERS:
        assert f'batchwright_request_latency_seconds_count{{tier="{tier.name}"}} 1.0' in lines
        assert any(f'le="0.12",tier="{tier.name}"' in line for line in lines)


def test_the_reference_names_every_metric_and_no_other(page):
    reference = (DATA.parent.parent / "docs" / "reference" / "server.md").read_text()
    listed = set(re.findall(r"`(batchwright_\w+)`", reference))
    endings = ("_bucket", "_count", "_sum", "_created")
    own = {name.removesuffix(next((e for e in endings if name.endswith(e)), ""))
           for name in known(page) if name.startswith("batchwright_")}  # fmt: skip
    counters = {name for name in own if f"{name}_total" in own}  # left of their `_created`
    assert listed == own - counters
