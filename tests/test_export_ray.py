"""Ray Serve's files: what closed batches can do, the wait that the load needs, the way back."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import yaml
from export_settings import EDGES, LARGEST, SERVICE_NS, from_arrival, means, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import ray_serve
from experiments.export.contract import ForeignFileError, NotExpressible
from experiments.export.load import (
    batch_ns,
    busy_servers,
    sealed_size,
    share_of,
    shortest_waits_ns,
)
from experiments.export.plan import Lane, plan_of, window
from experiments.export.ray_config import UNBOUNDED_ONGOING
from experiments.export.setting import Costs
from policies.contract import Tier

MS = 1_000_000
COSTS = Costs(SERVICE_NS, EDGES, np.array([32, 128]), np.array([0.5, 0.5]))
SEALED = "Ray Serve closes a batch by size and timer, busy or not, and a closed batch never grows"
GROWS = (
    "Ray Serve closes batches while the replica is busy; the simulated policy lets them grow until "
    "a server takes them"
)
EVERYTHING = Lane(None, None, window(LARGEST))


def at_rate(wanted, rate_per_s):
    """A setting with the costs of a run, at another rate of arrivals."""
    evidence = replace(wanted.evidence, rate_per_s=rate_per_s)
    return replace(wanted, costs=COSTS, evidence=evidence)


def table(exported):
    """What ``serve_config.yaml`` holds."""
    return yaml.safe_load(exported.files["serve_config.yaml"])


def deployment(exported):
    """The only deployment."""
    (application,) = table(exported)["applications"]
    (found,) = application["deployments"]
    return found


def read(text):
    """The policy of a text."""
    return ray_serve.read({"serve_config.yaml": text})


def refused(text):
    """Why a text is not read."""
    with pytest.raises(ForeignFileError) as caught:
        read(text)
    return str(caught.value)


@given(st.integers(1, LARGEST))
def test_full_batches_come_back_as_they_went(size):
    wanted = setting("static", batch_size=size)
    exported = ray_serve.export(wanted, nearest=False)
    assert exported.exact
    found = deployment(exported)
    assert found["user_config"]["max_batch_size"] == size
    assert found["max_ongoing_requests"] >= size
    expected = {"kind": "static", "batch_size": size}
    if size == 1:
        expected = {"kind": "greedy", "max_batch_size": 1}
    assert ray_serve.read(exported.files).table == expected


def test_batches_of_one_are_exact():
    exported = ray_serve.export(setting("greedy", max_batch_size=1), nearest=False)
    assert exported.exact
    assert deployment(exported)["max_ongoing_requests"] == UNBOUNDED_ONGOING
    assert deployment(exported)["user_config"]["batch_wait_timeout_s"] == 0


def test_a_wait_is_refused_as_closed_batches_never_grow():
    wanted = at_rate(from_arrival(8, 5), 600.0)
    assert refusal(ray_serve, wanted) == (
        f"ray: {SEALED}; with --nearest it closes batches by a timer that begins when their first "
        "request is picked, also while the server is busy, and they never grow"
    )
    exported = ray_serve.export(wanted, nearest=True)
    assert not exported.exact
    assert deployment(exported)["user_config"] == {
        "max_batch_size": 8,
        "batch_wait_timeout_s": 0.005,
    }
    imported = ray_serve.read(exported.files)
    assert imported.table == {"kind": "sealed_batches", "max_batch_size": 8, "max_wait_ms": 5}
    assert imported.notes == ()


@given(st.integers(1, LARGEST), st.integers(0, 10**6), st.integers(0, 200))
def test_batches_that_are_sealed_come_back_as_they_went(size, wait_us, most):
    wanted = at_rate(
        setting(
            "sealed_batches",
            max_batch_size=size,
            max_wait_ms=Decimal(wait_us) / 1000,
            max_ongoing_requests=most,
        ),
        600.0,
    )
    exported = ray_serve.export(wanted, nearest=False)
    assert exported.exact
    config = deployment(exported)
    if most or size > 1:
        assert config["user_config"]["batch_wait_timeout_s"] == pytest.approx(wait_us / 1e6)
    if most:
        assert config["max_ongoing_requests"] == most
    elif size > 1 and wait_us:
        assert config["max_ongoing_requests"] == UNBOUNDED_ONGOING
    found = ray_serve.read(exported.files)
    if size > 1 and wait_us:
        assert means(found.table, wanted)


def test_a_limit_on_the_queue_keeps_requests_outside_and_says_what_that_costs():
    wanted = at_rate(from_arrival(8, 5, capacity=100), 600.0)
    exported = ray_serve.export(wanted, nearest=True)
    assert deployment(exported)["max_queued_requests"] == 100
    assert deployment(exported)["max_ongoing_requests"] == 16
    assert any("after up to half a second" in note for note in exported.notes)
    unlimited = ray_serve.export(at_rate(from_arrival(8, 5), 600.0), nearest=True)
    assert not any("after up to half a second" in note for note in unlimited.notes)


def test_replicas_that_are_read_close_batches_of_their_own():
    found = read(
        "applications: [{deployments: [{name: M, num_replicas: 3, max_ongoing_requests: 20, "
        "user_config: {max_batch_size: 8}}]}]"
    )
    assert found.servers == 3
    assert found.table["max_ongoing_requests"] == 60
    assert found.notes[0].startswith("each of the 3 replicas closes batches of its own")


def test_an_unreadable_limit_is_refused():
    assert refused(
        "applications: [{deployments: [{name: M, max_ongoing_requests: 0, "
        "user_config: {max_batch_size: 8}}]}]"
    ) == ("serve_config.yaml: max_ongoing_requests = 0 of M must be a whole number of at least 1")


def test_no_wait_is_raised_to_what_the_load_needs():
    wanted = at_rate(setting("greedy"), 2000.0)
    assert refusal(ray_serve, wanted) == (
        f"ray: {SEALED}, and a wait of 0 ms makes batches too small to keep up with 2000 requests "
        "per second; with --nearest it closes batches by a timer that begins when their first "
        "request is picked, also while the server is busy, and they never grow; it waits 1 ms, for "
        "batches of about 3.0"
    )
    exported = ray_serve.export(wanted, nearest=True)
    assert deployment(exported)["user_config"]["batch_wait_timeout_s"] == 0.001


def test_a_wait_that_is_too_short_for_the_load_is_raised():
    wanted = at_rate(from_arrival(64, "0.1"), 2000.0)
    exported = ray_serve.export(wanted, nearest=True)
    (lane,) = plan_of(wanted).lanes
    assert busy_servers(wanted, lane, sealed_size(wanted, lane, MS // 10)) > 1
    assert busy_servers(wanted, lane, sealed_size(wanted, lane, MS)) < 1
    assert deployment(exported)["user_config"]["batch_wait_timeout_s"] == 0.001


def test_a_load_with_which_no_closed_batch_keeps_up_is_refused_even_nearly():
    wanted = at_rate(setting("greedy", max_batch_size=2), 2000.0)
    with pytest.raises(NotExpressible) as caught:
        ray_serve.export(wanted, nearest=True)
    assert str(caught.value) == (
        f"ray: {SEALED}, and no batches up to 2 keep up safely with 2000 requests per second in "
        "order of arrival"
    )


def test_without_a_rate_no_wait_can_be_chosen():
    wanted = at_rate(setting("greedy"), None)
    with pytest.raises(NotExpressible) as caught:
        ray_serve.export(wanted, nearest=True)
    assert str(caught.value) == (
        "ray: a wait of 0 makes batches of 1, and the run has no rate of arrivals from which to "
        "choose a wait"
    )


def test_without_a_rate_a_wait_is_written_with_a_warning():
    exported = ray_serve.export(at_rate(from_arrival(8, 5), None), nearest=True)
    assert (
        "the run has no rate of arrivals: make sure that batches of about rate * wait + 1 requests "
        "keep up, or the queue grows without end"
    ) in exported.notes


def test_replicas_limits_and_time_outs_are_given_up_in_so_many_words():
    wanted = replace(
        setting("static", batch_size=4, servers=2, tiers=(Tier("all"),)),
        capacity=100,
        timeout_ns=50 * MS,
    )
    assert refusal(ray_serve, wanted) == (
        "ray: replicas of Ray Serve do not share one queue, and Ray Serve limits the requests that "
        "wait outside of the replicas, for each proxy, and the queue of Ray Serve has no time-out; "
        "with --nearest its 2 replicas have queues of their own, so that one may idle while "
        "requests wait for another; its limit of 100 does not count the requests inside the "
        "replicas, and every proxy has a limit of its own; it does not drop requests that wait "
        "longer than 50 ms"
    )
    found = deployment(ray_serve.export(wanted, nearest=True))
    assert (found["num_replicas"], found["max_queued_requests"]) == (2, 100)


BUCKETS = {"boundaries": [64], "max_batch_size": [16, 8]}


def test_ranges_of_length_become_deployments_behind_a_router():
    wanted = at_rate(setting("length_bucketed", **BUCKETS), 1200.0)
    exported = ray_serve.export(wanted, nearest=True)
    (application,) = table(exported)["applications"]
    names = [each["name"] for each in application["deployments"]]
    assert names == ["Router", "bert-to-64", "bert-above-64"]
    assert application["args"]["deployments"] == names[1:]
    assert [each.get("ray_actor_options") for each in application["deployments"]] == [
        None,
        {"num_gpus": 0.5},
        {"num_gpus": 0.5},
    ]
    assert (
        "the router sends lengths up to and including 64 tokens to bert-to-64; lengths above 64 "
        "tokens to bert-above-64"
    ) in exported.notes
    imported = ray_serve.read(exported.files)
    assert imported.table["kind"] == "length_bucketed"
    assert imported.table["boundaries"] == [64]
    assert imported.table["max_batch_size"] == [16, 8]
    assert imported.notes[-1] == (
        "the deployments run at the same time; the simulated policy lets the ranges of length take "
        "turns"
    )


def test_the_router_sends_each_length_where_the_policy_would():
    wanted = at_rate(setting("length_bucketed", **BUCKETS), 1200.0)
    exported = ray_serve.export(wanted, nearest=True)
    text = exported.files["app.py"]
    inside = {}
    exec(text[text.index("def deployment_for") : text.index("def size_of")], inside)
    router = table(exported)["applications"][0]["deployments"][0]
    routes = router["user_config"]["routes"]
    names = ("bert-to-64", "bert-above-64")
    for length in (1, 63, 64, 65, 512):
        lane = wanted.policy.lane_of(length, 0)
        assert inside["deployment_for"](routes, length) == names[lane]


def test_a_batch_costs_what_its_longest_request_does():
    short = float(SERVICE_NS[0, 0])
    long = float(SERVICE_NS[0, 1])
    assert batch_ns(COSTS, EVERYTHING, 1) == (short + long) / 2
    assert batch_ns(COSTS, EVERYTHING, 2) == (SERVICE_NS[1, 0] + 3 * SERVICE_NS[1, 1]) / 4
    assert (
        batch_ns(COSTS, EVERYTHING, 1.5)
        == (batch_ns(COSTS, EVERYTHING, 1) + batch_ns(COSTS, EVERYTHING, 2)) / 2
    )
    assert batch_ns(COSTS, Lane(64, None, window(8)), 1) == long
    assert share_of(COSTS, Lane(64, None, window(8))) == 0.5
    assert share_of(COSTS, Lane(None, 64, window(8))) == 0.5


def test_the_shortest_wait_keeps_up_and_a_shorter_one_does_not():
    wanted = at_rate(setting("greedy"), 5000.0)
    (wait_ns,) = shortest_waits_ns(wanted, [EVERYTHING])
    assert wait_ns % MS == 0
    assert busy_servers(wanted, EVERYTHING, sealed_size(wanted, EVERYTHING, wait_ns)) <= 0.9
    shorter = sealed_size(wanted, EVERYTHING, wait_ns - MS)
    assert busy_servers(wanted, EVERYTHING, shorter) > 0.9


@pytest.mark.parametrize(
    ("config", "expected", "notes"),
    [
        ("{max_batch_size: 1}", {"kind": "greedy", "max_batch_size": 1}, ()),
        (
            "{max_batch_size: 8, batch_wait_timeout_s: 0}",
            {"kind": "greedy", "max_batch_size": 1},
            (
                "with batch_wait_timeout_s = 0 Ray Serve makes batches of 1, whatever "
                "max_batch_size says",
            ),
        ),
        (
            "{max_batch_size: 8}",
            {
                "kind": "sealed_batches",
                "max_batch_size": 8,
                "max_wait_ms": 10,
                "max_ongoing_requests": 64,
            },
            (),
        ),
        (
            "{max_batch_size: 8, batch_wait_timeout_s: .inf}",
            {"kind": "static", "batch_size": 8},
            (),
        ),
    ],
)
def test_the_numbers_of_user_config_are_read_as_ray_means_them(config, expected, notes):
    text = (
        "applications: [{deployments: [{name: M, max_ongoing_requests: 64, "
        f"user_config: {config}}}]}}]"
    )
    imported = read(text)
    assert imported.table == expected
    assert imported.notes == notes


def test_a_replica_that_can_never_fill_a_batch_is_told():
    text = "applications: [{deployments: [{name: M, user_config: {max_batch_size: 8}}]}]"
    assert (
        "max_ongoing_requests = 5 is below max_batch_size = 8, so that Ray Serve never fills a "
        "batch"
    ) in read(text).notes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a: 1",
            "serve_config.yaml: no configuration of Ray Serve, which has applications",
        ),
        (
            "applications: [{deployments: [{name: M}]}]",
            "serve_config.yaml: no deployment has max_batch_size in its user_config, where "
            "batchwright looks for it",
        ),
        (
            "applications: [{deployments: 3}]",
            "serve_config.yaml: applications must hold lists of deployments",
        ),
        (
            "applications: [{deployments: [{name: M, user_config: {max_batch_size: 0}}]}]",
            "serve_config.yaml: max_batch_size = 0 of M must be a whole number of at least 1",
        ),
        (
            "applications: [{deployments: [{name: M, user_config: {max_batch_size: 8, "
            "batch_wait_timeout_s: -1}}]}]",
            "serve_config.yaml: batch_wait_timeout_s = -1 of M must be seconds, not below 0",
        ),
        (
            "applications: [{deployments: [{name: M, num_replicas: 0, user_config: "
            "{max_batch_size: 8}}]}]",
            "serve_config.yaml: num_replicas = 0 must be a whole number of at least 1",
        ),
        (
            "applications: [{deployments: [{name: A, user_config: {max_batch_size: 8}}, "
            "{name: B, user_config: {max_batch_size: 8}}]}]",
            "serve_config.yaml: the deployments A, B all batch; give a file with one of them",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence(text, sentence):
    assert refused(text) == sentence


EXPORTS = {
    "full": setting("static", batch_size=8),
    "one": setting("greedy", max_batch_size=1),
    "wait": at_rate(from_arrival(8, 5), 600.0),
    "buckets": at_rate(setting("length_bucketed", **BUCKETS), 1200.0),
}


@pytest.mark.parametrize("wanted", EXPORTS.values(), ids=EXPORTS)
def test_the_schema_of_ray_serve_takes_every_key_of_the_configuration(wanted):
    schema = pytest.importorskip("ray.serve.schema", reason="needs ray[serve], 400 MB")
    given_ = table(ray_serve.export(wanted, nearest=True))
    taken = schema.ServeDeploySchema.model_validate(given_).model_dump(exclude_unset=True)
    assert keys_of(taken) == keys_of(given_)


def keys_of(value):
    """All keys of nested tables: the schema drops those that it does not know without a word."""
    if isinstance(value, dict):
        return {key: keys_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [keys_of(item) for item in value]
    return None


def test_an_unknown_key_is_lost_in_the_schema_of_ray_serve():
    schema = pytest.importorskip("ray.serve.schema", reason="needs ray[serve], 400 MB")
    given_ = table(ray_serve.export(EXPORTS["full"], nearest=False))
    given_["applications"][0]["deployments"][0]["max_ongoing_request"] = 3
    taken = schema.ServeDeploySchema.model_validate(given_).model_dump(exclude_unset=True)
    assert keys_of(taken) != keys_of(given_)


@pytest.mark.parametrize("wanted", EXPORTS.values(), ids=EXPORTS)
def test_the_app_imports_and_takes_its_numbers_from_user_config(wanted, tmp_path, monkeypatch):
    pytest.importorskip("ray.serve", reason="needs ray[serve], 400 MB")
    exported = ray_serve.export(wanted, nearest=True)
    (tmp_path / "app.py").write_text(exported.files["app.py"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    import app

    (application,) = table(exported)["applications"]
    assert app.build(application["args"]) is not None
    batchers = [d for d in application["deployments"] if "max_batch_size" in d["user_config"]]
    first = batchers[0]["user_config"]
    served = app.Batcher.func_or_class
    assert served.run._get_max_batch_size() == first["max_batch_size"]
    assert served.run._get_batch_wait_timeout_s() == first["batch_wait_timeout_s"]
    one = served("app:echo")
    one.reconfigure({"max_batch_size": 3, "batch_wait_timeout_s": 0.5})
    assert served.run._get_max_batch_size() == 3
    assert served.run._get_batch_wait_timeout_s() == 0.5
    assert one.predict([1, 2]) == [1, 2]
