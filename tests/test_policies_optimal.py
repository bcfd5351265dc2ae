"""The rule that is a table: what it does, what it refuses, and that runs have its exact means."""

import numpy as np
import pytest
from random_runs import MS

from policies import Greedy, Optimal, Snap, Static
from policies.contract import FIRE, NEVER, bind
from policies.example_view import Waiting, example_view
from policies.testing import EDGES, TABLE
from sim import kernel, model
from sim.metrics import measure
from sim.service import Noise, Service
from sim.theory_batch import greedy_table, largest_rate, snap_table, solve_batches
from sim.theory_smdp import solve_optimum
from sim.workload import Workload

TILES_NS = np.array([[round((2.0 + 2.8 * -(-size // 8)) * MS)] for size in range(1, 33)])


def bound(*take, table=TABLE):
    return bind(Optimal(np.array(take)), table, EDGES[: table.shape[1]], (), 1)


@pytest.mark.parametrize(
    ("waiting", "answer", "taken"),
    [(1, NEVER, 0), (2, FIRE, 2), (3, NEVER, 0), (4, FIRE, 3), (5, FIRE, 3), (60, FIRE, 3)],
)
def test_it_serves_what_the_table_says_and_the_last_entry_beyond(waiting, answer, taken):
    view = example_view(10, [Waiting(0)] * waiting)
    assert bound(0, 0, 2, 0, 3).decide(view) == answer
    assert view.take[0] == taken


def test_binding_copies_the_table():
    table = np.array([0, 1, 2])
    own = bind(Optimal(table), TABLE, EDGES, (), 1)
    table[1] = 0
    assert own.take.tolist() == [0, 1, 2]
    assert own.take.dtype == np.int64


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Optimal(), "`take has an entry for 0 waiting, for 1, ...` must hold, but got (take=[])"),
        (Optimal(np.array([0])), "`take has an entry for 0 waiting, for 1, ...` must hold"),
        (
            Optimal(np.array([0, 1, 3])),
            "`0 <= take[2] <= 2, at most those that wait and the largest batch` must hold, but got "
            "(take[2]=3)",
        ),
        (Optimal(np.array([1, 1])), "`0 <= take[0] <= 0, at most"),
        (Optimal(np.array([0, -1, 1])), "(take[1]=-1)"),
        (Optimal(np.append(np.arange(65), 65)), "`0 <= take[65] <= 64, at most"),
        (
            Optimal(np.array([0, 1, 0])),
            "`the last entry of take serves` must hold, but got (last=0)",
        ),
        (Optimal(np.array([0.5, 1.5])), "`take is a list of whole numbers` must hold"),
        (Optimal(np.array([0, 1]), -1), "`0 <= busy_weight_ns` must hold"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused(policy, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        bind(policy, TABLE, EDGES, (), 1)
    assert message in str(caught.value)


def poisson(rate_per_ms, requests, seed=5):
    gaps = np.random.default_rng(seed).exponential(MS / rate_per_ms, requests)
    return Workload(
        np.ones(requests, dtype=np.int32),
        gaps.cumsum().astype(np.int64),
        np.zeros(requests, dtype=np.int8),
    )


SAME = {
    "greedy": (greedy_table(32), Greedy()),
    "static": (greedy_table(8, 8), Static(8)),
    "snap": (snap_table(TILES_NS[:, 0]), Snap()),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("driver", [kernel, model])
def test_as_a_table_a_rule_gives_the_same_trace(name, driver):
    table, rule = SAME[name]
    workload = poisson(1.2, 3000)
    service = Service(TILES_NS[None], np.array([1]))
    one, other = (driver.run(each, workload, service) for each in (Optimal(table), rule))
    assert np.array_equal(one.finish_ns, other.finish_ns)
    assert np.array_equal(one.batch_size, other.batch_size)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_a_run_of_the_optimum_has_its_mean_and_is_faster_than_greedy_and_snap(load):
    rate = load * largest_rate(TILES_NS[:, 0] / MS)
    best = solve_optimum(rate, TILES_NS[:, 0] / MS)
    workload, service = poisson(rate, 400_000), Service(TILES_NS[None], np.array([1]))
    found = measure(kernel.run(Optimal(best.take), workload, service), service).overall
    spread = found.latency_ms["mean"].high - found.latency_ms["mean"].value
    assert abs(found.latency_ms["mean"].value - best.mean_latency) < 2.0 * spread
    assert found.mean_batch_size.value == pytest.approx(best.mean_batch, rel=0.02)
    assert found.utilisation.value == pytest.approx(best.utilisation, rel=0.01)
    for rule, table in ((Greedy(), greedy_table(32)), (Snap(), snap_table(TILES_NS[:, 0]))):
        other = measure(kernel.run(rule, workload, service), service).overall
        exact = solve_batches(rate, TILES_NS[:, 0] / MS, table).mean_latency
        assert exact > best.mean_latency
        assert other.latency_ms["mean"].value > found.latency_ms["mean"].value


def test_a_run_with_drawn_factors_has_the_mean_of_their_law():
    from sim.theory_noise import Mixture

    rate, service_ms = 1.0, TILES_NS[:, 0] / MS
    values, weights = np.array([0.8, 1.8]), np.array([0.8, 0.2])
    law = Mixture(values[None], weights)
    best = solve_optimum(rate, service_ms, noise=law)
    draws = np.random.default_rng(1).choice(values.astype(np.float32), (1, 1, 400_000), p=weights)
    service = Service(TILES_NS[None], np.array([1]), noise=Noise(draws))
    found = measure(kernel.run(Optimal(best.take), poisson(rate, 400_000), service), service)
    mean = found.overall.latency_ms["mean"]
    assert abs(mean.value - best.mean_latency) < 2.0 * (mean.high - mean.value)
    quiet = solve_batches(rate, service_ms, best.take).mean_latency
    assert mean.value > quiet * 1.05  # the law is seen
