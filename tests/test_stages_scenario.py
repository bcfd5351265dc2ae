"""CPU stages of scenario files, and what every command says of them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from experiments.capacity import capacity
from experiments.cli import app
from experiments.compare import compare, simulate, sweep
from experiments.config import ScenarioError, load_scenario
from experiments.contest import Entrant, judge
from experiments.figures import figures_of
from experiments.optimum import obstacle_of
from experiments.validation.campaign import opening_of
from sim import kernel
from sim.theory import MMc

TEXT = """
[workload]
requests = 3_000
arrivals = { process = "poisson", rate_per_s = 500.0 }
lengths = { constant = 100 }
[[workload.tiers]]
name = "all"
slo = { percentile = 50, ms = 50.0 }
[service]
model = { base_ms = 1.0, per_request_ms = 0.2, max_batch_size = 16 }
[service.preprocessing]
workers = 2
base_ms = 1.0
per_length_ms = 0.02
noise = { kind = "gamma", cv = 1.0 }
[service.postprocessing]
workers = 1
base_ms = 0.25
[policies.greedy]
kind = "greedy"
[policies.static]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 2.0
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "staged.toml"
    file.write_text(TEXT, encoding="utf-8")
    return str(file)


def said(*arguments):
    """What a command prints, in one line, and its exit code."""
    found = CliRunner().invoke(app, list(arguments))
    return re.sub(r"\s+", " ", found.output), found.exit_code


class TestKeys:
    def test_stages_are_drawn_with_their_times(self, path):
        _, service = load_scenario(path).draw()
        pre, post = service.stages.pre, service.stages.post
        assert (pre.workers, pre.base_ns, pre.per_length_ns) == (2, 1e6, 2e4)
        assert pre.factors.mean() == pytest.approx(1.0, abs=0.06)
        assert pre.factors.std() == pytest.approx(1.0, abs=0.1)
        lengths = np.full(3000, 100, dtype=np.int32)
        assert (post.service_ns(lengths) == 250_000).all()

    def test_each_stage_has_luck_of_its_own_and_other_settings_leave_it_alone(self, path):
        both = 'service.postprocessing={workers=1,base_ms=1.0,noise={kind="gamma",cv=1.0}}'
        stages = load_scenario(path, [both]).draw()[1].stages
        assert not np.array_equal(stages.pre.factors, stages.post.factors)
        for change in ("service.preprocessing.workers=7", "seeds.arrivals=9", "service.servers=3"):
            other = load_scenario(path, [both, change]).draw()[1].stages
            assert np.array_equal(other.pre.factors, stages.pre.factors), change
        other = load_scenario(path, [both, "seeds.service=9"]).draw()[1].stages
        assert not np.array_equal(other.pre.factors, stages.pre.factors)
        again = load_scenario(path, [both]).draw(1)[1].stages
        assert not np.array_equal(again.pre.factors, stages.pre.factors)

    def test_stages_are_part_of_the_hash_and_of_the_description(self, path):
        scenario, other = (
            load_scenario(path),
            load_scenario(path, ["service.preprocessing.workers=3"]),
        )
        assert scenario.hash != other.hash
        text = scenario.describe()
        assert "pre-processing on 2 CPU workers: 1.0 ms and 0.02 ms per unit of length" in text
        assert "post-processing on 1 CPU worker: 0.25 ms each" in text

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ("service.preprocessing.workers=0", "a whole number of at least 1"),
            ("service.preprocessing.worker=3", "workers"),
            ("service.preprocessing={workers=1}", "base_ms is missing"),
            ("service.preprocessing={base_ms=1.0}", "workers is missing"),
            ("service.preprocessing.base_ms=-1", "not below 0"),
            ('service.preprocessing.noise="profile"', "none, gamma, lognormal"),
            (
                'workload.arrivals={process="closed",clients=3,think_ms=5.0}',
                "service.preprocessing needs open arrivals",
            ),
        ],
    )
    def test_a_wrong_key_is_told_in_a_sentence(self, path, change, sentence):
        with pytest.raises(ScenarioError, match=re.escape(sentence)):
            load_scenario(path, [change])

    def test_times_per_length_need_lengths(self, tmp_path):
        file = tmp_path / "bare.toml"
        file.write_text(TEXT.replace("lengths = { constant = 100 }\n", ""), encoding="utf-8")
        with pytest.raises(
            ScenarioError, match=r"missing; service.preprocessing.per_length_ms needs"
        ):
            load_scenario(str(file))

    def test_a_backlog_that_is_always_there_has_no_stages(self, path):
        tiers = (
            'workload.tiers=[{name="a",arrivals={process="poisson",rate_per_s=100.0}},'
            '{name="b",arrivals={process="backlog"}}]'
        )
        text = TEXT.replace('arrivals = { process = "poisson", rate_per_s = 500.0 }\n', "")
        Path(path).write_text(text, encoding="utf-8")
        with pytest.raises(ScenarioError, match="is one queue for all tiers, and the backlog of b"):
            load_scenario(path, [tiers])


