"""The JSON schema knows both kinds of scenario files, and of each the mistakes of that kind."""

from __future__ import annotations

import copy
import json
import tomllib
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from experiments.config import SHIPPED, scenario_names
from experiments.iteration import schema as iteration_schema
from experiments.iteration.schema import TokenSpec
from experiments.json_schema import json_schema, scenario_json_schema, token_json_schema
from experiments.json_schema_rules import OF_TOKENS
from experiments.rules import build_rule, parameters
from experiments.tables import Table

WHOLE = json_schema()
TOKENS = token_json_schema()
SHIPPED_TOKENS = Path(iteration_schema.__file__).parent / "scenarios"
OF_TOKENS_FILES = [
    *sorted(SHIPPED_TOKENS.glob("*.toml")),
    Path(__file__).parent / "data" / "two_tiers_of_tokens.toml",
]
SMALL = {
    "name": "small",
    "workload": {
        "requests": 1000,
        "arrivals": {"process": "poisson", "rate_per_s": 2.0},
        "prompts": {"distribution": "lognormal", "median": 300, "sigma": 0.8, "max": 4000},
        "outputs": {"constant": 40},
        "tiers": [{"name": "all", "slo": {"ttft_ms": 800.0, "percentile": 95}}],
    },
    "engine": {
        "max_num_seqs": 64,
        "max_model_len": 8192,
        "memory": {"gib": 20, "kv_bytes_per_token": 131072},
        "times": {"fixed_ms": 9.0, "prefill_token_us": 95},
    },
    "policies": {"now": {"kind": "vllm_like", "max_num_batched_tokens": 2048}},
}


def mistakes(content):
    return [error.message for error in jsonschema.Draft7Validator(WHOLE).iter_errors(content)]


def accepted(content):
    """Whether the checks accept it."""
    exact = json.loads(json.dumps(content), parse_float=Decimal)
    try:
        spec = TokenSpec.model_validate(exact)
        for table in spec.policies.values():
            build_rule(table, OF_TOKENS["iteration"], "policy")
    except ValueError:
        return False
    return True


def changed(path, value):
    content = copy.deepcopy(SMALL)
    table = content
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return content


def test_it_is_a_schema_of_draft_7():
    for schema in (WHOLE, TOKENS):
        jsonschema.Draft7Validator.check_schema(schema)
        assert "null" not in json.dumps(schema, allow_nan=False)


@pytest.mark.parametrize("path", OF_TOKENS_FILES, ids=lambda path: path.stem)
def test_files_of_models_that_generate_are_right(path):
    content = tomllib.loads(path.read_text())
    assert mistakes(content) == []
    assert accepted(content)


@pytest.mark.parametrize("name", ["bert", "cluster_8", "mixed_sla", "recommender"])
def test_files_of_batches_are_right_by_the_same_schema(name):
    assert name in scenario_names()
    assert mistakes(tomllib.loads((SHIPPED / f"{name}.toml").read_text())) == []


def test_a_small_scenario_is_right():
    assert mistakes(SMALL) == []
    assert accepted(SMALL)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("workload", "prompt"), {"constant": 5}),
        (("workload", "lengths"), {"constant": 5}),
        (("workload", "prompts"), {"constant": 0}),
        (("workload", "outputs"), {"constnat": 5}),
        (("workload", "duration_s"), 5.0),
        (("workload", "arrivals"), {"process": "poisson", "load": 0.5}),
        (("workload", "arrivals"), {"process": "mmpp", "load": 0.5}),
        (("workload", "arrivals"), {"process": "closed", "clients": 4}),
        (("workload", "arrivals"), "backlog"),
        (("workload", "tiers", 0, "arrivals"), {"process": "backlog"}),
        (("workload", "tiers", 0, "slo"), {"percentile": 95}),
        (("workload", "tiers", 0, "slo", "ms"), 20.0),
        (("workload", "tiers", 0, "slo", "ttft_ms"), 0),
        (("engine", "max_model_length"), 8192),
        (("engine", "max_num_seqs"), 0),
        (("engine", "profile"), "gpt2-mini-cpu-fp32"),
        (("engine", "memory"), {"gib": 20}),
        (("engine", "memory"), {"gib": 20, "blocks": 5, "kv_bytes_per_token": 1}),
        (("engine", "memory"), {}),
        (("engine", "preemption"), "swop"),
        (("engine", "times"), {"prefill_token_us": 5}),
        (("engine", "times", "prefill_token_ms"), 0.1),
        (("engine", "noise"), {"kind": "blocks"}),
        (("engine", "drift"), 0.5),
        (("service",), {"profile": "bert-base-t4-tensorrt-fp16"}),
        (("policies",), {}),
        (("policies", "now", "kind"), "greedy"),
        (("policies", "now", "max_batch_size"), 8),
        (("policies", "now", "max_num_seqs"), 1.5),
        (("policies", "now", "chunked_prefill"), 1),
        (("policies", "tiers"), {"kind": "sla_tiers"}),
        (("tune",), {"objective": "p99"}),
        (("tune",), {"objective": ["goodput", "tokens"]}),
        (("tune",), {"loads": [0.5]}),
        (("run",), {"replications": 0}),
    ],
    ids=str,
)  # fmt: skip
def test_a_typical_mistake_is_seen_and_is_one_for_the_checks_too(path, value):
    content = changed(path, value)
    assert mistakes(content), path
    assert not accepted(content), path


