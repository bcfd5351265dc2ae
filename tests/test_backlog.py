"""A backlog that is always there: drawn beside the others, measured in time, never dry."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from random_runs import differences

from policies.contract import FIRE, NEVER, Tier
from sim import kernel, model
from sim.arrivals import Clumped, Poisson
from sim.backlog import Backlog, beginning, check_there, others_in, paced, without
from sim.errors import WorkloadError
from sim.lengths import Constant, Uniform
from sim.metrics import measure
from sim.sections import cut
from sim.service import Noise, Service
from sim.specs import TierSpec, Timeout, WorkloadSpec
from sim.stability import Stability, assess
from sim.streams import Seeds
from sim.workload import Workload, draw_workload

MS = 1_000_000
FOUR = Service(np.array([[[10], [12], [14], [16]]]) * MS, np.array([1]))
"""A batch of four takes 16 ms: 4 ms a request at best."""

ONLINE, OFFLINE = Tier("online", 40 * MS, 99.0), Tier("offline", backlog=True)


class Fill(NamedTuple):
    """One lane a tier: the first first, the rest of the batch filled with the next."""

    largest: int = 4
    tiers: int = 2

    def lanes(self):
        return self.tiers

    def lane_of(self, length, tier):
        return tier

    def decide(self, view):
        room = self.largest
        for lane in range(view.take.shape[0]):
            view.take[lane] = min(room, view.waiting[lane])
            room -= view.take[lane]
        return FIRE


class OneQueue(NamedTuple):
    largest: int = 4

    def decide(self, view):
        view.take[0] = min(self.largest, view.waiting[0])
        return FIRE


def mixed(arrivals=None, *, requests=None, duration_s=None, backlog=None, **more):
    """A workload of two tiers, of which the second is a backlog."""
    return WorkloadSpec(
        lengths=Uniform(1, 9),
        requests=requests,
        duration_ns=None if duration_s is None else round(duration_s * 1e9),
        tiers=(
            TierSpec(ONLINE, arrivals=arrivals or Poisson(50.0)),
            TierSpec(OFFLINE, arrivals=backlog or Backlog(per_server_s=250.0)),
        ),
        **more,
    )


def test_the_others_are_drawn_as_if_there_was_no_backlog():
    both = draw_workload(mixed(requests=500, timeout=Timeout(30 * MS, exponential=True)))
    spec = mixed(requests=500, timeout=Timeout(30 * MS, exponential=True))
    alone = draw_workload(replace(spec, tiers=spec.tiers[:1]))
    online = both.tier == 0
    assert online.sum() == 500
    for name in ("arrival_ns", "length", "timeout_ns"):
        assert np.array_equal(getattr(both, name)[online], getattr(alone, name))
    assert (both.timeout_ns[~online] == NEVER).all()


def test_a_backlog_is_there_from_the_start_and_each_of_its_requests_has_its_age():
    workload = draw_workload(mixed(duration_s=20.0))
    own = workload.tier == 1
    assert np.array_equal(workload.arrival_ns[own], np.arange(own.sum()))
    assert (np.diff(workload.arrival_ns) >= 0).all()
    assert own.sum() > 1.2 * 250.0 * 20.0


def test_a_run_ends_a_little_after_its_last_arrival_or_its_duration():
    assert draw_workload(mixed(duration_s=20.0)).until_ns == 20_200 * MS
    counted = draw_workload(mixed(requests=500))
    assert counted.until_ns == pytest.approx(1.01 * counted.arrival_ns[-1], rel=1e-9)


def test_a_longer_run_has_a_larger_backlog_that_begins_with_the_same_requests():
    short, long = (draw_workload(mixed(duration_s=s)) for s in (5.0, 50.0))
    few, many = (one.length[one.tier == 1] for one in (short, long))
    assert len(many) > 5 * len(few)
    assert np.array_equal(many[: len(few)], few)


def test_another_seed_of_the_arrivals_leaves_the_lengths_of_a_backlog():
    one, other = (draw_workload(mixed(duration_s=5.0), Seeds(arrivals=s)) for s in (1, 2))
    assert np.array_equal(one.length[one.tier == 1], other.length[other.tier == 1])


def test_more_servers_need_a_larger_backlog():
    one, four = (draw_workload(mixed(duration_s=5.0).served_by(n)) for n in (1, 4))
    assert (four.tier == 1).sum() == pytest.approx(4 * (one.tier == 1).sum(), rel=0.01)


def test_a_slower_pace_lengthens_run_and_backlog_together():
    workload = draw_workload(mixed(duration_s=20.0))
    slow = paced(workload, 0.5)
    assert slow.until_ns == 2 * workload.until_ns
    assert (slow.tier == 1).sum() == 2 * (workload.tier == 1).sum()
    assert np.array_equal(
        slow.arrival_ns[slow.tier == 0], 2 * workload.arrival_ns[workload.tier == 0]
    )
    assert np.array_equal(without(slow).length, without(workload).length)


def test_the_beginning_of_a_run_has_the_backlog_that_it_can_use():
    workload = draw_workload(mixed(requests=1_000))
    first = beginning(workload, 100)
    assert np.array_equal(without(first).arrival_ns, without(workload).arrival_ns[:100])
    assert first.until_ns < 0.2 * workload.until_ns
    check_there(kernel.run(Fill(), first, FOUR))


@pytest.mark.parametrize("rule", [Fill(), OneQueue()])
@pytest.mark.parametrize("servers", [1, 3])
def test_both_drivers_serve_a_backlog_alike(rule, servers):
    service = replace(FOUR, servers=servers)
    workload = draw_workload(mixed(duration_s=3.0).served_by(servers))
    trace = kernel.run(rule, workload, service)
    assert differences(trace, model.run(rule, workload, service)) == []
    trace.check(service, workload)
    check_there(trace)
    assert (trace.batch_start_ns < workload.until_ns).all()
    busy = trace.batch_finish_ns - trace.batch_start_ns
    assert busy.sum() >= servers * workload.until_ns - servers * 16 * MS


def test_whoever_came_last_is_still_served():
    trace = kernel.run(Fill(), draw_workload(mixed(duration_s=20.0)), FOUR)
    assert (trace.status[trace.tier == 0] == 0).all()


def test_a_backlog_that_runs_dry_is_refused_with_when():
    workload = draw_workload(mixed(duration_s=20.0, backlog=Backlog(400)))
    trace = kernel.run(Fill(), workload, FOUR)
    with pytest.raises(WorkloadError) as caught:
        measure(trace, FOUR)
    message = str(caught.value)
    assert message.startswith(
        "the backlog of tier 'offline' ran dry: its 400 requests had all been"
    )
    lasted = trace.start_ns[trace.tier == 1].max() / 1e9
    assert f"after {lasted:.4g} s of " in message


def test_clumps_of_hundreds_arrive_beside_other_traffic():
    offline = Clumped(300, 0, 60.0)
    spec = WorkloadSpec(
        lengths=Constant(1),
        duration_ns=200 * 10**9,
        tiers=(
            TierSpec(Tier("online", 40 * MS), arrivals=Poisson(50.0)),
            TierSpec(Tier("offline"), arrivals=offline),
        ),
    )
    workload = draw_workload(spec)
    own = workload.arrival_ns[workload.tier == 1]
    _, together = np.unique(own, return_counts=True)
    assert (together % 300 == 0).all()
    assert len(own) / 200.0 == pytest.approx(60.0, rel=0.3)
    trace = kernel.run(Fill(), workload, FOUR)
    found = measure(trace, FOUR)
    assert found.group("online").latency_ms["mean"].value < 40.0
    assert found.group("offline").latency_ms["mean"].value > 300.0


# measures, by hand


def small():
    """Ten requests of tier 0, one every 20 ms, and a backlog: what each got can be counted."""
    arrival = np.arange(1, 1_001) * 20 * MS
    crowd = np.arange(6_000)
    return Workload(
        length=np.ones(7_000, np.int32),
        arrival_ns=np.concatenate([crowd, arrival]),
        tier=np.repeat([1, 0], [6_000, 1_000]).astype(np.int8),
        tiers=(ONLINE, OFFLINE),
        until_ns=20_200 * MS,
    )


def test_what_a_backlog_gets_is_counted_in_the_window_of_the_others():
    trace = kernel.run(Fill(), small(), FOUR)
    found = measure(trace, FOUR)
    first, last = 101 * 20 * MS, 1_000 * 20 * MS  # the first that is kept, and the last arrival
    inside = (trace.finish_ns > first) & (trace.finish_ns <= last) & (trace.status == 0)
    offline, online = (np.count_nonzero(inside & (trace.tier == k)) for k in (1, 0))
    seconds = (last - first) / 1e9
    group = found.group("offline")
    assert group.throughput_per_s.value == pytest.approx(offline / seconds)
    spare_s = seconds - online * 0.004
    assert group.bound_per_s.value == pytest.approx(spare_s / seconds / 0.004)
    assert group.share_of_bound.value == pytest.approx(offline * 0.004 / spare_s)
    assert group.throughput_per_s.value / group.bound_per_s.value == pytest.approx(
        group.share_of_bound.value
    )
    assert group.share_of_bound.value == pytest.approx(1.0, abs=0.001)  # every batch is full
    assert found.overall.utilisation.value == pytest.approx(1.0)


def test_a_backlog_has_no_latency_and_is_to_blame_for_nothing():
    found = measure(kernel.run(Fill(), small(), FOUR), FOUR)
    group = found.group("offline")
    assert group.latency_ms["p99"].value is None
    assert group.wait_ms["mean"].reason == group.mean_number_in_system.reason
    assert group.latency_ms["p99"].reason == (
        "a backlog that is always there waits from the beginning, so it has no latency"
    )
    assert group.slo_attainment is None
    assert group.unfinished == group.requests - group.served > 500
    assert found.overall.slo_attainment.value == 1.0
    assert found.group("online").unfinished == 0
    assert found.warnings == ()


def test_only_a_backlog_has_a_bound():
    found = measure(kernel.run(Fill(), small(), FOUR), FOUR)
    for group in (found.overall, found.group("online")):
        assert group.bound_per_s is None
        assert "share_of_bound" not in group.to_json()
    own = found.group("offline")
    assert own.to_json()["share_of_bound"] == own.share_of_bound.value
    assert "bound_per_s" in own.to_json()["intervals"]


def test_the_others_have_the_very_numbers_that_they_have_in_a_trace_of_their_own():
    workload = draw_workload(mixed(requests=30_000))
    trace = kernel.run(Fill(), workload, FOUR)
    apart = replace(others_in(trace), tiers=(ONLINE,), tier=np.zeros(30_000, dtype=np.int8))
    both, alone = measure(trace, FOUR), measure(apart, FOUR)
    for name in ("latency_ms", "wait_ms", "slo_attainment", "throughput_per_s"):
        assert getattr(both.group("online"), name) == getattr(alone.group("online"), name)
    for name in ("latency_ms", "wait_ms", "slo_attainment"):
        assert getattr(both.overall, name) == getattr(alone.overall, name)
    number = both.overall.mean_number_in_system
    assert number.sections == alone.overall.mean_number_in_system.sections
    assert np.array_equal(cut(trace).edges_ns, cut(apart).edges_ns)


def test_two_backlogs_share_one_bound():
    tiers = (ONLINE, OFFLINE, Tier("reports", backlog=True))
    spec = mixed(duration_s=30.0)
    more = TierSpec(tiers[2], arrivals=Backlog(per_server_s=250.0))
    workload = draw_workload(replace(spec, tiers=(*spec.tiers, more)))
    trace = kernel.run(Fill(tiers=3), workload, FOUR)
    found = measure(trace, FOUR)
    shares = [found.group(name).share_of_bound.value for name in ("offline", "reports")]
    assert shares[1] == 0.0
    assert sum(shares) == pytest.approx(1.0, abs=0.002)


# stability


def stability_of(rule, per_s=50.0):
    workload = draw_workload(mixed(Poisson(per_s), duration_s=60.0))
    return assess(rule, workload, FOUR, kernel.run, rate_per_s=per_s)


def test_a_rule_that_puts_the_others_first_is_judged_by_what_it_serves_of_them():
    found = stability_of(Fill())
    assert found.stable
    assert found.saturation_per_s == pytest.approx(250.0, rel=0.01)
    assert found.message == (
        "stable: 50.0 requests/s arrive, this policy can serve "
        f"{found.saturation_per_s:.1f}/s beside the backlog of offline (load 0.20)"
    )
    assert not stability_of(Fill(), per_s=260.0).stable


def test_one_queue_for_all_serves_nobody_before_the_backlog_is_through():
    found = stability_of(OneQueue())
    assert not found.stable
    assert found.saturation_per_s == 0.0


class Halves(NamedTuple):
    """Half of each batch for each tier."""

    tiers: int = 2

    def lanes(self):
        return self.tiers

    def lane_of(self, length, tier):
        return tier

    def decide(self, view):
        for lane in range(2):
            view.take[lane] = min(2, view.waiting[lane])
        return FIRE


def test_a_rule_that_shares_the_servers_out_can_serve_its_share_of_the_others():
    assert stability_of(Halves()).saturation_per_s == pytest.approx(125.0, rel=0.01)
    assert stability_of(Halves(), per_s=110.0).stable
    assert not stability_of(Halves(), per_s=140.0).stable


def test_what_is_served_of_the_others_is_in_requests_of_their_own_lengths():
    by_length = Service(np.array([[[4, 40], [4, 40], [6, 60], [8, 80]]]) * MS, np.array([1, 10]))
    spec = mixed(duration_s=60.0)
    tiers = [
        replace(tier, lengths=Constant(length))
        for tier, length in zip(spec.tiers, (1, 10), strict=True)
    ]
    workload = draw_workload(replace(spec, tiers=tuple(tiers)))
    found = assess(Fill(), workload, by_length, kernel.run, rate_per_s=50.0)
    assert found.saturation_per_s == pytest.approx(4 / 8e-3, rel=0.01)


def test_an_unstable_run_says_what_its_backlog_got_but_no_latency():
    trace = kernel.run(OneQueue(), draw_workload(mixed(requests=5_000)), FOUR)
    found = measure(trace, FOUR, stability=Stability(False, 50.0, 0.0))
    assert found.group("online").latency_ms["p99"].reason.startswith("unstable")
    assert found.group("offline").throughput_per_s.value == pytest.approx(250.0, rel=0.01)


# what makes no sense


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tier": OFFLINE._replace(slo_ns=MS)}, "which waits from the beginning: give it no slo"),
        ({"timeout": Timeout(MS)}, "that is always there: give it no timeout"),
    ],
)
def test_a_backlog_has_neither_slo_nor_timeout(change, message):
    given = {"tier": OFFLINE, "arrivals": Backlog()} | change
    with pytest.raises(WorkloadError, match=f"^tier 'offline' is a backlog,? {message}$"):
        TierSpec(**given)


def test_a_backlog_alone_is_no_workload():
    with pytest.raises(WorkloadError, match=r"^every tier is a backlog; at least"):
        WorkloadSpec(
            lengths=Constant(1),
            duration_ns=10**9,
            tiers=(TierSpec(OFFLINE, arrivals=Backlog()),),
        )


def test_noise_does_not_make_a_backlog_run_dry():
    rng = np.random.default_rng(4)
    lucky = Noise(rng.gamma(1.0, 1.0, (1, 1, 200_000)).astype(np.float32))
    for seconds in (0.05, 1.0, 100.0):
        workload = draw_workload(mixed(Poisson(1_000 / seconds), requests=100))
        check_there(kernel.run(Fill(), workload, replace(FOUR, noise=lucky)))
