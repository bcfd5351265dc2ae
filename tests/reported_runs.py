"""A run of every kind, small, from a scenario whose words try to break out of a page."""

from __future__ import annotations

import json

from judgement_by_hand import judgement
from loads_by_hand import SCENARIO as LOADED
from loads_by_hand import driven_of, rule_of, scenario_in
from trial_by_hand import trial
from typer.testing import CliRunner
from windows_by_hand import calibrated, validated

from experiments.cli import app
from experiments.loading.judging import judged
from experiments.runs import RESULT, name_latest, now, write_manifest

EVIL = "<script>alert('out')</script> & \"quotes\" <img src=x onerror=alert(1)>"

SCENARIO = f"""
name = "evil <b>"
description = '''{EVIL}'''
[workload]
requests = 24_000
arrivals = {{ process = "poisson", load = 0.5 }}
lengths = {{ distribution = "lognormal", median = 60, sigma = 0.5, min = 8, max = 200 }}
[[workload.tiers]]
name = "web & app"
share = 0.7
slo = {{ percentile = 90, ms = 60.0 }}
[[workload.tiers]]
name = "rest"
share = 0.3
[service]
model = {{ base_ms = 4.0, per_request_ms = 0.4, per_length_ms = 0.002, max_batch_size = 32 }}
[policies."waits <5"]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 20.0
[policies.greedy]
kind = "greedy"
[policies.static]
kind = "static"
batch_size = 1
[tune]
objective = ["mean", "busy"]
constraints = [{{ measure = "p90", at_most = 90.0 }}]
slo = false
trials = 24
replications = 1
"""

COMMANDS = {
    "simulate": ("simulate",),
    "compare": ("compare",),
    "sweep": ("sweep", "--over", "workload.arrivals.load=0.3,0.5", "--over", "service.servers=1,2"),
    "tune": ("tune",),
    "capacity": ("capacity", "--rate", "900"),
}
"""By the kind of run."""


def batchwright(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def run_of(kind, folder):
    """A run of a kind, in ``folder / "runs"``."""
    scenario = folder / "evil.toml"
    scenario.write_text(SCENARIO)
    command, *options = COMMANDS[kind]
    done = batchwright(command, scenario, *options, "--json", "--out", folder / "runs")
    assert done.exit_code == 0, done.stderr
    return folder / json.loads(done.stdout)["run"]


def validation_of(folder):
    """A validation of windows made by hand."""
    run = folder / "runs" / "by-hand" / "validate-1"
    run.mkdir(parents=True)
    found = validated(loads=(0.2, 0.5), rounds=2, calibration=calibrated(2), replications=30)
    (run / RESULT).write_text(found.to_json())
    about = {"command": "validate", "name": "by-hand", "scenario": {"description": EVIL}}
    write_manifest(run, {**about, "started": now(), "status": "complete"})
    name_latest(run)
    return run


def trial_of(folder):
    """A trial of a stack with figures set by hand, some of them outside."""
    run = folder / "runs" / "small" / "try-1"
    run.mkdir(parents=True)
    (run / RESULT).write_text(trial({"client_p50_ms": 0.8}, words=EVIL).to_json())
    about = {"command": "try", "name": "small", "scenario": {"description": EVIL}}
    write_manifest(run, {**about, "started": now(), "status": "complete"})
    name_latest(run)
    return run


def judgement_of(folder):
    """What LoadGen said, set by hand."""
    run = folder / "runs" / "by-hand" / "judge-1"
    run.mkdir(parents=True)
    (run / RESULT).write_text(judgement().to_json())
    about = {"command": "judge", "name": "by-hand", "scenario": {"description": EVIL}}
    write_manifest(run, {**about, "started": now(), "status": "complete"})
    return run


def load_of(folder):
    """A load test of a server that is slower than the simulator; its tier's name is markup."""
    run = folder / "runs" / "small" / "load-1"
    run.mkdir(parents=True)
    scenario = scenario_in(folder / "small.toml", LOADED.replace('"all"', '"all <b>"'))
    found = judged(driven_of(scenario, rule_of(scenario), lambda ns: ns * 3 // 2))
    (run / RESULT).write_text(found.to_json())
    about = {"command": "load", "name": "small", "scenario": {"description": EVIL}}
    write_manifest(run, {**about, "started": now(), "status": "complete"})
    return run


def diagnosis_of(folder, run):
    """What ``diagnose --json`` says of a run, as a file."""
    done = batchwright("diagnose", run, "--json", "--policy", "waits <5", "--slo", "20")
    assert done.exit_code == 0, done.stderr
    path = folder / "why.json"
    path.write_text(done.stdout)
    return path


def export_into(run):
    """Exports of a run: one of ours, and files that somebody else put there."""
    done = batchwright("export", run, "--to", "triton", "--policy", "waits <5", "--nearest")
    assert done.exit_code == 0, done.stderr
    strange = run / "export" / "strange"
    strange.mkdir()
    (strange / "binary.bin").write_bytes(b"\x00\xff\xfe")
    (strange / "page.html").write_text(f"</code></pre>{EVIL}")
    return done


def all_runs(folder):
    """Every kind by name, each a folder or a file."""
    runs = {kind: run_of(kind, folder) for kind in COMMANDS}
    export_into(runs["compare"])
    runs["validate"] = validation_of(folder)
    runs["try"] = trial_of(folder)
    runs["judge"] = judgement_of(folder)
    runs["load"] = load_of(folder)
    runs["diagnose"] = diagnosis_of(folder, runs["compare"])
    return runs
