"""``batchwright load`` as a user meets it: real servers, files, exit codes, what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner
from v2_server import V2, listening

from experiments.cli import app
from experiments.loading.outcome import Loaded

SCENARIO = """
name = "small"
[workload]
requests = 2000
arrivals = { process = "poisson", rate_per_s = 100.0 }
lengths = { distribution = "uniform", min = 10, max = 300 }
[[workload.tiers]]
name = "fast"
share = 0.5
slo = { percentile = 99, ms = 60_000.0 }
[[workload.tiers]]
name = "slow"
share = 0.5
[service]
model = { base_ms = 4.0, per_request_ms = 1.0, max_batch_size = 4 }
[policies.greedy]
kind = "greedy"
"""
needs_serve = pytest.mark.skipif(
    find_spec("prometheus_client") is None, reason="the extra serve is not installed"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "small.toml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(*words, **environment):
    return CliRunner().invoke(app, ["load", *words], env={"COLUMNS": "100", **environment})


@contextmanager
def served(place, *words, environment=()):
    """A server of a process of its own; gives its address."""
    command = [
        sys.executable, "-c", "from experiments.cli import main; main()", "serve", "small.toml",
        *words, "--port", "0", "--json", "--no-drift",
    ]  # fmt: skip
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **dict(environment)}
    process = subprocess.Popen(command, cwd=place, env=own, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def nobody():
    """An address on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


@needs_serve
def test_a_served_scenario_is_loaded_predicted_and_kept(place):
    with served(place) as url:
        done = load(
            url, "small.toml", "--requests", "30", "--repeats", "2", "--json", "--seed", "3"
        )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    run = Path(found["run"])
    assert run.name == "load-1"
    assert {"result.json", "manifest.json", "latency.png", "latency.svg"} <= {
        path.name for path in run.iterdir()
    }
    assert found["target"]["ours"]
    assert found["rule"]["name"] == "greedy"
    assert found["rule"]["told_by_server"]
    (floor,) = found["floors"]
    assert (floor["kind"], floor["requests"] > 0) == ("server", True)
    back = Loaded.of(found)
    assert back.tiers == ("all", "fast", "slow")
    fates = {tier: back.fate(None, tier) for tier in back.tiers}
    assert {tier: one.counts["served"] for tier, one in fates.items() if tier == "all"} == {
        "all": 54
    }
    assert fates["fast"].requests + fates["slow"].requests == 54
    assert fates["fast"].kept
    assert fates["slow"].kept is None
    for figure in ("mean_ms", "p99_ms", "mean_batch", "wait_mean_ms", "rest_p50_ms"):
        cell = back.cell(None, "all", figure)
        assert len(cell.measured) == len(cell.predicted) == 2
        assert all(value > 0 for value in (*cell.measured, *cell.predicted))


def test_a_run_has_a_page_of_the_report(place):
    with listening(V2(statuses=[200, 200, 200, 429])) as (url, _):
        words = ("--model", "m", "--requests", "20", "--repeats", "1", "--floor", "none",
                 "--policy", "greedy", "--json")  # fmt: skip
        run = json.loads(load(url, "small.toml", *words).stdout)["run"]
    done = CliRunner().invoke(app, ["report", run])
    assert done.exit_code == 0, done.output
    (page,) = Path(run).glob("*.html")
    text = page.read_text()
    for words in ("Figures over HTTP", "Who was served", "Latency over HTTP", "Every window"):
        assert words in text


@needs_serve
def test_a_token_is_wanted_and_given(place):
    token = "a-token-of-some-length"
    with served(place, environment={"BATCHWRIGHT_TOKEN": token}) as url:
        refused = load(url, "small.toml")
        assert refused.exit_code == 2
        assert "wants a token: give it with --token-file FILE or in BATCHWRIGHT_TOKEN" in (
            refused.stderr
        )
        words = ("--requests", "20", "--repeats", "1", "--json", "--floor", "live")
        done = load(url, "small.toml", *words, BATCHWRIGHT_TOKEN=token)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fates"][0]["counts"]["served"] == 18


@needs_serve
def test_a_server_of_another_scenario_says_which_tiers_it_has(place):
    (place / "other.toml").write_text(
        SCENARIO.replace('"slow"', '"late"').replace('"small"', '"x"')
    )
    with served(place) as url:
        done = load(url, "other.toml", "--model", "small", "--requests", "40")
    assert done.exit_code == 2
    assert "does not take the requests of scenario x: it answers 400, there is no tier 'late'" in (
        done.stderr
    )


def test_any_server_of_the_protocol_is_loaded_and_refusals_are_counted(place):
    with listening(V2(statuses=[200, 200, 200, 429])) as (url, v2):
        words = ("--model", "m", "--requests", "100", "--repeats", "1", "--rate", "500",
                 "--floor", "none")  # fmt: skip
        done = load(url, "small.toml", *words)
        count = len(v2.came)
    assert done.exit_code == 0, done.output
    assert count >= 102  # and a probe of each tier
    assert "Nothing is predicted: name the server's rule with --policy" in done.stdout
    assert "found the queue full (429); they were told so within" in done.stdout
    assert "predicted" not in done.stdout.partition("load")[0]


