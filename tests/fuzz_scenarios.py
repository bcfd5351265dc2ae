"""Readers of scenarios, and of options as they are typed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fuzz_inputs import Files

from experiments.config import SHIPPED, load_scenario

GREEDY = '[policies.a]\nkind = "greedy"\n'
MODEL = "[service]\nmodel = { base_ms = 2.0, per_request_ms = 0.5, max_batch_size = 8 }\n"

EVERYTHING = """
name = "n"
description = "d"
[workload]
requests = 1000
arrivals = { process = "mmpp", rates_per_s = [10.0, 200.0], switch_per_s = [0.5, 1.0] }
lengths = { distribution = "lognormal", median = 60, sigma = 0.8, min = 8, max = 200 }
[[workload.tiers]]
name = "interactive"
share = 0.7
slo = { percentile = 99, ms = 50.0 }
timeout = { ms = 100.0 }
[[workload.tiers]]
name = "batch"
share = 0.3
lengths = { constant = 30 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.3, per_length_ms = 0.001, max_batch_size = 16 }
servers = 2
capacity = { requests = 1000, counts = "in_system" }
timeout = { process = "exponential", mean_ms = 500.0 }
noise = { kind = "gamma", cv = 0.2 }
over_length = "truncate"
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 8
max_wait_ms = 2.0
[policies.buckets]
kind = "length_bucketed"
max_batch_size = 8
boundaries = [50, 100]
max_wait_ms = 5.0
[run]
replications = 2
[seeds]
arrivals = 1
tuner = 5
[tune]
objective = ["p99"]
trials = 32
"""

CURVES = f"""
[workload]
duration_s = 20.0
arrivals = {{ process = "rate_curve", points = [[0, 10.0], [10, 50.0], [20, 5.0]] }}
{MODEL}{GREEDY}
"""

CLOSED = f"""
[workload]
requests = 500
arrivals = {{ process = "closed", clients = 4, think_ms = 5.0 }}
{MODEL}{GREEDY}
"""


def scenario_seeds() -> list[Files]:
    shipped = [path.read_bytes() for path in sorted(SHIPPED.glob("*.toml"))]
    own = [text.encode() for text in (EVERYTHING, CURVES, CLOSED)]
    return [{"s.toml": text} for text in [*own, *shipped]]


def read_scenario(folder: Path) -> None:
    scenario = load_scenario("s.toml")
    assert scenario.hash
    assert scenario.load is None or scenario.load >= 0


# Options: each file is what was typed.

OPTIONS = {
    "set": ("workload.requests=10", "policies.waits.max_wait_ms=[]", "service.noise={kind='none'}"),
    "set.key": ("workload.tiers.0.share=0.5", "workload.tiers.batch.slo={percentile=95,ms=3}"),
    "over": ("service.servers=1,2,4", "workload.arrivals.load=0.1:0.9:9", "a.b=x,y"),
    "time": ("15s", "1m", "2h", "1.5m"),
    "slo": ("20", "p95=20", "p99.9 <= 3 ms"),
    "rate": ("250", "60%", "load 0.6", "3/s"),
    "model": ("2.0,0.35", "2,0.35,64"),
    "lengths": ("imdb", "128"),
    "columns": ("start=t_run", "arrival = a"),
    "where": ("device=NVIDIA A100", "batch_size=1|2"),
    "storage": ("sqlite:///a.db", "postgresql://user:secret@host:5432/name?sslmode=require"),
    "name": ("bert", "latest", "a/b"),
}  # fmt: skip


def option_seeds() -> list[Files]:
    return [{kind: text.encode()} for kind, texts in OPTIONS.items() for text in texts]


def read_options(folder: Path) -> None:
    for kind, parse in option_parsers().items():
        path = folder / kind
        if path.is_file():
            text = path.read_bytes().decode(errors="surrogateescape").replace("\0", "")
            if text:
                parse(text)


@cache
def option_parsers():
    from experiments.cli_diagnose import named_column
    from experiments.cli_measure import read_budget
    from experiments.cli_profile import column_filter
    from experiments.cli_run import parse_over
    from experiments.cli_validate import read_time
    from experiments.runs import resolve_run
    from experiments.starting.wishes import Slo, length_keys, model_keys, rate_or_load
    from experiments.tune.database import _address

    scenario = Path("scenario.toml")

    def overridden(text):
        scenario.write_text(EVERYTHING)
        load_scenario(scenario, [text])

    def times(text):
        read_time("--window", text)
        read_budget(text)

    return {
        "set": overridden, "set.key": overridden, "over": parse_over, "time": times, "slo": Slo,
        "rate": rate_or_load, "model": model_keys, "columns": named_column, "where": column_filter,
        "lengths": lambda text: length_keys(text, None), "storage": _address, "name": resolve_run,
    }  # fmt: skip
