"""Triton's batches formed ahead: who is there when one is formed is in it, later ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.stacks.ahead import FormedAhead
from experiments.stacks.triton import table_of_config
from policies import SizeOrTimeout
from sim import model
from sim.service import Service
from sim.workload import Workload

MS = 1_000_000


def sizes(policy, arrivals_ms, service_ms=20, servers=1):
    """Sizes and starts, in ms, of the batches of a window whose batches all take the same time."""
    arrival_ns = (np.array(arrivals_ms) * MS).astype(np.int64)
    service = Service(np.full((1, 8, 1), service_ms * MS), np.array([1]), servers)
    trace = model.run(policy, Workload(np.ones(len(arrival_ns), np.int32), arrival_ns), service)
    return trace.batch_size.tolist(), (trace.batch_start_ns / MS).tolist()


CONFIG = """
name: "m"
max_batch_size: 4
dynamic_batching {{
  max_queue_delay_microseconds: 10000
  {more}
}}
instance_group [ {{ count: 1 }} ]
"""


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("", "formed_ahead"),
        ("default_queue_policy { allow_timeout_override: true }", "size_or_timeout"),
        (
            "default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 90000 }",
            "size_or_timeout",
        ),
    ],
)
def test_triton_forms_ahead_where_nothing_of_its_file_keeps_it_from_that(more, kind):
    assert table_of_config(CONFIG.format(more=more))["kind"] == kind


RULE, OLDEST = FormedAhead(4, 10 * MS), SizeOrTimeout(4, 10 * MS)


def test_beside_an_idle_server_it_is_the_timer_of_the_oldest():
    arrivals = [0, 3, 50, 51, 52, 53, 100]
    assert sizes(RULE, arrivals) == sizes(OLDEST, arrivals) == ([2, 4, 1], [10, 53, 110])


def test_who_comes_after_the_batch_ahead_was_formed_is_not_in_it():
    """Formed at 22 of those of 12 and 20, while the server runs until 30; 25 comes too late."""
    arrivals = [0, 12, 20, 25]
    assert sizes(RULE, arrivals) == ([1, 2, 1], [10, 30, 50])
    assert sizes(OLDEST, arrivals) == ([1, 3], [10, 30])


def test_a_batch_ahead_is_filled_up_once_a_full_one_has_come_behind_it():
    """Formed at 22 of one; three more are not enough, four are."""
    assert sizes(RULE, [0, 12, 23, 24, 25])[0] == [1, 1, 3]
    assert sizes(RULE, [0, 12, 23, 24, 25, 26])[0] == [1, 4, 1]


def test_the_next_is_formed_no_earlier_than_the_one_before_is_taken():
    """25 has waited enough at 35, but the batch of 12 is taken at 40: 39 is in, and 41 is not."""
    arrivals = [0, 12, 25, 39, 41]
    assert sizes(RULE, arrivals, service_ms=30) == ([1, 1, 2, 1], [10, 40, 70, 100])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("servers", [1, 2])
def test_no_batch_is_larger_than_that_of_the_oldest_timer_could_be(seed, servers):
    """Every request is served once, in order, in no batch above the limit, and none is early."""
    arrivals = np.sort(np.random.default_rng(seed).uniform(0, 900, 120))
    found, starts = sizes(RULE, arrivals, servers=servers)
    assert sum(found) == 120
    assert max(found) <= 4
    first = np.concatenate([[0], np.cumsum(found)[:-1]])
    for size, start, oldest in zip(found, starts, arrivals[first], strict=True):
        assert size == 4 or start >= oldest + 10 - 1e-6