class TestCommands:
    def test_both_engines_say_the_same(self, path):
        found = [simulate(path, engine=engine).to_dict() for engine in ("kernel", "simpy")]
        assert found[0]["policies"] == found[1]["policies"]

    def test_simulate_says_where_latency_is_spent(self, path):
        text, code = said("simulate", path)
        assert code == 0
        assert "CPU workers: 2 before and 1 after" in text
        assert "pre-processing 2 7" in text  # workers, and 75 % busy or so
        assert "where latency is spent" in text
        found, _ = said("simulate", path, "--json")
        stages = json.loads(found)["policies"]["greedy"]["stages"]
        assert stages["preprocessing"]["workers"] == 2
        assert stages["preprocessing"]["utilisation"] == pytest.approx(0.75, abs=0.06)
        assert stages["postprocessing"]["service_ms"]["mean"]["value"] == pytest.approx(0.25)
        parts = stages["latency_parts_ms"]
        mean = json.loads(found)["policies"]["greedy"]["latency_ms"]["mean"]["value"]
        assert sum(part["value"] for part in parts["mean"].values()) == pytest.approx(mean)
        assert parts["slowest_1_percent"]["pre_wait"]["value"] is None

    def test_a_scenario_without_stages_says_nothing_of_them(self, path):
        text = TEXT.partition("[service.preprocessing]")[0] + '[policies.greedy]\nkind = "greedy"\n'
        Path(path).write_text(text, encoding="utf-8")
        found, _ = said("simulate", path, "--json")
        assert "stages" not in json.loads(found)["policies"]["greedy"]
        shown, _ = said("simulate", path)
        assert "CPU workers" not in shown
        assert "where latency is spent" not in shown

    def test_records_have_the_instants_of_the_stages(self, path, tmp_path):
        _, code = said("simulate", path, "--records")
        assert code == 0
        (file,) = (tmp_path / "runs").rglob("greedy-requests.*")
        frame = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
        assert (frame["pre_start_ns"] < frame["queued_ns"]).all()
        assert (frame["post_start_ns"] < frame["finish_ns"]).all()

    def test_a_figure_stacks_the_parts_of_latency(self, path):
        found = compare(path, load_curve=False)
        drawn = figures_of(found)["latency-parts"]
        assert len(found.plot.latency_parts().axes) == 1
        (axes,) = drawn.axes  # the run is too short for the slowest
        shown = [label.get_text() for label in axes.get_yticklabels()]
        assert shown == [one.policy for one in found.outcomes]
        widths = [sum(bars[k].get_width() for bars in axes.containers) for k in range(len(shown))]
        means = [one.value("latency_ms.mean") for one in found.outcomes]
        assert widths == pytest.approx(means)
        assert len(axes.containers) == 6
        stopped = compare(load_scenario(path, ["service.preprocessing.workers=1"]))
        assert "latency-parts" not in figures_of(stopped)

    def test_an_overloaded_stage_is_named(self, path):
        text, _ = said("compare", path, "--set", "service.preprocessing.workers=1")
        assert "What cannot keep up is pre-processing (1 worker), whatever is batched." in text
        assert "unstable" in text

    def test_sweep_goes_over_workers(self, path):
        found = sweep(path, {"service.preprocessing.workers": [1, 2, 3]})
        stable = [all(one.stable for one in step.outcomes) for step in found.steps]
        assert stable == [False, True, True]
        mean = [step.outcomes[0].value("latency_ms.mean") for step in found.steps[1:]]
        assert mean[1] < mean[0]

    def test_the_load_curve_is_unstable_where_the_stage_is(self, path):
        found = compare(path)
        curve = {step.load: step.outcomes[0].stable for step in found.load_curve.steps}
        load = found.scenario["load"]  # 500/s, and the stage lets 667/s through
        assert all(stable == (at < load * 667 / 500) for at, stable in curve.items())

    def test_capacity_is_bounded_by_the_stage_and_says_so(self, path):
        found = capacity(load_scenario(path, ["workload.requests=20000"]))
        assert all(one.limit.saturation_per_s == pytest.approx(667, rel=0.01)
                   for one in found.capacities)  # fmt: skip
        ended = [one.limit for one in found.capacities if one.limit.bound == "stability"]
        assert all(limit.stage == "pre-processing (2 workers)" for limit in ended)
        fast = [
            "workload.requests=20000",
            "workload.tiers=[{name='all',slo={percentile=50,ms=900}}]",
        ]
        found = capacity(load_scenario(path, fast))
        assert (
            "is stability, not the SLO: pre-processing (2 workers) can do no more" in found.verdict
        )

    def test_no_number_of_gpus_is_enough_for_a_rate_that_a_stage_stops(self, path):
        with pytest.raises(ScenarioError, match=r"rate = 700: pre-processing \(2 workers\) lets"):
            capacity(load_scenario(path), rate_per_s=700.0)

    def test_tune_says_what_the_stage_does_to_its_setting(self, path):
        more = ["--set", "service.preprocessing.base_ms=1.7", "--set", "tune.objective=mean"]
        text, code = said("tune", path, "--trials", "3", *more)
        assert code == 0
        assert "are spent in pre-processing" in text

    def test_a_live_run_refuses_stages_in_a_sentence(self, path):
        with pytest.raises(ScenarioError, match=r"has service\.preprocessing; validate"):
            opening_of(load_scenario(path), "emulated", None, "fp32", "eager", 1)

    def test_an_export_says_what_its_file_leaves_out(self, path, tmp_path):
        said("simulate", path)
        text, code = said("export", "latest", "--to", "triton")
        assert code == 0, text
        (file,) = (tmp_path / "runs").rglob("config.pbtxt")
        written = re.sub(r"\s*#\s+", " ", file.read_text(encoding="utf-8"))
        assert "includes stages outside this file: pre-processing on 2 CPU workers" in written

    def test_the_optimum_behind_a_stage_is_not_known(self, path):
        scenario = load_scenario(path)
        assert obstacle_of(scenario).key == "service.preprocessing"


