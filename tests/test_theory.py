"""Closed forms for requests one at a time against the digits of ``data/oracles.json``."""

import math

import numpy as np
import pytest
from oracle_runs import holds

from sim.errors import WorkloadError
from sim.theory import MG1, MDc, MMc, ageing_waits, priority_waits
from sim.theory_arrivals import GIM1, MMPPM1
from sim.theory_chain import erlang_b
from sim.theory_loss import MD1K, MM1D, MM1K, ClosedMM1, MMcM


def test_mm1_is_exponential():
    queue = MMc(rate=0.8, service_rate=1.0)
    assert holds(
        "mm1",
        p_wait=queue.p_wait,
        mean_wait=queue.mean_wait,
        mean_latency=queue.mean_latency,
        p99_wait=queue.wait_quantile(0.99),
        p99_latency=queue.latency_quantile(0.99),
        mean_number=queue.mean_number,
        utilisation=queue.utilisation,
        p_wait_gt_1=queue.wait_above(1.0),
        p50_latency=queue.latency_quantile(0.5),
    )


def test_several_exponential_servers_follow_erlang_c():
    queue = MMc(rate=3.2, service_rate=1.0, servers=4)
    assert holds(
        "mmc4",
        p_wait=queue.p_wait,
        mean_wait=queue.mean_wait,
        mean_latency=queue.mean_latency,
        p99_wait=queue.wait_quantile(0.99),
        p99_latency=queue.latency_quantile(0.99),
        mean_number=queue.mean_number,
        utilisation=queue.utilisation,
        p_wait_gt_1=queue.wait_above(1.0),
    )


def test_latency_of_several_servers_is_continuous_where_both_rates_are_equal():
    equal, near = MMc(3.0, 1.0, servers=4), MMc(3.0 + 1e-9, 1.0, servers=4)
    assert equal.latency_above(2.0) == pytest.approx(near.latency_above(2.0), rel=1e-8)


def test_nobody_waits_where_fewer_than_the_share_wait():
    assert MMc(0.1, 1.0, servers=4).wait_quantile(0.5) == 0.0
    assert MDc(0.1, 1.0, servers=4).wait_quantile(0.5) == 0.0


def test_constant_service_has_the_waits_of_crommelin():
    one = MDc(rate=0.8, service_time=1.0)
    assert holds(
        "md1",
        mean_wait=one.mean_wait,
        mean_latency=one.mean_latency,
        p_wait=one.p_wait,
        mean_number=one.mean_number,
        p50_wait=one.wait_quantile(0.5),
        p90_wait=one.wait_quantile(0.9),
        p99_wait=one.wait_quantile(0.99),
    )
    four = MDc(rate=3.2, service_time=1.0, servers=4)
    assert holds(
        "mdc4",
        mean_wait=four.mean_wait,
        p_wait=four.p_wait,
        p50_wait=four.wait_quantile(0.5),
        p90_wait=four.wait_quantile(0.9),
        p99_wait=four.wait_quantile(0.99),
    )
    assert four.utilisation == 0.8


def test_the_distribution_of_a_constant_service_agrees_with_its_mean():
    queue = MDc(rate=1.5, service_time=1.0, servers=2)
    times = np.linspace(0.0, 40.0, 2001)
    above = [1.0 - queue.wait_cdf(time) for time in times]
    assert np.trapezoid(above, times) == pytest.approx(queue.mean_wait, rel=1e-4)
    assert queue.wait_cdf(-1.0) == 0.0


def test_any_service_has_the_moments_of_pollaczek_khinchine_and_takacs():
    queue = MG1.lognormal(rate=0.7, mean=1.0, cv=math.sqrt(1.5))
    assert holds(
        "mg1_lognormal",
        mean_wait=queue.mean_wait,
        mean_latency=queue.mean_latency,
        sd_wait=queue.sd_wait,
        p_wait=queue.utilisation,
        mean_number=queue.mean_number,
    )


def test_pollaczek_khinchine_holds_the_special_cases():
    exponential, constant = MG1.gamma(0.8, 1.0, cv=1.0), MG1.gamma(0.8, 1.0, cv=0.0)
    assert exponential.mean_wait == pytest.approx(MMc(0.8, 1.0).mean_wait)
    assert constant.mean_wait == pytest.approx(MDc(0.8, 1.0).mean_wait)
    # the wait of M/M/1 is 0 or exponential of mean 5: its variance is 2 rho 5^2 - 4^2
    assert exponential.sd_wait == pytest.approx(math.sqrt(2 * 0.8 * 25 - 16))


