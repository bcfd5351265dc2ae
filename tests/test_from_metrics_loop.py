"""The loop closed, on a virtual clock and once for real.

Traffic shifts, the alarm rings, a setting is tuned from what was recorded and put, the alarm ends.
"""

from __future__ import annotations

import heapq
import json
import os
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("prometheus_client")

from serving_client import inference, play

from experiments.cli import app
from experiments.config import load_scenario
from experiments.retuning.from_metrics import Metrics, retuned
from experiments.serving import outlook, put_policy
from experiments.serving.desk import Desk, Guest
from experiments.serving.drift import Drift
from experiments.serving.foretold import foretold
from experiments.serving.open_inference import Served
from experiments.serving.recording import Recording
from experiments.serving.recording_text import parts
from experiments.tune import tune
from policies.contract import NEVER, expected_ns
from sim.endless import Comer

MINUTE = 60 * 10**9
SCENARIO = """
name = "s"
[workload]
requests = 20_000
arrivals = { process = "poisson", rate_per_s = 20.0 }
lengths = { distribution = "uniform", min = 10, max = 100 }
[[workload.tiers]]
name = "all"
slo = { percentile = 90, ms = 400.0 }
[service]
model = { base_ms = 25.0, per_request_ms = 1.25, per_length_ms = 0.005, max_batch_size = 16 }
capacity = { requests = 2_000 }
[policies.first]
kind = "size_or_timeout"
max_batch_size = 3
max_wait_ms = 20.0
[tune]
policies = ["size_or_timeout"]
trials = 10
"""
FASTER, LONGER, SLOWER = 4.0, 3.0, 1.4
"""The shift: too much for batches of three."""


