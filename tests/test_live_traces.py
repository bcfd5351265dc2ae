"""Live runs that were recorded, replayed without a clock: the gate on the simulator's logic.

Each folder of ``tests/data/live`` holds one window of a live run.  Fed the times that its batches
took, the simulator must give the latencies that were measured.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from windows_by_hand import GOOD, POLICIES, calibrated, device, workload_at

from experiments.validation import Window
from experiments.validation.claims import BUSY_MOST, REPLAY_GATE
from experiments.validation.recorded import load, save
from experiments.validation.summary import REPLAYED
from policies.contract import NEVER
from sim import kernel, model
from sim.workload import ClosedLoop, Workload

FOLDER = Path(__file__).parent / "data" / "live"
WINDOWS = sorted(path.parent for path in FOLDER.glob("*/window.json"))
LEAST = 8
"""How many windows have to be there."""

TABLE = {"kind": "size_or_timeout", "max_batch_size": 4, "max_wait_ms": 3.0}
DEVICE = {"device": "by hand", "threads": 1}


def test_the_recorded_windows_are_there():
    assert len(WINDOWS) >= LEAST


@pytest.mark.parametrize("folder", WINDOWS, ids=lambda folder: folder.name)
def test_a_recorded_live_window_is_replayed_within_the_gate(folder):
    recorded = load(folder)
    assert recorded.window.condition.accepted
    assert recorded.busy <= BUSY_MOST, "a window for the gate is at most 0.6 busy"
    errors = recorded.replay_errors()
    assert tuple(errors) == REPLAYED
    for name, error in errors.items():
        assert error is not None, name
        assert abs(error) <= REPLAY_GATE, f"{name} {100 * error:+.2f} %"


@pytest.mark.parametrize("folder", WINDOWS, ids=lambda folder: folder.name)
def test_a_window_of_a_rule_without_timers_is_replayed_exactly(folder):
    recorded = load(folder)
    if recorded.table["kind"] == "size_or_timeout":
        pytest.skip("a timer of the live run rings a little late")
    assert recorded.replay_errors() == dict.fromkeys(REPLAYED, 0.0)


# the form of the folders


def recorded(folder, workload, service):
    """A window of the simulator's own, written and read."""
    live = model.run(POLICIES["patient"], workload, service)
    window = Window("patient", 0.2, 1, 2, live, replace(GOOD, load_average=None))
    calm = replace(calibrated().service(), capacity=service.capacity)
    assert save(folder, window, TABLE, workload, calm, DEVICE) == folder
    return window, calm, load(folder)


def test_a_window_comes_back_as_it_was_written(tmp_path):
    workload = workload_at(0.2, 300)
    window, service, back = recorded(tmp_path / "one", workload, device(3))
    assert back.window.trace.equals(window.trace)
    names = ("policy", "load", "round", "attempt", "condition")
    assert [getattr(back.window, n) for n in names] == [getattr(window, n) for n in names]
    assert back.policy == POLICIES["patient"]
    assert (dict(back.table), dict(back.device)) == (TABLE, DEVICE)
    assert np.array_equal(back.service.service_ns, service.service_ns)
    assert np.array_equal(back.service.length_edges, service.length_edges)
    assert back.service.capacity == NEVER
    assert np.array_equal(back.workload.arrival_ns, workload.arrival_ns)


def test_a_window_of_the_simulators_own_is_replayed_without_error(tmp_path):
    _, _, back = recorded(tmp_path, workload_at(0.2, 300), device(3, drift=1.2))
    assert back.replay_errors() == dict.fromkeys(REPLAYED, 0.0)


def test_another_rule_than_the_recorded_one_breaks_the_gate(tmp_path):
    _, _, back = recorded(tmp_path, workload_at(0.2, 300), device(3))
    other = replace(back, table=TABLE | {"max_wait_ms": 4.0})
    assert max(abs(error) for error in other.replay_errors().values()) > REPLAY_GATE


def test_patience_a_full_queue_and_a_closed_loop_come_back(tmp_path):
    impatient = replace(workload_at(1.5, 200), timeout_ns=np.full(200, 9_000_000))
    service = replace(device(4), capacity=15)
    _, _, back = recorded(tmp_path / "open", impatient, service)
    assert back.replay_errors() == dict.fromkeys(REPLAYED, 0.0)
    assert {0, 1, 2} <= set(back.window.trace.status.tolist())
    rng = np.random.default_rng(1)
    closed = Workload(
        length=np.full(150, 32, dtype=np.int32),
        closed=ClosedLoop(rng.integers(1, 9_000_000, (5, 40))),
    )
    _, _, again = recorded(tmp_path / "closed", closed, device(4))
    assert again.replay_errors() == dict.fromkeys(REPLAYED, 0.0)


def test_a_folder_of_another_format_is_refused_with_its_path(tmp_path):
    recorded(tmp_path, workload_at(0.2, 50), device(3))
    file = tmp_path / "window.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(ValueError, match=r"window\.json: format = 7 must be 1$"):
        load(tmp_path)


def test_a_window_of_a_thousand_requests_is_small(tmp_path):
    live = kernel.run(POLICIES["greedy"], workload_at(0.3, 1000), device(3))
    save(
        tmp_path, Window("greedy", 0.3, 0, 0, live, GOOD), {"kind": "greedy"},
        workload_at(0.3, 1000), calibrated().service(), DEVICE,
    )  # fmt: skip
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 120_000
