"""Batches of a real Triton server, recorded, against those of the simulation of its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.export import triton
from experiments.rules import build_policy
from policies.contract import bind
from sim.model import run
from sim.service import Service
from sim.workload import Workload

RECORDED = json.loads((Path(__file__).parent / "data/triton-preferred-sizes.json").read_text())

CONFIG = """
max_batch_size: 8
dynamic_batching {
  preferred_batch_size: [ 4 ]
  max_queue_delay_microseconds: 20000
  default_queue_policy { allow_timeout_override: true }
}
"""

CLOSE = 0.03
"""Of all batches may have another size: arrivals are known to a fraction of a millisecond only."""

SIZES = np.arange(1, 9)


def shares(counts):
    """How often each size occurs."""
    found = np.asarray(counts, dtype=float)
    return found / found.sum()


def apart(record):
    """The share of batches whose size differs between the server and the simulation."""
    policy = build_policy(triton.read({"config.pbtxt": CONFIG}).table)
    taken_us = 5000 + 500 * SIZES + record["overhead_us"]
    service = Service((taken_us * 1000)[np.newaxis, :, np.newaxis], np.array([1]))
    arrival_ns = np.array(record["arrival_us"]) * 1000
    workload = Workload(np.ones(len(arrival_ns), dtype=np.int32), arrival_ns)
    bound = bind(policy, service.service_ns[0], service.length_edges)
    trace = run(bound, workload, service)
    simulated = np.bincount(trace.batch_size, minlength=9)[1:]
    return 0.5 * np.abs(shares(record["sizes"]) - shares(simulated)).sum()


def test_a_real_triton_forms_the_batches_that_are_simulated():
    assert apart(RECORDED["records"]["with allow_timeout_override"]) < CLOSE


def test_a_triton_that_forms_batches_ahead_does_not():
    assert apart(RECORDED["records"]["without allow_timeout_override"]) > 5 * CLOSE


@pytest.mark.parametrize("record", RECORDED["records"].values(), ids=list(RECORDED["records"]))
def test_every_recorded_request_is_in_a_batch(record):
    assert SIZES @ np.array(record["sizes"]) == len(record["arrival_us"])