class World:
    """A server on a virtual clock: its desk, its alarm, its record, and servers that take times."""

    def __init__(self, scenario):
        policy = scenario.policies["first"]
        _, service = scenario.draw()
        self.scenario, self.service = scenario, service
        self.drift, self.recording = Drift(foretold(scenario, policy)), Recording()
        self.desk = Desk(policy, service, scenario.tiers, watches=(self.drift, self.recording))
        self.changes, self.table = 0, {"kind": "size_or_timeout"}
        self.answers, self.asked = [], 0
        self.latest_ms = []
        self.now_ns, self.slower = 0, 1.0
        self.ends = []
        self.rng = np.random.default_rng(11)

    def change(self, policy, table, service_ns=None):
        """As a driver does."""
        self.desk.change(policy, service_ns)
        self.table, self.changes = table, self.changes + 1
        self.turn([], [])

    def live(self, minutes, *, faster=1.0, longer=1.0, slower=1.0):
        """Let time pass, with requests as they come; gives the minutes at which alarms rang."""
        end_ns, rang = self.now_ns + minutes * MINUTE, {}
        self.slower = slower
        next_ns = self.now_ns + self.gap_ns(faster)
        while True:
            now_ns = min(next_ns, self.desk.next_ns, self.ends[0][0] if self.ends else NEVER)
            if now_ns >= end_ns:
                break
            self.now_ns = max(self.now_ns, now_ns)
            done, comers = [], []
            while self.ends and self.ends[0][0] <= self.now_ns:
                done.append(heapq.heappop(self.ends))
            if next_ns <= self.now_ns:
                length = round(self.rng.integers(10, 101) * longer)
                comers.append(Guest(Comer(self.now_ns, length), self.answers.append))
                self.asked += 1
                next_ns = self.now_ns + self.gap_ns(faster)
            self.turn(done, comers)
            for signal, is_on in self.drift.alarms.items():
                if is_on:
                    rang.setdefault(signal, self.now_ns / MINUTE)
        self.now_ns = end_ns
        return rang

    def turn(self, done, comers):
        """One instant; what starts takes what the model says, and more where it is slower."""
        table_ns, edges = self.service.service_ns[0], self.service.length_edges
        for batch in self.desk.turn(self.now_ns, done, comers):
            usual_ns = expected_ns(table_ns, edges, len(batch.members), batch.longest)
            took_ns = round(usual_ns * self.slower * self.rng.gamma(100, 0.01))
            heapq.heappush(self.ends, (self.now_ns + took_ns, batch.server))

    def gap_ns(self, faster):
        return max(1, round(self.rng.exponential(1e9 / (20.0 * faster))))


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What happened: alarms before and after the shift, the tuning, and after it was put."""
    place = tmp_path_factory.mktemp("story")
    wide = SCENARIO.replace("max = 100 }", "max = 300 }")  # the server's grid reaches further
    (place / "s.toml").write_text(wide)
    scenario = load_scenario(place / "s.toml")
    narrow = load_scenario(
        place / "s.toml", ['workload.lengths={ distribution = "uniform", min = 10, max = 100 }']
    )
    world = World(scenario)
    world.drift.renew(foretold(narrow, scenario.policies["first"]))
    told = {"calm": world.live(6)}
    told["shifted"] = world.live(6, faster=FASTER, longer=LONGER, slower=SLOWER)
    since_ns = world.now_ns - 4 * MINUTE

    async def text():
        return b"".join([part async for part in parts(world.recording, ["all"], since_ns)])

    (place / "record.csv").write_bytes(play(text()))
    (place / "run").mkdir()
    found = retuned(scenario, Metrics(str(place / "record.csv")), place / "run")
    tuning = tune(found.scenario, load_curve=False)
    setting = tuning.winner.setting
    expected = foretold(found.scenario, setting.policy, world.drift.window_ns)
    _, service = found.scenario.draw()
    body = {"policy": setting.table, **outlook.written(expected, service)}
    world.driver = world
    put_policy.put(json.dumps(body, default=float).encode(), Driver(world), world.drift)
    told["put"] = dict(world.drift.alarms)
    told["after"] = world.live(9, faster=FASTER, longer=LONGER, slower=SLOWER)
    told["expected_only_then"] = world.live(5)
    return world, told, found, tuning


class Driver:
    """What ``/policy`` needs of a driver."""

    def __init__(self, world):
        self.desk, self.change = world.desk, world.change


def test_life_as_predicted_rings_nothing_and_a_shift_rings_within_five_minutes(story):
    _, told, _, _ = story
    assert told["calm"] == {}
    assert set(told["shifted"]) == {"arrivals", "lengths", "service"}
    assert all(6 < minute <= 11 for minute in told["shifted"].values())


def test_what_was_recorded_says_what_shifted_and_by_how_much(story):
    _, _, found, _ = story
    assert found.scenario.offered_rate_per_s == pytest.approx(20 * FASTER, rel=0.03)
    assert found.scenario.workload.pmf().longest == 300
    low, value, high = found.facts["from_metrics"]["service_ratio"]
    assert low <= SLOWER * 1.005
    assert high >= SLOWER * 0.995
    assert value == pytest.approx(SLOWER, rel=0.01)


def test_the_winner_is_another_setting_which_keeps_the_slo_where_the_old_one_does_not(story):
    world, _, _, tuning = story
    assert tuning.winner.feasible
    assert world.table.get("max_batch_size", 16) > 3
    present = tuning.of("first")
    assert not present.feasible


def test_the_alarm_ends_with_the_new_setting_and_stays_quiet_under_the_same_traffic(story):
    _, told, _, _ = story
    assert not any(told["put"].values())
    assert told["after"] == {}


def test_the_alarm_then_rings_where_life_goes_back(story):
    _, told, _, _ = story
    assert {"arrivals", "lengths", "service"} == set(told["expected_only_then"])


def test_nobody_is_lost_and_nobody_is_answered_twice(story):
    world, _, _, _ = story
    assert len(world.answers) + world.desk.present == world.asked
    assert world.changes == 1
    assert sum(isinstance(answer, Served) for answer in world.answers) > 0.9 * world.asked
    recorded = world.recording.rows(world.recording.moment())
    assert len(recorded) == world.asked


def test_without_the_outlook_the_alarm_would_ring_for_ever(story):
    """The control: the same setting, put alone."""
    world, _, _, _ = story
    scenario = world.scenario
    alone = World(scenario)
    alone.live(2)
    put_policy.put(json.dumps(world.table, default=float).encode(), Driver(alone), alone.drift)
    rang = alone.live(6, faster=FASTER, longer=1.0, slower=SLOWER)
    assert "arrivals" in rang
    assert alone.drift.alarms["arrivals"]


def test_a_server_of_its_own_process_is_tuned_from_its_record_and_asks_the_winner(tmp_path):
    text = SCENARIO.replace("slo = { percentile = 90, ms = 400.0 }\n", "")
    (tmp_path / "s.toml").write_text(text.replace("requests = 20_000", "requests = 2_000"))
    (tmp_path / "token").write_text("t" * 24)
    words = (
        "serve", "s.toml", "--model", "null", "--port", "0", "--json", "--record", "r.csv",
        "--token-file", "token", "--drift-window", "20s", "--notice", "1s",
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", "from experiments.cli import main; main()", *words], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = json.loads(process.stdout.readline())
        headers = {"Authorization": f"Bearer {'t' * 24}"}

        def ask(path, body=None):
            request = urllib.request.Request(said["url"] + path, body, headers)
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read()

        for _ in range(40):
            ask("/v2/models/s/infer", inference(30))
        given = (
            "tune", str(tmp_path / "s.toml"), "--from-metrics", said["url"], "--apply", said["url"],
            "--out", str(tmp_path / "runs"), "--quiet", "--trials", "4", "--objective", "mean",
        )  # fmt: skip
        refused = CliRunner().invoke(app, given)
        assert (refused.exit_code, "wants a token" in refused.stderr) == (2, True)
        done = CliRunner().invoke(app, [*given, "--token-file", str(tmp_path / "token")])
        assert done.exit_code == 0, done.output + done.stderr
        assert f"applied: {said['url']} asks " in done.stderr
        policy = json.loads(ask("/policy"))
        assert policy["drift"] == {"window_s": 20.0}
        result = json.loads((tmp_path / "runs" / "s" / "tune-1" / "result.json").read_text())
        assert policy["policy"] == result["policies"][result["winner"]]["parameters"]
        assert b"batchwright_policy_changes 1.0" in ask("/metrics")
        process.terminate()
        assert process.wait(120) == 0
        assert (tmp_path / "r.csv").read_text().count("\n") == 41
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
