"""Ray Serve with tiers and clusters: a deployment for each tier, its share, and the autoscaler."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import yaml
from export_settings import EDGES, SERVICE_NS, refusal, setting
from fake_ray import answered, loaded
from ray_schema import schema_takes

from experiments.export import ray_serve
from experiments.export.contract import ForeignFileError, NotExpressible
from experiments.export.replicas import TierTraffic
from experiments.export.setting import Costs
from policies.contract import Tier

MS = 1_000_000
SECOND = 1000 * MS
TWO = (Tier("interactive", 200 * MS), Tier("offline"))
COSTS = Costs(SERVICE_NS, EDGES, np.array([32, 128]), np.array([0.5, 0.5]))


def at_rates(wanted, *rates, **limits):
    """A setting whose tiers bring so much; a rate of None is a backlog."""
    traffic = tuple(
        TierTraffic(rate, backlog=rate is None, costs=COSTS, **limits.get(tier.name, {}))
        for tier, rate in zip(wanted.tiers, rates, strict=True)
    )
    return replace(wanted, traffic=traffic, costs=COSTS)


def deployments(exported):
    """The deployments by name."""
    (application,) = yaml.safe_load(exported.files["serve_config.yaml"])["applications"]
    return {each["name"]: each for each in application["deployments"]}


def shares(wanted):
    """``num_gpus`` of each tier's deployment."""
    found = deployments(ray_serve.export(wanted, nearest=True))
    return [
        each["ray_actor_options"]["num_gpus"] for name, each in found.items() if name != "Router"
    ]


PRIORITY = at_rates(
    setting("priority", tiers=TWO, max_batch_size=[4, 32], max_wait_ms=[2, 50]), 100.0, 300.0
)


def test_a_rule_that_knows_tiers_is_refused_in_one_sentence():
    assert refusal(ray_serve, PRIORITY) == (
        "ray: priority serves the most urgent tier first, in batches of one tier, and Ray Serve "
        "has no priorities, and Ray Serve closes a batch by size and timer, busy or not, and a "
        "closed batch never grows; with --nearest it becomes 2 deployments, one for each tier "
        "(interactive with 58% of each GPU, offline with 42% of each GPU), whose batches run at "
        "the same time: num_gpus places replicas and holds nobody back, so that urgent batches run "
        "slower beside the others; it closes batches by a timer that begins when their first "
        "request is picked, also while the server is busy, and they never grow"
    )


def test_every_tier_has_a_deployment_with_its_own_batches():
    found = deployments(ray_serve.export(PRIORITY, nearest=True))
    assert found["Router"]["user_config"] == {
        "default_tier": "offline",
        "routes": [
            {"tier": "interactive", "up_to": None, "deployment": "bert-interactive"},
            {"tier": "offline", "up_to": None, "deployment": "bert-offline"},
        ],
    }
    assert found["bert-interactive"]["user_config"] == {
        "max_batch_size": 4,
        "batch_wait_timeout_s": 0.002,
    }
    assert found["bert-offline"]["user_config"] == {
        "max_batch_size": 32,
        "batch_wait_timeout_s": 0.05,
    }
    assert found["bert-offline"]["max_ongoing_requests"] == 10**6


def test_the_work_of_the_tiers_says_what_each_gets_of_a_gpu():
    # A batch of mean length takes 1 ms and 0.04 ms a request: 0.29 ms each in fours, 0.07125 ms in
    # thirty-twos.
    work = [100 * 0.29, 300 * 0.07125]
    share = work[0] / sum(work)
    assert shares(PRIORITY) == pytest.approx([share, 1 - share], abs=0.001)


def test_weights_and_what_is_reserved_are_shares_of_the_gpu():
    fair = setting("weighted_fair", tiers=TWO, weights=[3, 1], max_batch_size=8)
    assert shares(at_rates(fair, 100.0, 100.0)) == [0.75, 0.25]
    room = setting(
        "headroom", tiers=TWO, max_block_ms=20, reserved=Decimal("0.8"), max_batch_size=8
    )
    assert shares(at_rates(room, 100.0, 100.0)) == [0.8, 0.2]


def test_a_share_of_nothing_is_still_a_share_and_all_fit_on_one_gpu():
    three = (*TWO, Tier("rest"))
    for weights in ([1000, 1, 1], [1, 1, 1], [7, 5, 3]):
        fair = setting("weighted_fair", tiers=three, weights=weights, max_batch_size=8)
        found = shares(at_rates(fair, 10.0, 1.0, 1.0))
        assert min(found) > 0.04
        assert 0.99 < sum(found) <= 1


def test_a_backlog_leaves_the_others_twice_what_they_need():
    fill = setting("priority_fill", tiers=(TWO[0], Tier("archive", backlog=True)), max_batch_size=8)
    wanted = at_rates(fill, 1000.0, None)
    exported = ray_serve.export(wanted, nearest=True)
    found = deployments(exported)
    need = 1000.0 * np.interp(80, EDGES, SERVICE_NS[7]) / 8 / 1e9
    assert found["bert-interactive"]["ray_actor_options"]["num_gpus"] == pytest.approx(
        2 * need, abs=0.002
    )
    assert found["bert-archive"]["user_config"]["batch_wait_timeout_s"] == 1


