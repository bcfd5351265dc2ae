"""The JSON schema of scenarios: what the checks accept it accepts, and typical mistakes it sees."""

from __future__ import annotations

import copy
import json
import tomllib
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from experiments import schema_memory, schema_tune, values
from experiments.cli import app
from experiments.config import SHIPPED, scenario_names
from experiments.json_schema import _Generator, json_schema, scenario_json_schema
from experiments.json_schema_rules import FAMILIES, in_ms
from experiments.json_schema_values import CHECKS, check_of, single_value
from experiments.rules import build_rule, parameters
from experiments.schema import Spec

SCHEMA = scenario_json_schema()
BIG = {
    "name": "small",
    "workload": {
        "requests": 1000,
        "arrivals": {"process": "poisson", "load": 0.5},
        "lengths": {"dataset": "imdb"},
        "tiers": [{"name": "all", "slo": {"percentile": 99, "ms": 20.0}}],
    },
    "service": {"profile": "bert-base-t4-tensorrt-fp16", "servers": 2},
    "policies": {
        "waits": {"kind": "size_or_timeout", "max_batch_size": 8, "max_wait_ms": 2.5},
    },
}


def mistakes(content):
    return sorted(
        error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(content)
    )


def test_it_is_a_schema_of_draft_7():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA, allow_nan=False)


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_is_right(name):
    content = tomllib.loads((SHIPPED / f"{name}.toml").read_text())
    assert mistakes(content) == []


def test_a_plain_scenario_is_right():
    assert mistakes(BIG) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("workload", "request"), 5),
        (("workload", "requests"), 0),
        (("workload", "requests"), "many"),
        (("workload", "duration_s"), 5.0),
        (("workload", "arrivals", "process"), "poison"),
        (("workload", "arrivals", "rate_per_s"), 100.0),
        (("workload", "arrivals", "load"), 0),
        (("workload", "arrivals", "rate"), 100.0),
        (("workload", "lengths", "data"), "imdb"),
        (("workload", "lengths", "constant"), 5),
        (("workload", "tiers"), []),
        (("workload", "tiers", 0, "slo", "percentile"), 100),
        (("workload", "tiers", 0, "slo", "p99"), 20),
        (("workload", "tiers", 0, "share"), 1.5),
        (("service", "servers"), 1.5),
        (("service", "model"), {"base_ms": 1.0}),
        (("service", "noise"), "profiles"),
        (("service", "over_length"), "cut"),
        (("service", "cluster"), {"router": "least"}),
        (("service", "cluster"), {"autoscaler": "knative"}),
        (("policies",), {}),
        (("policies", "waits", "kind"), "size_or_time"),
        (("policies", "waits", "max_wait"), 2.0),
        (("policies", "waits", "max_wait_us"), 2000),
        (("policies", "waits", "max_wait_ms"), -1.0),
        (("policies", "waits", "max_batch_size"), "8"),
        (("policies", "waits", "from_idle"), 1),
        (("policies", "empty"), {}),
        (("tune",), {"trials": 0}),
        (("tune",), {"loads": [0.5, 1.5]}),
        (("tune",), {"constraints": [{"measure": "padding"}]}),
        (("seed",), 1),
    ],
    ids=str,
)  # fmt: skip
def test_a_typical_mistake_is_seen_and_is_one_for_the_checks_too(path, value):
    content = copy.deepcopy(BIG)
    table = content
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    assert mistakes(content), path
    assert not accepted(content), path


@pytest.mark.parametrize(
    "path",
    [("workload",), ("service",), ("policies",), ("policies", "waits", "max_wait_ms")],
    ids=str,
)
def test_what_must_be_there_is_missed(path):
    content = copy.deepcopy(BIG)
    table = content
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
    assert mistakes(content)


def accepted(content):
    """Whether the checks of a scenario accept it."""
    exact = json.loads(json.dumps(content), parse_float=Decimal)
    try:
        spec = Spec.model_validate(exact)
        for table in spec.policies.values():
            build_rule(table, FAMILIES["policy"], "policy")
        if spec.service.cluster is not None:
            for key in ("router", "autoscaler"):
                if table := getattr(spec.service.cluster, key):
                    build_rule(table, FAMILIES[key], key)
    except ValueError:
        return False
    return True