def test_swapping_without_the_size_of_a_token_is_seen():
    content = changed(("engine", "preemption"), "swap")
    assert mistakes(content) == []
    for memory in ({"blocks": 100}, None):
        content["engine"]["memory"] = memory
        if memory is None:
            del content["engine"]["memory"]
        assert mistakes(content)
        assert not accepted(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("workload", "arrivals"), {"process": "trace", "file": "log.csv"}),
        (("workload", "arrivals"), {"process": "gamma", "rate_per_s": 3.0, "cv": 2.0}),
        (("engine", "memory"), {"blocks": 500, "block_tokens": 32}),
        (("engine", "noise"), "none"),
        (("engine", "noise"), {"kind": "gamma", "cv": 0.1}),
        (("policies", "now"), {"kind": "request_level", "max_wait_ms": 20.0, "padded": False}),
        (("policies", "now"), {"kind": "shortest_prompt_first", "boundaries": [64, 512]}),
        (("tune",), {"objective": "goodput", "policies": "vllm_like"}),
        (("tune",), {"objective": ["tokens"], "trials": 40}),
    ],
    ids=str,
)
def test_what_the_checks_accept_is_accepted(path, value):
    content = changed(path, value)
    assert accepted(content)
    assert mistakes(content) == []


@pytest.mark.parametrize("key", ["workload", "engine", "policies"])
def test_what_must_be_there_is_missed(key):
    content = copy.deepcopy(SMALL)
    del content[key]
    assert mistakes(content)


def test_a_mistake_is_told_of_the_kind_that_is_meant():
    (message,) = mistakes(changed(("engine", "max_model_length"), 8192))
    assert "max_model_length" in message
    (message,) = mistakes({**SMALL, "service": {}})
    assert "service" in message


def test_tables_that_both_kinds_have_mean_the_same():
    other = scenario_json_schema()["definitions"]
    both = other.keys() & TOKENS["definitions"].keys()
    assert {"Poisson", "Lognormal", "Seeds", "Run"} <= both
    for name in both:
        assert other[name] == TOKENS["definitions"][name], name


def tables_of(model, found):
    """Every table that a file may hold, by its name."""
    if isinstance(model, type) and issubclass(model, Table) and model.__name__ not in found:
        found[model.__name__] = model
        for field in model.model_fields.values():
            tables_of(field.annotation, found)
    for one in getattr(model, "__args__", ()):
        tables_of(one, found)
    return found


def test_no_key_of_a_table_is_forgotten():
    tables = tables_of(TokenSpec, {})
    assert {"EngineTable", "Memory", "TokenSlo", "TokenTune", "Poisson"} <= tables.keys()
    for name, table in tables.items():
        if name in ("Closed", "Backlog"):
            assert name not in TOKENS["definitions"]
            continue
        shown = TOKENS if name == "TokenSpec" else TOKENS["definitions"][name]
        assert set(shown["properties"]) == set(table.model_fields), name


@pytest.mark.parametrize("kind", OF_TOKENS["iteration"])
def test_every_rule_has_its_parameters_and_no_others(kind):
    found = TOKENS["definitions"][f"iteration.{kind}"]
    assert set(found["properties"]) == {"kind", *parameters(OF_TOKENS["iteration"][kind])}
    assert not found["additionalProperties"]


def test_every_key_is_explained_and_times_name_their_unit():
    units = {"_ms": "millisecond", "_us": "microsecond", "_ns": "nanosecond", "_s": "second"}
    for name, table in [("TokenSpec", TOKENS), *TOKENS["definitions"].items()]:
        for key, value in table["properties"].items():
            words = value["description"]
            assert words.endswith((".", "?", ")")), (name, key, words)
            assert "``" not in words, (name, key)
            assert len(words) > 8, (name, key)
            for ending, unit in units.items():
                if key.endswith(ending):
                    assert unit in words.lower(), (name, key, words)