def test_a_named_policy_is_predicted_for_any_server(place):
    with listening() as (url, _):
        words = ("--model", "m", "--requests", "20", "--repeats", "1", "--policy", "greedy")
        done = load(url, "small.toml", *words, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["floors"][0]["kind"] == "live"
    assert not found["rule"]["told_by_server"]
    named = {one["figure"]: one for one in found["cells"] if one["tier"] == "all"}
    assert named["p99_ms"]["predicted_mean"] > 5.0
    assert named["mean_batch"]["measured_mean"] is None


def test_strict_fails_where_an_slo_is_missed(place):
    words = ("--model", "m", "--requests", "20", "--repeats", "1", "--floor", "none", "--set",
             "workload.tiers.fast.slo.ms=0.001")  # fmt: skip
    with listening() as (url, _):
        done = load(url, "small.toml", *words, "--strict")
    assert done.exit_code == 1
    assert done.stderr.strip().endswith("error: an SLO is missed")
    assert "The SLO of fast is missed: 0.0 % where 99 % within 0.001 ms is wanted." in done.stdout


def test_a_server_that_fails_most_requests_is_told_with_its_own_sentence(place):
    with listening(V2(statuses=[200, 200, 200, 200, *[500] * 1000])) as (url, _):
        done = load(url, "small.toml", "--model", "m", "--requests", "20", "--floor", "none")
    assert done.exit_code == 1
    assert f"error: {url} answered 500, no " in done.stderr
    assert not (place / "runs" / "small" / "load-1").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("small.toml", "--load", "0"), "--load 0: '0' must be a share of the largest rate"),
        (("small.toml", "--load", "0.3", "--rate", "9"), "give at most one of --load and --rate"),
        (("small.toml", "--rate", "-1"), "--rate -1 must be requests per second, above 0"),
        (("small.toml", "--window", "soon"), "--window must be a time as in 15s or 1m"),
        (("small.toml", "--policy", "gredy"), "has no policy 'gredy'; did you mean greedy?"),
        (("small.toml", "--model", "x"), "has no model 'x': it answers 404, unknown model"),
        (("small.toml", "--floor", "zero"), "--floor zero must be one of auto, live, server, none"),
        (("small.toml", "--binary"), "takes no binary tensors; leave --binary out"),
        (("smal.toml",), "there is no file or scenario 'smal.toml'"),
        (("mixed_sla",), "it has a backlog that is always there"),
        (("small.toml", "--window", "500m"), "a window has 3,000,000 requests, at most 1,000,000"),
        (("small.toml", "--export", "wrk"), "--export wrk is no tool; known are k6, locust"),
        (("small.toml", "--export", "k6", "--load", "0.1,0.2"), "--export writes one window"),
        (("small.toml", "--judge", "mlperf"), "has 2 tiers; MLPerf's server scenario has one"),
    ],
)
def test_bad_input_is_one_sentence(place, words, said):
    with listening() as (url, _):
        model = () if "--model" in words else ("--model", "m")
        done = load(url, *words, *model)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert done.stdout == ""


def test_nobody_at_the_address_is_one_sentence(place):
    url = nobody()
    done = load(url, "small.toml")
    assert done.exit_code == 2
    assert done.stderr == f"error: {url} cannot be reached: Connection refused\n"


@pytest.mark.parametrize(("tool", "script"), [("k6", "script.js"), ("locust", "locustfile.py")])
def test_the_requests_of_a_window_are_written_for_another_tool(place, tool, script):
    from experiments.loading.asking import Wanted, at_load, drawn, scenario_of

    url = nobody()
    done = load(
        url, "small.toml", "--export", tool, "--requests", "90", "--seed", "2", "--to", "to"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == ["to/about.json", "to/plan.json", f"to/{script}"]
    assert "did not answer, so that requests are those of batchwright serve" in done.stderr
    plan = json.loads((place / "to/plan.json").read_text())
    about = json.loads((place / "to/about.json").read_text())
    workload = drawn(at_load(scenario_of("small.toml", ()), None, Wanted(requests=90)), 0, 2)
    instants = ((workload.arrival_ns - workload.arrival_ns[0]) / 1e6).tolist()
    assert [row[0] for row in plan] == instants
    assert [row[1:] for row in plan] == [
        [int(length), int(tier), 0]
        for length, tier in zip(workload.length, workload.tier, strict=True)
    ]
    assert about["url"] + about["path"] == f"{url}/v2/models/small/infer"
    assert [tier["name"] for tier in about["tiers"]] == ["fast", "slow"]
    assert about["inputs"][0]["kind"] == "ids"


def test_a_script_asks_for_what_the_server_takes(place):
    mask = {"name": "attention_mask", "datatype": "INT64", "shape": [-1, -1]}
    text = {"name": "text", "datatype": "BYTES", "shape": [-1, 1]}
    with listening(V2(inputs=[mask, text])) as (url, _):
        done = load(url, "small.toml", "--model", "m", "--export", "locust", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["requests"] > 100
    inputs = json.loads((place / "load-locust/about.json").read_text())["inputs"]
    assert [(one["kind"], one["open"]) for one in inputs] == [("ones", True), ("text", False)]


def test_the_locust_script_makes_what_our_server_reads(place):
    """Its functions alone: Locust itself is run by hand."""
    from experiments.serving.open_inference import read

    for words in ((), ("--binary",)):
        done = load(nobody(), "small.toml", "--export", "locust", "--to", "to", *words)
        assert done.exit_code == 0, done.output
        source = (place / "to/locustfile.py").read_text()
        parts = source.partition("\ndef body(")
        functions = (
            "import json, math, struct\n" + "def body(" + parts[2].partition("\ndef ends")[0]
        )
        space = {
            "ABOUT": json.loads((place / "to/about.json").read_text()),
            "CODES": {"FP32": "f", "INT32": "i", "INT64": "q"},
        }
        exec(compile(functions, "locustfile.py", "exec"), space)
        content, headers = space["body"](17, 2500)
        head = headers.get("Inference-Header-Content-Length")
        found = read(content, "tokens", None if head is None else int(head))
        assert (found.length, found.timeout_ns) == (17, 2_500_000)