PROBES = [
    *(-1, 0, 1, 2, 99, 100, 2**31 - 1, 2**31, -0.5, 0.01, 0.25, 0.26, 0.5, 1.0, 1.5, 99.9),
    *("", " ", "word", "p99", True, [], [1.0], [0.0, 1.0], [1.0, 2.0], [-1.0, 2.0], ["a", "b"], {}),
    *([[0, 1.0], [2, 3.0]], [[0, 1.0]], [[0, 1.0, 2.0], [1, 1, 1]], [[0, -1.0], [1, 1.0]]),
]
ALIASES = [
    (module, name)
    for module in (values, schema_memory, schema_tune)
    for name, alias in vars(module).items()
    if getattr(alias, "__metadata__", ()) and check_of(alias) in CHECKS
]
ONLY_IN_THE_CHECKS = "word"
"""A text that is no measure: there are too many of them for a list."""


@pytest.mark.parametrize(
    ("module", "name"), ALIASES, ids=lambda value: getattr(value, "__name__", value)
)
def test_each_kind_of_value_is_what_its_check_says(module, name):
    alias = getattr(module, name)
    schema = single_value(check_of(alias))
    seen = set()
    for probe in PROBES:
        exact = json.loads(json.dumps(probe), parse_float=Decimal)
        try:
            TypeAdapter(alias).validate_python(exact)
            right = True
        except ValidationError:
            right = False
        said = jsonschema.Draft7Validator(schema).is_valid(probe)
        if not (name == "Word" and probe == ONLY_IN_THE_CHECKS):
            assert said == right, (name, probe)
        seen.add(right)
    assert seen == {True, False}


def test_all_named_values_have_a_translation():
    assert {name for module, name in ALIASES if module is values} >= {
        "Text", "Positive", "NonNegative", "AboveOne", "Share", "Drift", "Percentile",
        "Milliseconds", "MillisecondsAbove0", "Seconds", "Patience", "Rates", "Points",
    }  # fmt: skip


def test_a_check_without_a_translation_is_an_error():
    from typing import Annotated

    from pydantic import PlainValidator

    from experiments.tables import Table

    class Odd(Table):
        key: Annotated[int, PlainValidator(lambda value: value)]

    with pytest.raises(TypeError, match="has no translation"):
        Odd.model_json_schema(schema_generator=_Generator)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_rule_has_its_parameters_in_ms_and_no_others(family):
    for kind, cls in FAMILIES[family].items():
        found = SCHEMA["definitions"][f"{family}.{kind}"]
        assert set(found["properties"]) == {"kind", *parameters(cls)}
        assert not found["additionalProperties"]


def test_defaults_of_rules_are_milliseconds():
    ray = SCHEMA["definitions"]["autoscaler.ray_serve"]["properties"]
    assert ray["upscale_delay_ms"]["default"] == 30_000
    assert ray["target_ongoing_requests"]["default"] == 2.0


def tables():
    yield "Spec", SCHEMA
    yield from SCHEMA["definitions"].items()


def test_every_key_is_explained_and_times_name_their_unit():
    for name, table in tables():
        for key, value in table["properties"].items():
            words = value["description"]
            assert words.endswith((".", "?", ")")), (name, key, words)
            assert "``" not in words
            assert len(words) > 8, (name, key)
            if key.endswith("_ms"):
                assert "millisecond" in words.lower(), (name, key)


def test_no_null_since_toml_has_none():
    assert '"null"' not in json.dumps(SCHEMA)
    assert "null" not in json.dumps(SCHEMA)


def test_docstrings_speak_of_milliseconds():
    assert in_ms("waits ``max_wait_ns``\n  or more") == "waits max_wait_ms or more"


def test_the_command_prints_it_or_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert json.loads(CliRunner().invoke(app, ["schema"]).stdout) == json_schema()
    result = CliRunner().invoke(app, ["schema", "--into", "scenario.schema.json"])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "#:schema scenario.schema.json" in result.stderr
    assert json.loads(Path("scenario.schema.json").read_text()) == json_schema()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    result = CliRunner().invoke(app, ["schema", "--into", str(tmp_path / "no" / "x.json")])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: cannot use ")
    assert "Traceback" not in result.output
