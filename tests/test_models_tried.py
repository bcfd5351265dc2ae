"""``batchwright try --model``: a real model behind LitServe, where that is beside PyTorch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trying import SCENARIO, check_run, servers_left, tried

from experiments.config import load_scenario
from experiments.stacks import STACKS
from experiments.stacks.environments import is_available
from experiments.stacks.real_model import real_model, row_with
from profiles import load, save
from profiles.models.machine import cpu_name


@pytest.mark.slow
def test_a_real_model_is_run_as_its_profile_says(tmp_path):
    shipped = load("bert-tiny-cpu-fp32")
    metadata = replace(shipped.metadata, device=cpu_name())  # what it took elsewhere is calibrated
    profile = save(replace(shipped, metadata=metadata), tmp_path)
    known = "model = { table_ms = [20.0, 22.0, 24.0, 26.0] }"
    text = SCENARIO.replace(known, f"profile = '{profile}'")
    text = text.replace("[service]", "lengths = { constant = 256 }\n[service]")
    (tmp_path / "own.toml").write_text(text)
    model = real_model("bert-tiny", load_scenario(str(tmp_path / "own.toml")))
    if not is_available(row_with(STACKS["litserve"], model)):
        pytest.skip("LitServe beside PyTorch is not installed: try --model bert-tiny --install")
    arguments = ("--on", "litserve", "--policy", "collecting", "--model", "bert-tiny")
    folder, found = tried(tmp_path, *arguments, scenario=text)
    check_run(folder, found, "litserve", ["tuned"])
    assert found["scenario"]["model"].startswith("bert-tiny in fp32 with PyTorch 2.13.0 on ")
    about = found["variants"]["tuned"]
    assert about["against_profile"]["share"] > 0.0
    assert about["windows_took"] > 0.0
    assert not servers_left()
    assert not (folder / "server" / "tuned" / "profiles").exists()