def test_a_standard_deviation_needs_the_third_moment():
    assert math.isnan(MG1(0.5, 1.0, 2.0).sd_wait)


def test_priority_has_the_waits_of_cobham():
    two = priority_waits([0.3, 0.5], [1, 1], [2, 2])
    mean = (0.3 * two[0] + 0.5 * two[1]) / 0.8
    assert holds("mm1_prio2", mean_wait_1=two[0], mean_wait_2=two[1], mean_wait_all=mean)
    three = priority_waits([0.4, 0.2, 0.1], [0.5, 1.0, 2.0], [0.5, 1.0, 6.0])
    assert holds("mg1_prio3", mean_wait_1=three[0], mean_wait_2=three[1], mean_wait_3=three[2])


THREE = ([0.4, 0.2, 0.1], [0.5, 1.0, 2.0], [0.5, 1.0, 6.0])


def test_equal_urgency_is_first_come_first_served():
    waits = ageing_waits(*THREE, [0.7, 0.7, 0.7])
    assert waits == pytest.approx([1.25, 1.25, 1.25], rel=1e-12)


def test_urgencies_far_apart_are_strict_priority_in_any_order():
    strict = priority_waits(*THREE)
    assert ageing_waits(*THREE, [1e12, 1e6, 1.0]) == pytest.approx(strict, rel=1e-5)
    backward = [values[::-1] for values in THREE]
    assert ageing_waits(*backward, [1.0, 1e6, 1e12])[::-1] == pytest.approx(strict, rel=1e-5)


def test_ageing_only_moves_waits_between_classes():
    load = np.multiply(THREE[0], THREE[1])
    together = load @ ageing_waits(*THREE, [1.0, 0.5, 0.25])
    assert together == pytest.approx(load @ priority_waits(*THREE), rel=1e-12)


def test_priority_only_moves_waits_between_classes():
    rates, means, second = [0.2, 0.3, 0.1], [0.5, 1.5, 1.0], [0.4, 3.0, 2.0]
    load = np.multiply(rates, means)
    forward = load @ priority_waits(rates, means, second)
    backward = load[::-1] @ priority_waits(rates[::-1], means[::-1], second[::-1])
    assert forward == pytest.approx(backward)


def test_other_arrivals_have_the_latency_of_gi_m_1():
    paced = GIM1.paced(0.8, 1.0)
    assert holds(
        "dm1",
        sigma=paced.sigma,
        mean_latency=paced.mean_latency,
        p99_latency=paced.latency_quantile(0.99),
    )
    erlang = GIM1.gamma(0.8, 1.0, cv=0.5)
    assert holds(
        "e4m1", mean_latency=erlang.mean_latency, p99_latency=erlang.latency_quantile(0.99)
    )
    bursty = GIM1.hyperexponential(0.7, 1.0, cv=2.0)
    assert holds(
        "h2m1",
        sigma=bursty.sigma,
        mean_latency=bursty.mean_latency,
        p99_latency=bursty.latency_quantile(0.99),
    )
    assert bursty.mean_number == pytest.approx(0.7 * bursty.mean_latency)


@pytest.mark.parametrize("rate", [0.01, 0.8, 0.9999])
def test_gamma_gaps_of_cv_one_are_poisson_at_any_load(rate):
    queue, poisson = GIM1.gamma(rate, 1.0, cv=1.0), MMc(rate, 1.0)
    assert queue.sigma == pytest.approx(rate, rel=1e-8)
    assert queue.mean_wait == pytest.approx(poisson.mean_wait, rel=1e-6)


def test_a_jumping_rate_has_the_latency_of_its_quasi_birth_death_process():
    queue = MMPPM1(rates=(1.4, 0.2), switch=(0.2, 0.2), service_rate=1.0)
    assert holds("mmpp2m1", mean_number=queue.mean_number, mean_latency=queue.mean_latency)


def test_a_rate_that_jumps_to_itself_is_poisson():
    queue = MMPPM1(rates=(0.8, 0.8, 0.8), switch=(0.2, 1.0, 3.0), service_rate=1.0)
    assert queue.mean_latency == pytest.approx(MMc(0.8, 1.0).mean_latency)


def test_a_bounded_queue_loses_the_exact_share():
    queue = MM1K(rate=0.9, service_rate=1.0, capacity=10)
    assert holds(
        "mm1k",
        p_loss=queue.p_loss,
        mean_number=queue.mean_number,
        mean_latency_accepted=queue.mean_latency,
        utilisation=queue.utilisation,
    )
    constant = MD1K(rate=0.9, service_time=1.0, capacity=10)
    assert holds("md1k", p_loss=constant.p_loss, mean_latency_accepted=constant.mean_latency)
    assert constant.utilisation == pytest.approx(0.9 * (1 - constant.p_loss))


