"""BentoML cannot be told a wait: only its own rule is exact, and no wait becomes its limit."""

import importlib.util
import sys
import types
from dataclasses import replace
from decimal import Decimal

import pytest
from export_settings import EVIDENCE, LARGEST, from_idle, only_file, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import bentoml, triton
from experiments.export.setting import Figure

BUCKETS = setting("length_bucketed", boundaries=[64], max_batch_size=[8, 1], max_wait_ms=2)


of_its_own = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""BentoML imports what its dependencies deprecate."""


def with_p99(value):
    return replace(EVIDENCE, latency_ms={"p99": Figure(value)})


def loaded(text, tmp_path, monkeypatch):
    """The module of an exported file, beside a model of the user's."""
    pytest.importorskip("bentoml", reason="BentoML is not installed")
    monkeypatch.setitem(sys.modules, "model", types.SimpleNamespace(load=lambda: list))
    (tmp_path / "service.py").write_text(text)
    spec = importlib.util.spec_from_file_location("exported_service", tmp_path / "service.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "exported_service", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "wanted",
    [setting("greedy", max_batch_size=8), setting("greedy", max_batch_size=1), from_idle(8, 10)],
)
def test_no_policy_but_its_own_is_exact(wanted):
    reason = refusal(bentoml, wanted)
    assert reason.startswith(
        "bentoml: BentoML has no wait to set (its dispatcher learns one from the last batches), "
        "and max_latency_ms only says when it drops requests; with --nearest it serves what waits "
        "once a wait that it learns itself is over"
    )
    assert not bentoml.export(wanted, nearest=True).exact


@given(st.integers(2, LARGEST), st.integers(1, 10**6))
def test_its_own_rule_is_exact_with_its_own_bound(size, bound_ms):
    wanted = setting("cork", max_batch_size=size, max_latency_ms=bound_ms)
    exported = bentoml.export(wanted, nearest=False)
    assert exported.exact
    assert f"max_batch_size={size}, max_latency_ms={bound_ms})" in only_file(exported)


@pytest.mark.parametrize("own", [{"servers": 2}, {"capacity": 10}, {"timeout_ns": 10**9}])
def test_its_own_rule_is_refused_with_what_it_has_not(own):
    wanted = setting("cork", max_batch_size=8, **own)
    assert refusal(bentoml, wanted).startswith("bentoml: BentoML batches for each worker alone")


def test_a_bound_of_part_of_a_millisecond_is_told():
    wanted = setting("cork", max_batch_size=8, max_latency_ms=Decimal("100.4"))
    exported = bentoml.export(wanted, nearest=False)
    assert "max_latency of 100.4 ms is written as 100 ms" in exported.notes


def test_others_do_its_rule_without_learning():
    wanted = setting("cork", max_batch_size=8)
    assert "cork learns its wait from the last batches" in refusal(triton, wanted)
    found = triton.read(triton.export(wanted, nearest=True).files)
    assert found.table == {"kind": "greedy", "max_batch_size": 8}


@given(st.integers(1, 1000), st.floats(0.001, 1e5))
def test_the_bound_is_far_above_the_predicted_p99_whatever_the_wait(wait_ms, p99_ms):
    wanted = replace(from_idle(8, wait_ms), evidence=with_p99(p99_ms))
    assert bentoml.bound_ms(wanted) >= max(1000, 9.9 * p99_ms)
    assert bentoml.bound_ms(wanted) == bentoml.bound_ms(
        replace(wanted, policy=from_idle(8, 1).policy)
    )


def test_without_a_predicted_p99_the_bound_is_that_of_bentoml_itself():
    wanted = replace(from_idle(8, 10), evidence=with_p99(None))
    assert "max_latency_ms=60000)" in only_file(bentoml.export(wanted, nearest=True))


def test_the_file_says_that_it_is_an_approximation():
    text = only_file(bentoml.export(from_idle(8, 10, servers=2), nearest=True))
    assert "This is NOT the policy that was simulated" in text
    assert "each with a queue of its own" in text
    assert "max_latency_ms is no wait" in text
    assert "@bentoml.service(workers=2)\nclass Bert:\n" in text


def test_batches_of_one_have_no_batcher_as_bentoml_takes_no_size_of_one():
    text = only_file(bentoml.export(setting("greedy", max_batch_size=1), nearest=True))
    assert "    @bentoml.api\n" in text
    assert "batchable" not in text


@pytest.mark.parametrize(
    ("model", "name"), [("bert-base", "BertBase"), ("7b", "Model7b"), ("none", "ModelNone")]
)
def test_a_class_is_named_for_the_model(model, name):
    assert bentoml.class_name(model) == name


@of_its_own
def test_bentoml_finds_the_same_numbers(tmp_path, monkeypatch):
    text = only_file(bentoml.export(from_idle(8, 10, servers=2), nearest=True))
    service = loaded(text, tmp_path, monkeypatch).Bert
    api = service.apis["predict"]
    assert (api.batchable, api.max_batch_size, api.max_latency_ms) == (True, 8, 1000)
    assert service.config["workers"] == 2


@of_its_own
def test_bentoml_finds_an_api_for_each_range_of_lengths(tmp_path, monkeypatch):
    text = only_file(bentoml.export(BUCKETS, nearest=True))
    apis = loaded(text, tmp_path, monkeypatch).Bert.apis
    assert {name: api.batchable for name, api in apis.items()} == {
        "predict_to_64": True,
        "predict_above_64": False,
    }
