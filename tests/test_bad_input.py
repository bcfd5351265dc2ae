"""What bad input gets: one sentence with file, key, value and what would be right."""

from __future__ import annotations

from decimal import Decimal

import pytest

import profiles
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

REPLAY = """
[workload]
requests = 2
arrivals = { process = "trace", file = "t.csv" }
[service]
model = { base_ms = 1.0 }
[policies.greedy]
kind = "greedy"
"""

POLICIES = (
    "aimd, balanced_cap, deadline_aware, greedy, length_bucketed, nearest_lengths, "
    "preferred_sizes, queue_depth_wait, rate_aware, size_or_timeout, snap, static, token_budget"
)
PROCESSES = "paced, poisson, gamma, hyperexponential, mmpp, clumped, rate_curve, trace, closed"
TIMER = "max_batch_size, max_wait_ms, min_batch_size, from_idle"
TOML = 'is no TOML value, which is a number, a word, a "text", [a, list] or { a = table }'

OVERRIDES = [
    # The workload.
    (
        "workload.request=5",
        "unknown key workload.request = 5; did you mean workload.requests?",
    ),
    ("workload.requests=0", "workload.requests = 0 must be a whole number of at least 1"),
    ("workload.requests=1.5", "workload.requests = 1.5 must be a whole number of at least 1"),
    ("workload.requests=true", "workload.requests = true must be a whole number of at least 1"),
    ("workload.requests=many", 'workload.requests = "many" must be a whole number of at least 1'),
    ("workload.requests=nan", "workload.requests = nan must be a whole number of at least 1"),
    ("workload.requests=3e9", "workload.requests = 3E+9 must be at most 2147483647"),
    ("workload.duration_s=-1", "workload.duration_s = -1 must be a number of seconds above 0"),
    (
        "workload.duration_s=1e12",
        "workload.duration_s = 1E+12 must be at most 1e+9",
    ),
    (
        "workload=3",
        "workload = 3 must be a table with the keys requests, duration_s, arrivals, lengths, tiers",
    ),
    # Arrivals.
    (
        "workload.arrivals.process=poison",
        f'workload.arrivals.process = "poison" must be one of {PROCESSES}; did you mean poisson?',
    ),
    (
        "workload.arrivals=3",
        f"workload.arrivals = 3 must be a table with the key process, one of {PROCESSES}",
    ),
    (
        "workload.arrivals={rate_per_s=3}",
        f"workload.arrivals.process is missing; give one of {PROCESSES}",
    ),
    ("workload.arrivals.rate_per_s=0", "workload.arrivals.rate_per_s = 0 must be a number above 0"),
    (
        "workload.arrivals.rate_per_s=inf",
        "workload.arrivals.rate_per_s = inf must be a number above 0",
    ),
    (
        "workload.arrivals.rate=3",
        "unknown key workload.arrivals.rate = 3; did you mean workload.arrivals.rate_per_s?",
    ),
    (
        "workload.arrivals.process=gamma",
        "workload.arrivals.cv is missing; give the coefficient of variation of the gaps",
    ),
    (
        "workload.arrivals=poisson",
        "workload.arrivals: give exactly one of rate_per_s and load",
    ),
    (
        'workload.arrivals={process="poisson",rate_per_s=5,load=0.5}',
        "workload.arrivals: give exactly one of rate_per_s and load, "
        "but got rate_per_s = 5, load = 0.5",
    ),
    (
        'workload.arrivals={process="hyperexponential",load=0.5,cv=1}',
        "workload.arrivals.cv = 1 must be a number above 1",
    ),
    (
        'workload.arrivals={process="mmpp",rates_per_s=[1,2,3],switch_per_s=[1,2]}',
        "workload.arrivals: rates_per_s and switch_per_s must have one number for each state, "
        "but got rates_per_s = [1, 2, 3], switch_per_s = [1, 2]",
    ),
    (
        'workload.arrivals={process="mmpp",rates_per_s=[0,0],switch_per_s=[1,2]}',
        "workload.arrivals.rates_per_s = [0, 0] must be a list of at least two rates, "
        "none below 0 and not all 0",
    ),
    (
        'workload.arrivals={process="mmpp",rates_per_s=[1,2],switch_per_s=[0,2]}',
        "workload.arrivals.switch_per_s = [0, 2] must be a list of at least two rates above 0",
    ),
    (
        'workload.arrivals={process="rate_curve",points=[[0,1],[0,2]]}',
        "workload.arrivals.points = [[0, 1], [0, 2]] must be pairs [seconds, rate per second] "
        "with seconds that increase from 0, rates not below 0",
    ),
    (
        'workload.arrivals={process="trace",file="none.csv"}',
        "workload.arrivals: none.csv cannot be read: No such file or directory",
    ),
    (
        'workload.arrivals={process="trace",file="none.csv",load=1,time_scale=2}',
        "workload.arrivals: give at most one of time_scale, rate_per_s and load, "
        "but got time_scale = 2, load = 1",
    ),
    (
        'workload.arrivals={process="closed",clients=0,think_ms=1}',
        "workload.arrivals.clients = 0 must be a whole number of at least 1",
    ),
    (
        'workload.arrivals={process="clumped",load=0.5,clump_size=2,spread_ms=-1}',
        "workload.arrivals.spread_ms = -1 must be a number of milliseconds, not below 0",
    ),
    # Lengths.
    (
        'workload.lengths={dataset="imbd"}',
        "workload.lengths: there is no length data set 'imbd'; did you mean 'imdb'?",
    ),
    (
        'workload.lengths={dataset="librispeech"}',
        "workload.lengths are in audio_ms, but profile bert-base-a100-tensorrt-fp16 of "
        "service.profile takes tokens; give lengths or a profile of the other unit",
    ),
    (
        "workload.lengths={constant=512}",
        "workload.lengths reach 512 tokens, but profile bert-base-a100-tensorrt-fp16 knows 128 to "
        "384 tokens (100 % of requests are longer); give shorter lengths, or "
        'service.over_length = "truncate" or "reject"',
    ),
    (
        'workload.lengths={constant=128,dataset="imdb"}',
        "workload.lengths: give exactly one of dataset, histogram, constant, distribution, column, "
        'but got dataset = "imdb", constant = 128',
    ),
    (
        "workload.lengths={konstant=128}",
        "unknown key workload.lengths.konstant = 128; did you mean workload.lengths.constant?",
    ),
    (
        'workload.lengths={distribution="lognormal",median=64,sigma=0.8}',
        "workload.lengths.max is missing; give the longest length",
    ),
    (
        'workload.lengths={distribution="uniform",min=500,max=100}',
        "workload.lengths: min must not be above max, but got min = 500, max = 100",
    ),
    (
        'workload.lengths={distribution="lognormal",median=1e-9,sigma=0.01,min=8,max=9}',
        "workload.lengths: a lognormal with median 1e-09 and sigma 0.01 has no mass between 8 and "
        "9",
    ),
    (
        'workload.lengths={distribution="normal",median=64}',
        'workload.lengths.distribution = "normal" must be one of lognormal, uniform; '
        "did you mean lognormal?",
    ),
    (
        'workload.lengths={column="tokens"}',
        "workload.lengths: column = 'tokens' needs arrivals from a trace that has this column",
    ),
    (
        'workload.lengths={histogram="none.csv"}',
        "workload.lengths: none.csv cannot be read: No such file or directory",
    ),
    (
        'workload.lengths={constant=128,unit="words"}',
        'workload.lengths.unit = "words" must be one of tokens, audio_ms',
    ),
    # Tiers.
    (
        "workload.tiers=[]",
        "workload.tiers = [] must be a list of tables, each headed [[workload.tiers]]",
    ),
    (
        "workload.tiers=[{share=1.0}]",
        "workload.tiers.0.name is missing; give the name of the tier",
    ),
    (
        'workload.tiers=[{name="a",share=0.5},{name="b",share=0.6}]',
        "workload: the shares of the tiers must add up to 1, but got shares = [0.5, 0.6]",
    ),
    (
        'workload.tiers=[{name="a",share=0.5},{name="b"}]',
        "workload: every tier needs a share (or every tier arrivals of its own)",
    ),
    (
        'workload.tiers=[{name="a",share=0.5},{name="a",share=0.5}]',
        "workload: every tier needs a name of its own, but two are a",
    ),
    (
        'workload.tiers=[{name="a",slo={ms=0}}]',
        "workload.tiers.0.slo.ms = 0 must be a number of milliseconds above 0",
    ),
    (
        'workload.tiers=[{name="a",slo={percentile=100,ms=5}}]',
        "workload.tiers.0.slo.percentile = 100 must be a number above 0 and below 100",
    ),
    (
        'workload.tiers=[{name="a",model={base_ms=1}}]',
        "workload.tiers.0.model needs service.model instead of service.profile",
    ),
    # The service.
    (
        "service.profil=x",
        'unknown key service.profil = "x"; did you mean service.profile?',
    ),
    (
        "service.profile=bert-base-l4-tensorrt",
        "service.profile: 'bert-base-l4-tensorrt' is neither a shipped profile nor a profile's "
        "file; nearest: bert-base-l4-tensorrt-int8, bert-base-l4-tensorrt-fp16, "
        "bert-base-t4-tensorrt-int8",
    ),
    ("service.servers=0", "service.servers = 0 must be a whole number of at least 1"),
    (
        "service.model={base_ms=0}",
        "service.model: a batch must take some time, but got base_ms = 0",
    ),
    (
        "service.model={base=1}",
        "unknown key service.model.base = 1; did you mean service.model.base_ms?",
    ),
    (
        "service.model={base_ms=-1}",
        "service.model.base_ms = -1 must be a number of milliseconds, not below 0",
    ),
    (
        "service.model={table_ms=[1,-2]}",
        "service.model.table_ms = [1, -2] must be a list of milliseconds above 0, one a batch size",
    ),
    (
        'service.model={base_ms=1,noise="profile"}',
        'service.model.noise.kind = "profile" must be one of none, gamma, lognormal',
    ),
    (
        "service.noise=gama",
        'service.noise.kind = "gama" must be one of none, profile, gamma, lognormal; '
        "did you mean gamma?",
    ),
    (
        'service.noise={kind="gamma"}',
        "service.noise.cv is missing; give the coefficient of variation of service times",
    ),
    (
        "service.capacity=10",
        "service.capacity = 10 must be a table with the keys requests, counts",
    ),
    (
        'service.capacity={requests=10,counts="queued"}',
        'service.capacity.counts = "queued" must be one of waiting, in_system',
    ),
    (
        "service.timeout={ms=0}",
        "service.timeout.ms = 0 must be a number of milliseconds above 0, or inf",
    ),
    (
        'service.timeout={process="uniform",mean_ms=5}',
        'service.timeout.process = "uniform" must be "exponential"',
    ),
    (
        "service.over_length=trunc",
        'service.over_length = "trunc" must be one of error, truncate, reject; '
        "did you mean truncate?",
    ),
    # Policies.
    ("policies={}", "policies = {} must be at least one table [policies.NAME] with a kind"),
    (
        "policies.greedy=greedy",
        'policies.greedy = "greedy" must be a table [policies.greedy] with a kind',
    ),
    (
        "policies.greedy.kind=gredy",
        'policies.greedy.kind = "gredy" is no kind of policy; did you mean greedy?',
    ),
    (
        "policies.greedy.max_batch=8",
        "policies.greedy.max_batch = 8 is unknown; did you mean max_batch_size? "
        "greedy takes max_batch_size",
    ),
    (
        "policies.greedy.max_batch_size=500",
        "policies.greedy.max_batch_size: `0 <= max_batch_size <= 128` must hold, "
        "but got (max_batch_size=500)",
    ),
    (
        "policies.greedy.max_batch_size=1.5",
        "policies.greedy.max_batch_size = 1.5 must be a whole number",
    ),
    ("policies.x.max_wait_ms=5", f"policies.x.kind is missing; give one of {POLICIES}"),
    (
        'policies.x={kind="size_or_timeout"}',
        f"policies.x.max_batch_size is missing; size_or_timeout takes {TIMER}",
    ),
    (
        'policies.x={kind="size_or_timeout",max_batch_size=8,max_wait_ms=-1}',
        "policies.x.max_wait_ms = -1 must be milliseconds, not below 0 (inf: forever)",
    ),
    (
        'policies.x={kind="size_or_timeout",max_batch_size=8,max_wait_us=1}',
        "policies.x.max_wait_us = 1 is unknown; did you mean max_wait_ms? "
        f"size_or_timeout takes {TIMER}",
    ),
    (
        'policies.x={kind="size_or_timeout",max_batch_size=8,max_wait_ms=1,from_idle=1}',
        "policies.x.from_idle = 1 must be true or false",
    ),
    (
        'policies.x={kind="aimd"}',
        "policies.x.slo_ms: `slo_ns > 0, or a tier has an SLO` must hold, but got (slo_ns=0)",
    ),
    (
        'policies.x={kind="length_bucketed",boundaries=[256,128]}',
        "policies.x.boundaries: `boundaries are positive and increasing` must hold, "
        "but got (boundaries=[256, 128])",
    ),
    (
        'policies.x={kind="length_bucketed",boundaries=["a"]}',
        'policies.x.boundaries = ["a"] must be a whole number or a list of them',
    ),
    (
        'policies.x={kind="snap",service_ms=3}',
        "policies.x.service_ms = 3 is unknown; snap takes max_batch_size",
    ),
    # The rest.
    ("run.replications=0", "run.replications = 0 must be a whole number of at least 1"),
    ("run.replicas=3", "unknown key run.replicas = 3; did you mean run.replications?"),
    ("seeds.arrivals=-1", "seeds.arrivals = -1 must be a whole number of at least 0"),
    ("seeds.arrival=1", "unknown key seeds.arrival = 1; did you mean seeds.arrivals?"),
    (
        "objectives.p99=1",
        "unknown key objectives = { p99 = 1 }; "
        "known are description, name, policies, run, seeds, service, workload",
    ),
    ("name=3", "name = 3 must be a text that is not empty"),
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
        "not below 0",
    ),
    (
        "arrival_s\n-1\n0\n",
        [],
        "workload.arrivals: t.csv, line 2: arrival_s = '-1' must be a number of seconds, "
        "not below 0",
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
        "(batch size x length): 1 x 16700, 2 x 9000, 4 x 9000, ...",
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


def test_the_scenario_that_the_overrides_break_is_sound(folder):
    assert load_scenario("s.toml").load < 1


@pytest.mark.parametrize(("override", "expected"), OVERRIDES, ids=[text for text, _ in OVERRIDES])
def test_a_wrong_override_is_told_with_the_override_and_the_key(folder, override, expected):
    assert mistake("s.toml", [override]) == f"s.toml, --set {override}: {expected}"


@pytest.mark.parametrize(("override", "expected"), MALFORMED)
def test_an_override_that_cannot_be_read_is_told_as_it_was_typed(folder, override, expected):
    assert mistake("s.toml", [override]) == f"--set {override}: {expected}"


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
            "there is no file or scenario 'none.toml'; `batchwright scenarios` lists the names",
        ),
        (".", ". is a folder; give a TOML file or a name; `batchwright scenarios` lists the names"),
    ],
)
def test_an_unknown_scenario_names_the_nearest(folder, source, expected):
    assert mistake(source) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1:0.9", "'0.1:0.9' must be a list as in 1,2,4 or FIRST:LAST:COUNT"),
        (
            "0:1:1",
            "'0:1:1' must be FIRST:LAST:COUNT with numbers and a count of at least 2, "
            "as in 0.1:0.9:9",
        ),
        (
            "a:b:3",
            "'a:b:3' must be FIRST:LAST:COUNT with numbers and a count of at least 2, "
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


VALUES = [0, -1, 2.5, True, "word", [], [1], {}, {"kind": "x"}, "inf", "nan"]


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
    import tomllib

    refused = 0
    for key in keys_of(tomllib.loads(full, parse_float=Decimal)):
        for value in VALUES:
            given = {True: "true"}.get(value, value) if isinstance(value, bool) else value
            if isinstance(value, dict):
                given = "{" + ", ".join(f'{k} = "{v}"' for k, v in value.items()) + "}"
            try:
                load_scenario("s.toml", [f"{'.'.join(key)}={given}"])
            except ScenarioError as error:
                refused += 1
                assert "\n" not in str(error)
                assert "nput should" not in str(error)
                assert f"--set {'.'.join(key)}={given}" in str(error)
    assert refused > 250