@pytest.mark.usefixtures("path")  # so that runs go to a folder of their own
def test_three_queues_in_a_row_have_their_exact_answer_through_the_command():
    found, code = said("simulate", "tandem", "--json", "--quiet")
    assert code == 0
    measured = json.loads(found)["policies"]["one_by_one"]
    queues = MMc(70.0, 50.0, 2), MMc(70.0, 100.0), MMc(70.0, 125.0)
    parts = measured["stages"]["latency_parts_ms"]["mean"]
    for name, queue in zip(("pre_wait", "queue_wait", "post_wait"), queues, strict=True):
        assert parts[name]["low"] <= 1000 * queue.mean_wait <= parts[name]["high"]
    total = sum(queue.mean_latency for queue in queues)
    assert 1000 * total == pytest.approx(90.7, abs=0.05)  # as the scenario's comment says
    mean = measured["latency_ms"]["mean"]
    assert mean["low"] <= 1000 * total <= mean["high"]
    number = measured["intervals"]["mean_number_in_system"]
    assert number["low"] <= 70.0 * total <= number["high"]
    wrong = MMc(71.0, 50.0, 2), MMc(71.0, 100.0), MMc(71.0, 125.0)
    assert not mean["low"] <= 1000 * sum(queue.mean_latency for queue in wrong) <= mean["high"]


class TestRecommender:
    """What the comments of the shipped scenario say."""

    def p99(self, *changes):
        found = sweep("recommender", {"service.preprocessing.workers": [4, 5]}, settings=changes)
        return [
            {one.policy: one.value("latency_ms.p99") for one in step.outcomes}
            for step in found.steps
        ]

    def test_one_more_worker_mends_what_no_policy_can(self):
        four, five = self.p99()
        assert all(120 < value < 140 for value in four.values())
        assert all(35 < value < 45 for value in five.values())

    def test_more_gpus_do_not_help(self):
        four, _ = self.p99("service.servers=4")
        assert all(value > 120 for value in four.values())

    def test_the_gpu_alone_is_far_below_the_slo(self):
        scenario = load_scenario("recommender")
        draws = [
            (workload, replace(service, stages=None)) for workload, service in [scenario.draw()]
        ]
        for name, policy in scenario.policies.items():
            found = judge(Entrant(name, policy), draws, scenario, kernel.run, load=0.6)
            assert found.value("latency_ms.p99") < 20.5

    def test_memory_bounds_the_batch_at_22(self):
        assert load_scenario("recommender").memory.largest == 22

    def test_the_verdict_blames_the_look_up(self):
        found = simulate("recommender", "greedy")
        assert "are spent in pre-processing" in found.verdict
        assert "its 4 workers are 93.8 % busy, 75.1 % with one more" in found.verdict
