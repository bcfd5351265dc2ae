"""``batchwright try --on triton``: the server of the wheel of nvidia-pytriton, where it is."""

from __future__ import annotations

import pytest
from trying import check_run, needs, servers_left, tried

pytestmark = needs("triton")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tried(
        tmp_path_factory.mktemp("triton"), "--on", "triton", "--policy", "waiting", "--default"
    )


def test_a_trial_holds_the_server_against_the_simulator(run):
    check_run(*run, "triton", ["tuned", "default"])
    _, found = run
    assert found["variants"]["tuned"]["policy"]["kind"] == "size_or_timeout"
    assert found["variants"]["default"]["policy"] == {"kind": "greedy", "max_batch_size": 4}


def test_the_server_ran_what_was_exported_and_nothing_of_it_but_files_is_left(run):
    folder, _ = run
    text = (folder / "server" / "tuned" / "repository" / "m" / "config.pbtxt").read_text()
    assert "max_queue_delay_microseconds: 5000" in text
    assert not (folder / "server" / "tuned" / "backends").exists()
    assert not servers_left()


def test_its_own_statistics_of_batches_are_kept(run):
    _, found = run
    own = found["variants"]["tuned"]["overheads"]["own_batch_ms"]
    assert set(own) <= {"1", "2", "3", "4"}
    assert own["1"] >= 20.0, "the model takes as long as it was asked to"


def test_preferred_sizes_are_what_the_server_does(tmp_path):
    (tmp_path / "more").mkdir()
    _, found = tried(
        tmp_path, "--on", "triton", "--policy", "greedy",
        "--set", "policies.greedy.kind=preferred_sizes",
        "--set", "policies.greedy.preferred_batch_size=[2,4]",
        "--set", "policies.greedy.max_wait_ms=20.0",
    )  # fmt: skip
    assert found["variants"]["tuned"]["policy"]["kind"] == "preferred_sizes"