def test_servers_without_a_queue_follow_erlang_b():
    loss = erlang_b(6.0, 8)
    assert holds("erlangB", p_loss=loss, utilisation=6.0 * (1.0 - loss) / 8)
    one = MD1K(rate=6.0, service_time=1.0, capacity=1)
    assert one.p_loss == pytest.approx(erlang_b(6.0, 1))


def test_impatient_requests_leave_as_in_erlang_a():
    one = MMcM(rate=1.2, service_rate=1.0, patience_rate=0.5)
    assert holds(
        "mm1_abandon",
        p_abandon=one.p_abandon,
        mean_wait_all=one.mean_wait,
        mean_queue=one.mean_waiting,
        utilisation=one.utilisation,
        p_empty=one.p_empty,
    )
    four = MMcM(rate=4.4, service_rate=1.0, patience_rate=0.5, servers=4)
    assert holds("mm4_abandon", p_abandon=four.p_abandon)


def test_without_end_patience_is_a_queue_that_nobody_leaves():
    patient, endless = MMcM(0.8, 1.0, patience_rate=1e-4), MMc(0.8, 1.0)
    assert patient.mean_wait == pytest.approx(endless.mean_wait, rel=0.01)


def test_a_fixed_time_out_has_the_loss_of_baccelli_and_hebuterne():
    queue = MM1D(rate=1.2, service_rate=1.0, patience=3.0)
    assert holds(
        "mm1_deadline",
        p_abandon=queue.p_abandon,
        mean_wait_all=queue.mean_wait,
        p_empty=queue.p_empty,
    )
    assert queue.utilisation == pytest.approx(1.2 * (1 - queue.p_abandon))


def test_a_fixed_time_out_is_continuous_where_rates_are_equal():
    equal, near = MM1D(1.0, 1.0, 3.0), MM1D(1.0 + 1e-7, 1.0, 3.0)
    assert equal.p_abandon == pytest.approx(near.p_abandon, rel=1e-6)
    assert equal.mean_wait == pytest.approx(near.mean_wait, rel=1e-5)


def test_a_closed_loop_of_one_client_never_waits():
    loop = ClosedMM1(clients=1, think_time=9.0, service_rate=1.0)
    assert loop.mean_latency == pytest.approx(1.0)
    assert loop.utilisation == pytest.approx(0.1)


def test_a_closed_loop_is_the_birth_death_process_of_its_clients():
    loop = ClosedMM1(clients=10, think_time=9.0, service_rate=1.0)
    weight = [1.0]
    for thinking in range(10, 0, -1):
        weight.append(weight[-1] * thinking / 9.0)
    share = np.array(weight) / sum(weight)
    assert loop.utilisation == pytest.approx(1.0 - share[0])
    assert loop.mean_number == pytest.approx(share @ np.arange(11))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MMc(4.0, 1.0, 4), "`load < 1, or the queue has no equilibrium` must hold"),
        (lambda: MDc(1.0, 2.0), "but got load = 2.0"),
        (lambda: MMc(1.0, 0.0), "`service_rate > 0` must hold, but got service_rate = 0.0"),
        (lambda: MMc(-1.0, 1.0), "`rate > 0` must hold"),
        (lambda: MMc(1.0, 2.0, 0), "`servers > 0` must hold"),
        (lambda: MG1(0.5, 1.0, 0.9), "second_moment >= mean"),
        (lambda: GIM1.paced(1.0, 1.0), "but got load = 1.0"),
        (lambda: MMPPM1((1.0,), (1.0,), 2.0), "same length of at least 2"),
        (lambda: MM1K(1.0, 1.0, 0), "`capacity > 0` must hold"),
        (lambda: MM1D(1.0, 1.0, math.inf), "`patience > 0` must hold, but got patience = inf"),
        (lambda: priority_waits([0.5, 0.5], [1, 1], [2, 2]), "but got load = 1.0"),
        (lambda: ageing_waits([0.5, 0.5], [1, 1], [2, 2], [1, 2]), "but got load = 1.0"),
        (lambda: erlang_b(0.0, 2), "`offered > 0` must hold"),
        (lambda: MDc(0.5, 1.0).wait_quantile(1.0), "`0 < share < 1` must hold"),
    ],
)
def test_impossible_parameters_are_refused(build, message):
    with pytest.raises(WorkloadError, match=message.replace("(", r"\(")):
        build()
