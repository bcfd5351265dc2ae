"""What bad keys and values get: one sentence with file, key, value and what would be right."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from experiments.config import ScenarioError, load_scenario, parse_range

TEXT = """
[workload]
requests = 1000
arrivals = { process = "poisson", rate_per_s = 100.0 }
lengths = { constant = 128 }
[service]
profile = "bert-base-a100-tensorrt-fp16"
[policies.greedy]
kind = "greedy"
"""

TOML = 'is no TOML value, which is a number, a word, a "text", [a, list] or { a = table }'

PAIRS = Path(__file__).parent / "data" / "broken" / "overrides.txt"

LINES = [line for line in PAIRS.read_text().splitlines() if line and not line.startswith("#")]

OVERRIDES = [
    (override, expected.strip()) for override, expected in zip(LINES[::2], LINES[1::2], strict=True)
]

MALFORMED = [
    (
        "workload.requests",
        "must be KEY=VALUE with a dotted key, as in workload.requests=1000000",
    ),
    (
        "workload..requests=5",
        "must be KEY=VALUE with a dotted key, as in workload.requests=1000000",
    ),
    ("workload.requests=", f"nothing {TOML}"),
    ("workload.requests=[1", f"[1 {TOML}"),
    ("workload.requests=1\nrun=2", "must hold one value on one line"),
    (
        "workload.requests.more=1",
        "workload.requests is a value, so more cannot be set inside it",
    ),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(TEXT)
    return tmp_path


def mistake(source, overrides=()):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(source, overrides)
    return str(caught.value)


def test_the_scenario_that_the_overrides_break_is_sound(folder):
    assert load_scenario("s.toml").load < 1


@pytest.mark.parametrize(("override", "expected"), OVERRIDES, ids=[text for text, _ in OVERRIDES])
def test_a_wrong_override_is_told_with_the_override_and_the_key(folder, override, expected):
    assert mistake("s.toml", [override]) == f"s.toml, --set {override}: {expected}"


@pytest.mark.parametrize(("override", "expected"), MALFORMED)
def test_an_override_that_cannot_be_read_is_told_as_it_was_typed(folder, override, expected):
    assert mistake("s.toml", [override]) == f"--set {override}: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "0.1:0.9",
            "'0.1:0.9' must be FIRST:LAST:COUNT with numbers and a count from 2 to 1000, "
            "as in 0.1:0.9:9",
        ),
        (
            "0:1:1",
            "'0:1:1' must be FIRST:LAST:COUNT with numbers and a count from 2 to 1000, "
            "as in 0.1:0.9:9",
        ),
        (
            "a:b:3",
            "'a:b:3' must be FIRST:LAST:COUNT with numbers and a count from 2 to 1000, "
            "as in 0.1:0.9:9",
        ),
        ("1,,2", "'1,,2' must be a list as in 1,2,4 or FIRST:LAST:COUNT"),
        ("", "'' must be a list as in 1,2,4 or FIRST:LAST:COUNT"),
    ],
)
def test_a_range_that_is_none_is_told(text, expected):
    with pytest.raises(ScenarioError) as caught:
        parse_range(text)
    assert str(caught.value) == expected


def test_a_tier_is_asked_for_by_a_name_that_exists(folder):
    tiers = 'workload.tiers=[{name="chat",share=1}]'
    assert mistake("s.toml", [tiers, "workload.tiers.chta.share=1"]) == (
        "--set workload.tiers.chta.share=1: workload.tiers has no item chta; did you mean chat?"
    )


VALUES = ["0", "-1", "2.5", "true", "word", "[]", "[1]", "{}", "{ kind = 3 }", "inf", "nan"]


def keys_of(table, path=()):
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys_of(value, (*path, key))


def test_no_value_of_any_key_ends_in_another_error(folder):
    full = """
name = "n"
description = "d"
workload.requests = 10
workload.arrivals = { process = "closed", clients = 2, think_ms = 1.0, think = "constant" }
workload.lengths = { distribution = "lognormal", median = 9, sigma = 1, min = 1, max = 20 }
service.model = { base_ms = 1, per_request_ms = 1, per_length_ms = 1, max_batch_size = 4 }
service.servers = 1
service.capacity = { requests = 3, counts = "waiting" }
service.timeout = { process = "exponential", mean_ms = 1 }
service.noise = { kind = "gamma", cv = 1 }
service.over_length = "error"
policies.a = { kind = "size_or_timeout", max_batch_size = 2, max_wait_ms = 1, from_idle = true }
run.replications = 1
seeds = { arrivals = 1, lengths = 1, service = 1, timeouts = 1, tuner = 1 }
"""
    (folder / "s.toml").write_text(full)
    said = []
    for key in keys_of(tomllib.loads(full, parse_float=Decimal)):
        for value in VALUES:
            override = f"{'.'.join(key)}={value}"
            try:
                load_scenario("s.toml", [override])
            except ScenarioError as error:
                said.append((override, str(error)))
    assert len(said) > 250
    assert [pair for pair in said if f"--set {pair[0]}: " not in pair[1]] == []
    assert [pair for pair in said if "nput should" in pair[1] or "\n" in pair[1]] == []
