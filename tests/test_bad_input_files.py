"""What broken files get: scenarios, traces and profiles, each told by key, file and line."""

from __future__ import annotations

import pytest

import profiles
from experiments.config import ScenarioError, load_scenario

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

REPLAY = """
[workload]
requests = 2
arrivals = { process = "trace", file = "t.csv" }
[service]
model = { base_ms = 1.0 }
[policies.greedy]
kind = "greedy"
"""

MODEL = "[service]\nmodel = { base_ms = 1 }\n"
GREEDY = "[policies.a]\nkind = 'greedy'\n"
POISSON = "arrivals = { process = 'poisson', rate_per_s = 3 }\n"

FILES = [
    (b"[workload\n", " is not TOML: Expected ']' at the end of a table declaration "),
    (b"\xff\xfe", " is not text in UTF-8, as TOML has to be"),
    (b"", ": workload is missing; give a table [workload]"),
    (
        f"[workload]\nrequests = 3\n{POISSON}".encode(),
        ": service is missing; give a table [service]",
    ),
    (
        f"[workload]\nrequests = 3\n{POISSON}{MODEL}".encode(),
        ": policies is missing; give at least one table [policies.NAME] with a kind",
    ),
    (
        f"[workload]\n{POISSON}{MODEL}{GREEDY}".encode(),
        ": workload.requests is missing; give how many requests to draw (or duration_s)",
    ),
    (
        f"[workload]\nrequests = 3\nduration_s = 4\n{POISSON}{MODEL}{GREEDY}".encode(),
        ": workload: give requests or duration_s, not both, but got requests = 3, duration_s = 4",
    ),
    (
        f"[workload]\nrequests = 3\n{MODEL}{GREEDY}".encode(),
        ": workload.arrivals is missing; give how requests arrive: a table with the key process",
    ),
    (
        f"[workload]\nrequests = 3\n{POISSON}[service]\n{GREEDY}".encode(),
        ": service: give exactly one of profile and model",
    ),
    (
        f"[workload]\nrequests = 3\n{POISSON}"
        f"[service]\nprofile = 'jasper-t4-fp16'\n{GREEDY}".encode(),
        ": workload.lengths is missing; profile jasper-t4-fp16 needs it, "
        'as in { constant = 128 } or { dataset = "imdb" }',
    ),
    (
        f"[workload]\nrequests = 3\n{POISSON}[service]\n"
        f"model = {{ base_ms = 1, per_length_ms = 1 }}\n{GREEDY}".encode(),
        ": workload.lengths is missing; the model's per_length_ms needs it, "
        'as in { constant = 128 } or { dataset = "imdb" }',
    ),
]

TRACES = [
    (
        "arrival_s\n0\n2\n1\n",
        [],
        "workload.arrivals: t.csv, line 4: arrival_s = 1 is earlier than the line before; "
        "sort the file by arrival_s",
    ),
    (
        "arrival_s\n0\nnan\n",
        [],
        "workload.arrivals: t.csv, line 3: arrival_s = 'nan' must be a number of seconds, "
        "not below 0, or a date and time as 2026-01-31 12:00:00.25",
    ),
    (
        "arrival_s\n-1\n0\n",
        [],
        "workload.arrivals: t.csv, line 2: arrival_s = '-1' must be a number of seconds, "
        "not below 0, or a date and time as 2026-01-31 12:00:00.25",
    ),
    (
        "time\n0\n",
        [],
        "workload.arrivals: t.csv has no column 'arrival_s' for arrival_s; known are time",
    ),
    (
        "",
        [],
        "workload.arrivals: t.csv is empty; give a header line and one line a request",
    ),
    (
        "arrival_s,length\n0,0\n",
        [],
        "workload.arrivals: t.csv, line 2: length = '0' must be a whole number of at least 1",
    ),
    (
        "arrival_s,tokens\n0,5\n1,5\n",
        ['workload.lengths={column="token"}'],
        "workload.arrivals: t.csv has no column 'token' for length; did you mean 'tokens'?",
    ),
    (
        "arrival_s,tier\n0,a\n1,c\n",
        ['workload.tiers=[{name="a",share=0.5},{name="b",share=0.5}]'],
        "workload.arrivals: t.csv, line 3: tier = 'c' must be a tier of the workload; "
        "known are a, b",
    ),
    (
        "arrival_s\n0\n",
        [],
        "workload.requests = 2 must be at most 1, as many as the trace of "
        "workload.arrivals.file has",
    ),
]

GRIDS = [
    (
        lambda good: good.replace("1,16700", "1,9000"),
        "every batch size must have every length, but 5 of 20 points are missing "
        "(batch size x length): 1 x 16700, 2 x 9000, 4 x 9000, "
        "8 x 9000, 16 x 9000",
    ),
    (
        lambda good: good.replace("40.61", "nan"),
        "latency_ms must be a positive time in ms below 11 days, but got 'nan'",
    ),
    (
        lambda good: good.replace("40.61", "-40.61"),
        "latency_ms must be a positive time in ms below 11 days, but got '-40.61'",
    ),
    (
        lambda good: good.replace("batch_size", "batch"),
        "the column batch_size is missing",
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


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_a_broken_file_is_told_by_its_name(folder, content, expected):
    (folder / "b.toml").write_bytes(content)
    said = mistake("b.toml")
    assert (
        said.startswith(f"b.toml{expected}")
        if expected.endswith(" ")
        else said == (f"b.toml{expected}")
    )


@pytest.mark.parametrize(("content", "overrides", "expected"), TRACES)
def test_a_broken_trace_is_told_by_key_file_and_line(folder, content, overrides, expected):
    (folder / "s.toml").write_text(REPLAY)
    (folder / "t.csv").write_text(content)
    assert mistake("s.toml", overrides) == f"s.toml: {expected}"


@pytest.mark.parametrize(("broken", "expected"), GRIDS)
def test_a_broken_profile_is_told_by_key_and_file(folder, broken, expected):
    profiles.save(profiles.load("jasper-t4-fp16"), folder)
    grid = folder / "jasper-t4-fp16.csv"
    grid.rename(folder / "mine.csv")
    (folder / "jasper-t4-fp16.json").rename(folder / "mine.json")
    good = (folder / "mine.csv").read_text()
    lengths = "workload.lengths={constant=2000}"
    assert load_scenario("s.toml", [lengths, "service.profile=mine"]).profile.name == "mine"
    (folder / "mine.csv").write_text(broken(good))
    said = mistake("s.toml", [lengths, "service.profile=mine"])
    assert said.startswith("s.toml, --set service.profile=mine: service.profile: mine.csv")
    assert said.endswith(expected)


def test_a_profile_without_its_side_file_is_told(folder):
    profiles.save(profiles.load("jasper-t4-fp16"), folder)
    (folder / "jasper-t4-fp16.csv").rename(folder / "mine.csv")
    assert mistake("s.toml", ["service.profile=mine"]) == (
        "s.toml, --set service.profile=mine: service.profile: mine.csv: a profile is two files, "
        "but mine.json is missing"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("bret", "there is no file or scenario 'bret'; did you mean bert?"),
        ("sp", "there is no file or scenario 'sp'; did you mean speech?"),
        (
            "none.toml",
            "there is no file or scenario 'none.toml'; `batchwright scenarios` lists the names, "
            "and `batchwright init none.toml` writes one",
        ),
        (".", ". is a folder; give a TOML file or a name; `batchwright scenarios` lists the names"),
    ],
)
def test_an_unknown_scenario_names_the_nearest(folder, source, expected):
    assert mistake(source) == expected
