"""What Ray Serve, MLServer, BentoML and TorchServe load to be tried: the export, and a model."""

from __future__ import annotations

import ast
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from export_settings import LARGEST, from_idle, setting

from experiments.export.contract import NotExpressible
from experiments.export.setting import Costs
from experiments.rules import build_policy
from experiments.stacks import bentoml, mlserver, ray_serve, torchserve
from experiments.stacks.contract import StackError, Wish
from experiments.stacks.timers import timer_of

STACKS = {"ray": ray_serve, "mlserver": mlserver, "bentoml": bentoml, "torchserve": torchserve}
SERVICE_NS = 20_000_000 + 2_000_000 * np.arange(1, 65)
COSTS = Costs(SERVICE_NS[:, np.newaxis], np.array([32]), np.array([32]), np.array([1.0]))
BARE = {
    "ray": {"kind": "sealed_batches", "max_batch_size": LARGEST, "max_wait_ms": 10},
    "mlserver": {"kind": "sealed_batches", "max_batch_size": 1},
    "bentoml": {"kind": "cork", "max_batch_size": LARGEST, "max_latency_ms": 60_000},
    "torchserve": {"kind": "timer_from_pick", "max_batch_size": LARGEST, "max_wait_ms": 100},
}


def wish(wanted=None, **more):
    wanted = from_idle(8, 30) if wanted is None else wanted
    evidence = replace(wanted.evidence, rate_per_s=120.0)
    wanted = replace(wanted, model="m", costs=COSTS, evidence=evidence)
    return Wish(wanted, COSTS, nearest=True, **more)


def bucketed():
    """A policy with a queue for each range of lengths."""
    return setting("length_bucketed", max_batch_size=8, max_wait_ms=30, boundaries=[32])


@pytest.mark.parametrize(
    ("name", "bare"), [*((name, False) for name in STACKS), *((name, True) for name in BARE)]
)
def test_everything_that_is_written_can_be_read_by_its_own_kind(name, bare, tmp_path):
    STACKS[name].write(tmp_path, STACKS[name].bare(wish()).wish if bare else wish())
    (model,) = tmp_path.rglob("slow_model.py")
    assert (model.parent / "costs.json").is_file()
    read = {".py": ast.parse, ".json": json.loads, ".yaml": yaml.safe_load}
    for path in tmp_path.rglob("*"):
        if path.suffix in read:
            read[path.suffix](path.read_text())


@pytest.mark.parametrize("name", STACKS)
def test_nothing_is_written_where_nearest_was_not_asked_for_and_it_differs(name, tmp_path):
    if name == "torchserve":
        pytest.skip("it does this policy exactly")
    with pytest.raises(NotExpressible):
        STACKS[name].write(tmp_path, replace(wish(), nearest=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", STACKS)
def test_a_policy_of_several_queues_is_refused_in_one_sentence(name, tmp_path):
    with pytest.raises(StackError, match=f"{name}: the policy becomes .* with --policy"):
        STACKS[name].write(tmp_path, wish(bucketed()))


RULINGS = {
    "ray": {"kind": "sealed_batches", "max_batch_size": 8, "max_wait_ms": 30},
    "mlserver": {"kind": "timer_from_pick", "max_batch_size": 8, "max_wait_ms": 30},
    "bentoml": {"kind": "cork", "max_batch_size": 8, "max_latency_ms": 1000},
    "torchserve": {"kind": "timer_from_pick", "max_batch_size": 8, "max_wait_ms": 30},
}


@pytest.mark.parametrize("name", STACKS)
def test_the_policy_that_is_the_stack_has_the_numbers_of_its_files(name):
    found = STACKS[name].policy(wish())
    assert found.table.items() >= RULINGS[name].items()
    assert found.servers == 1
    build_policy(found.table)


@pytest.mark.parametrize("name", BARE)
def test_with_nothing_set_it_has_the_stacks_own_numbers(name):
    found = STACKS[name].policy(STACKS[name].bare(wish()).wish)
    assert found.table.items() >= BARE[name].items()
    build_policy(found.table)


@pytest.mark.parametrize("wanted", [None, bucketed()])
def test_ray_serves_own_wait_is_tried_in_a_replica_with_room_for_its_batches(wanted, tmp_path):
    found = ray_serve.bare(wish(wanted))
    assert "by default a replica takes 5, fewer than a batch" in found.words
    ray_serve.write(tmp_path, found.wish)
    (application,) = yaml.safe_load((tmp_path / "serve_config.yaml").read_text())["applications"]
    (deployment,) = application["deployments"]
    numbers = {"max_batch_size": LARGEST, "batch_wait_timeout_s": 0.01}
    assert deployment["user_config"].items() >= numbers.items()
    assert deployment["max_ongoing_requests"] >= 10_000


def test_ray_serve_runs_the_model_and_not_the_echo_of_the_export(tmp_path):
    ray_serve.write(tmp_path, wish())
    (application,) = yaml.safe_load((tmp_path / "serve_config.yaml").read_text())["applications"]
    assert application["args"] == {"model": "model:run"}


def test_bentomls_defaults_are_left_to_bentoml(tmp_path):
    bentoml.write(tmp_path, wish(bare=True))
    text = (tmp_path / "service.py").read_text()
    assert f"@bentoml.api(batchable=True, max_batch_size={LARGEST})" in text


def test_bentoml_is_refused_batches_of_one(tmp_path):
    with pytest.raises(StackError, match="several at a time"):
        bentoml.write(tmp_path, wish(from_idle(1, 0)))


def test_mlserver_with_several_workers_is_given_sealed_batches():
    found = mlserver.policy(wish(from_idle(8, 30, servers=2)))
    assert found.table["kind"] == "sealed_batches"
    assert found.servers == 2
    assert found.notes


@pytest.mark.parametrize("name", STACKS)
def test_it_listens_on_the_loopback_alone(name, tmp_path):
    STACKS[name].write(tmp_path, wish())
    ports = range(20_000, 20_000 + STACKS[name].PORTS)
    command = STACKS[name].command(tmp_path, tmp_path / "bin" / "python", ports)
    written = " ".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    said = " ".join([*map(str, command.argv), *command.environment.values(), written])
    assert "127.0.0.1" in said
    assert "0.0.0.0" not in said


def test_a_sealed_batch_has_waited_for_a_server_only_once_its_timer_has_run_out():
    timer = timer_of(ray_serve.policy(wish()))
    assert timer.kind == "sealed"
    assert timer.free_server_waits_ns(3, 20_000_000) == 10_000_000
    assert timer.free_server_waits_ns(3, 40_000_000) == 0
    assert timer.free_server_waits_ns(8, 0) == 0