def test_a_tier_that_cannot_keep_up_on_its_share_is_named():
    fair = setting("weighted_fair", tiers=TWO, weights=[1, 9], max_batch_size=2)
    with pytest.raises(NotExpressible) as caught:
        ray_serve.export(at_rates(fair, 900.0, 10.0), nearest=True)
    assert str(caught.value) == (
        "ray: of interactive with 10% of the servers, Ray Serve closes a batch by size and timer, "
        "busy or not, and a closed batch never grows, and no batches up to 2 keep up safely with "
        "900 requests per second in order of arrival"
    )


def test_limits_of_a_tier_are_those_of_its_deployment_but_for_its_time_out():
    wanted = at_rates(
        PRIORITY, 100.0, 300.0, interactive={"timeout_ns": 150 * MS}, offline={"capacity": 64}
    )
    sentence = refusal(ray_serve, wanted)
    assert "its limit of 64 does not count the requests inside the replicas" in sentence
    assert "it does not drop those that wait too long (interactive after 150 ms in the run)" in (
        sentence
    )
    found = deployments(ray_serve.export(wanted, nearest=True))
    assert found["bert-offline"]["max_queued_requests"] == 64
    assert "max_queued_requests" not in found["bert-interactive"]


STRANGE = 'a "b": {c}'


def test_a_tier_of_any_name_is_one_word_of_the_configuration():
    tiers = (Tier("yes"), Tier(STRANGE))
    fill = at_rates(setting("priority_fill", tiers=tiers, max_batch_size=8), 10.0, 10.0)
    found = deployments(ray_serve.export(fill, nearest=True))
    assert [route["tier"] for route in found["Router"]["user_config"]["routes"]] == [
        "yes",
        STRANGE,
    ]


BUCKETS = at_rates(
    setting("priority_fill", tiers=TWO, max_batch_size=8, boundaries=[100]), 100.0, 100.0
)


def test_ranges_of_length_are_deployments_of_every_tier():
    exported = ray_serve.export(BUCKETS, nearest=True)
    assert list(deployments(exported)) == [
        "Router",
        "bert-interactive-to-100",
        "bert-interactive-above-100",
        "bert-offline-to-100",
        "bert-offline-above-100",
    ]
    assert "it becomes 2 deployments for each tier behind a router that knows the length" in (
        refusal(ray_serve, BUCKETS)
    )
    assert shares(BUCKETS) == [0.25] * 4


@pytest.mark.parametrize("wanted", [PRIORITY, BUCKETS], ids=["tiers", "buckets"])
def test_the_application_loads_and_sends_every_tier_to_its_deployment(wanted, monkeypatch):
    exported = ray_serve.export(wanted, nearest=True)
    app = loaded(exported.files["app.py"], monkeypatch)
    (application,) = yaml.safe_load(exported.files["serve_config.yaml"])["applications"]
    app.seen = []
    app.size_of = lambda item: item["length"]
    bound = app.build(application["args"])
    for name, handle in bound.object.handles.items():
        handle.object.predict = lambda batch, name=name: app.seen.append(name) or batch
        handle.object.reconfigure(deployments(exported)[name]["user_config"])
    bound.object.reconfigure(deployments(exported)["Router"]["user_config"])
    policy = wanted.policy
    names = [name for name in deployments(exported) if name != "Router"]
    for place, tier in enumerate(wanted.tiers):
        for length in (1, 100, 101):
            item = {"tier": tier.name, "length": length}
            assert answered(bound, item) == item
            assert app.seen[-1] == names[policy.lane_of(length, place)]
    answered(bound, {"length": 1})
    assert "offline" in app.seen[-1]
    with pytest.raises(ValueError, match="no deployment takes the tier gold"):
        answered(bound, {"tier": "gold", "length": 1})


@pytest.mark.parametrize("wanted", [PRIORITY, BUCKETS], ids=["tiers", "buckets"])
def test_ray_itself_binds_the_application(wanted, tmp_path, monkeypatch):
    pytest.importorskip("ray.serve", reason="needs ray[serve], 400 MB")
    exported = ray_serve.export(wanted, nearest=True)
    (tmp_path / "app.py").write_text(exported.files["app.py"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    import app

    (application,) = yaml.safe_load(exported.files["serve_config.yaml"])["applications"]
    assert app.build(application["args"]) is not None
    names = [name for name in deployments(exported) if name != "Router"]
    assert application["args"]["deployments"] == names


def test_deployments_of_tiers_are_not_read_as_a_policy():
    files = ray_serve.export(PRIORITY, nearest=True).files
    with pytest.raises(ForeignFileError) as caught:
        ray_serve.read(files)
    assert str(caught.value) == (
        "serve_config.yaml: deployments for tiers, each with replicas of its own, are not "
        "simulated; give a file with one of them"
    )


@pytest.mark.parametrize("wanted", [PRIORITY, BUCKETS], ids=["tiers", "buckets"])
def test_the_schema_of_ray_serve_takes_deployments_of_tiers(wanted):
    assert schema_takes(ray_serve.export(wanted, nearest=True))
