"""Scenarios of models that generate, with the times of a measured profile."""

from __future__ import annotations

import pytest

from experiments.config import ScenarioError
from experiments.iteration.config import load_scenario
from policies.iteration.times import step_ns
from profiles.steps_runner import Work
from profiles.steps_store import load, names, save
from sim.iteration import kernel

TEXT = """
[workload]
requests = 200
arrivals = {{ process = "poisson", rate_per_s = 10.0 }}
prompts = {{ distribution = "uniform", min = 8, max = 64 }}
outputs = {{ distribution = "uniform", min = 4, max = 40 }}

[engine]
profile = "{profile}"
max_num_seqs = 16
max_model_len = 256
noise = {{ kind = "{noise}" }}

[policies.vllm]
kind = "vllm_like"
max_num_batched_tokens = 256
"""
SHIPPED = "gpt2-mini-cpu-fp32"


def scenario(folder, profile=SHIPPED, noise="none"):
    path = folder / "chat.toml"
    path.write_text(TEXT.format(profile=profile, noise=noise))
    return load_scenario(path)


@pytest.mark.parametrize("name", names())
def test_what_is_shipped_is_whole_and_predicts_what_was_held_out(name):
    profile = load(name)
    held = profile.held_out()
    assert len(held) == 16
    assert sorted(abs(one.error) for one in held)[8] < 0.03
    assert profile.counts()["steady"] > 300
    assert len(profile.noise()) == profile.counts()["steady"]
    assert (profile.step_ns.reshape(-1)[profile.step_ns.reshape(-1) > 0] > 10_000).all()
    for key in ("model", "device_name", "framework", "measured", "command", "load_average"):
        assert profile.about[key], key


def test_a_scenario_takes_the_times_of_a_shipped_profile_and_its_noise(tmp_path):
    found, profile = scenario(tmp_path, noise="profile"), load(SHIPPED)
    work = Work(40, 3, 120, 820.0)
    assert step_ns(found.times, *map(float, work)) == pytest.approx(profile.form().step_ns(work))
    workload, serving = found.draw(0)
    assert sorted(serving.noise) == pytest.approx(sorted(profile.noise()))
    assert list(serving.noise) != list(found.draw(1)[1].noise), "it begins elsewhere"
    trace = kernel.run(found.policies["vllm"], workload, serving)
    assert trace.served.all()
    assert "gpt2-mini-cpu-fp32" in found.service


def test_a_profile_beside_the_scenario_is_found(tmp_path):
    from dataclasses import replace

    save(replace(load(SHIPPED), name="mine"), tmp_path)
    for name in ("mine", "mine.steps.json", "./mine.steps.csv"):
        assert scenario(tmp_path, name).service == "mine, one engine"


@pytest.mark.parametrize("name", ["gpt2-mini-cpu", "bert-tiny-cpu-fp32"])
def test_a_profile_that_is_none_of_iterations_is_refused_by_its_key(tmp_path, name):
    with pytest.raises(
        ScenarioError, match=r"engine\.profile.* neither a shipped profile of iterations"
    ):
        scenario(tmp_path, name)
