"""What an editor says of each key of a scenario: the words of its table, and its unit."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

UNITS = {
    "_gib_per_s": "GiB per second.",
    "_per_s": "Per second.",
    "_ms": "Milliseconds.",
    "_us": "Microseconds.",
    "_ns": "Nanoseconds.",
    "_s": "Seconds.",
    "_gib": "GiB.",
    "_mib": "MiB.",
    "_w": "Watts.",
}
"""Endings of keys, the longest first."""

MODULES = ("schema*.py", "iteration/schema.py")
ROLE = re.compile(r":\w+:`~?([^`]*)`")
"""A name in a docstring, as Sphinx reads it."""

COMMON = {
    "rate_per_s": "The mean arrival rate, in requests per second.",
    "load": "The mean arrival rate as a share of the largest rate that the servers can do.",
    "unit": "What lengths count; not given: what the profile's do.",
    "max_batch_size": "The largest batch of the model.",
    "noise": "How service times vary.",
    "min": "The shortest length.",
    "max": "The longest length.",
    "tier": "The tier that is meant; not given: all requests.",
    "requests": "How many requests.",
    "arrivals": "When requests arrive: a table with the key process.",
    "lengths": "How long requests are: dataset, histogram, constant, distribution or column.",
    "prompts": "Tokens of prompts: dataset, histogram, constant, distribution or column.",
    "outputs": "Tokens of answers: dataset, histogram, constant, distribution or column.",
    "timeout": "How long a request waits before it gives up.",
    "model": "Service times as a formula or a table, instead of a profile.",
    "percentile": "The percentile that the target is for.",
    "base_ms": "What every batch takes, whatever is in it.",
    "per_request_ms": "What each request of the batch adds.",
    "per_length_ms": "What each token (or ms of audio) adds, padding included.",
    "table_ms": "The time of a batch of 1, of 2, ...",
    "idle_w": "What a server draws while it waits.",
    "at_most": "The largest value allowed.",
    "at_least": "The smallest value allowed.",
    "fixed_gib": "Weights, and what else is there without a batch.",
    "per_request_mib": "What each request of a batch takes.",
}
"""Keys that mean the same in every table."""

OF_TABLE = {
    ("Spec", "name"): "The scenario's name; not given: that of the file.",
    ("Spec", "description"): "One line for lists and reports.",
    ("Spec", "run"): "How the scenario is run.",
    ("Spec", "seeds"): "A seed for each source of randomness.",
    ("Spec", "tune"): "What `batchwright tune` looks for.",
    ("Workload", "requests"): "How many requests to draw; or give duration_s.",
    ("Workload", "duration_s"): "For how long requests arrive; or give requests.",
    ("Workload", "tiers"): "Classes of requests, the most urgent first: [[workload.tiers]].",
    ("Tier", "share"): "The share of all requests; the shares of all tiers add up to 1.",
    ("Tier", "slo"): "The latency target of the tier.",
    ("Service", "profile"): "A shipped profile's name (batchwright profile list), or its file.",
    ("Service", "servers"): "How many servers share the queue.",
    ("Service", "capacity"): "How many may wait before the next one is rejected.",
    ("Service", "memory"): "What batches take of the device's memory.",
    ("Service", "preprocessing"): "CPU workers before the GPU.",
    ("Service", "postprocessing"): "CPU workers after the GPU.",
    ("Service", "over_length"): "What becomes of a request longer than the profile knows.",
    ("Capacity", "counts"): "Whether requests in service count, too.",
    ("Run", "replications"): "Independent runs of the scenario.",
    ("Clumped", "spread_ms"): "The time over which a group arrives.",
    ("TraceFile", "columns"): "Names of the file's columns by what they hold.",
    ("TraceFile", "recorded"): "Of how many requests of a log the file was made, if it has more.",
    ("TraceFile", "time_scale"): "Stretches time: 0.5 replays twice as fast.",
    ("Columns", "arrival_s"): "The column of arrivals in seconds.",
    ("Columns", "length"): "The column of lengths.",
    ("Columns", "tier"): "The column of tiers: names or numbers from 0.",
    ("Closed", "think"): "How the time that clients think is distributed.",
    ("Dataset", "dataset"): "The name of a public data set that comes with the package.",
    ("Histogram", "histogram"): "A CSV file with the header tokens,count or audio_ms,count.",
    ("Constant", "constant"): "The length of every request.",
    ("Column", "column"): "The name of the trace's column.",
    ("Cluster", "instances_per_gpu"): "Instances that share a GPU; more than 1 needs slowdown.",
    ("Cluster", "autoscaler"): "What starts and stops replicas.",
    ("Cluster", "outages"): "Failures: a list { replica, at_s, lasts_s }, or { every_s, lasts_s }.",
    ("Group", "profile"): "A profile's name or file.",
    ("Seeds", "service"): "Of service times, routers and failures.",
    ("Seeds", "arrivals"): "Of arrivals.",
    ("Seeds", "lengths"): "Of lengths.",
    ("Seeds", "timeouts"): "Of the patience of requests.",
    ("Seeds", "tuner"): "Of the search.",
    ("ExponentialTimeout", "process"): "How patience is distributed.",
    ("Backlog", "process"): "The arrival process.",
    ("Tune", "constraints"): "What else has to hold.",
    ("Tune", "power"): "What servers draw; needed for the objective energy.",
    ("Tune", "price"): "What servers cost; needed for the objective cost.",
    ("Tune", "space"): "Ranges for a policy's numbers: { NAME = { max_wait_ms = [0, 5] } }.",
    ("TokenSpec", "name"): "The scenario's name; not given: that of the file.",
    ("TokenSpec", "description"): "One line for lists and reports.",
    ("TokenSpec", "run"): "How the scenario is run.",
    ("TokenSpec", "seeds"): "A seed for each source of randomness.",
    ("TokenSpec", "tune"): "What `batchwright tune` looks for.",
    ("TokenWorkloadTable", "requests"): "How many requests to draw; or give duration_s.",
    ("TokenWorkloadTable", "duration_s"): "For how long requests arrive; or give requests.",
    ("TokenWorkloadTable", "tiers"): "Classes of requests, the most urgent first.",
    ("TokenTier", "share"): "The share of all requests; the shares of all tiers add up to 1.",
    ("TokenTier", "slo"): "What the tier is promised.",
    ("EngineTable", "times"): "Times of iterations as a formula, instead of a profile.",
    ("EngineTable", "memory"): "Memory for keys and values; not given: memory is no limit.",
    ("EngineTable", "preemption"): "What becomes of a sequence that is put back: its keys and "
    "values are computed again, or copied to the host and back.",
    ("EngineTable", "noise"): "How the times of iterations vary.",
    ("Memory", "blocks"): "Blocks in all; or give gib.",
    ("Memory", "gib"): "GiB for keys and values; needs kv_bytes_per_token.",
    ("Memory", "kv_bytes_per_token"): "Bytes of keys and values of one token.",
    ("Memory", "block_tokens"): "Tokens of a block.",
}  # fmt: skip
CHOSEN = {"process": "The arrival process.", "kind": "The kind.", "distribution": "The kind."}


@cache
def attribute_words() -> dict[tuple[str, str], str]:
    """Docstrings below the attributes of tables, by table and key."""
    found = {}
    here = Path(__file__).parent
    for path in sorted(one for pattern in MODULES for one in here.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.update(below_attributes(node))
    return found


def below_attributes(node: ast.ClassDef) -> dict[tuple[str, str], str]:
    """Docstrings below the attributes of a class, by class and attribute."""
    found = {}
    for line, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            text = " ".join(ROLE.sub(r"\1", below.value.value.replace("``", "")).split())
            found[node.name, line.target.id] = text
    return found


def described(
    table: str, key: str, value: dict[str, Any], words: dict[tuple[str, str], str]
) -> dict[str, Any]:
    """A key's schema with what it means and its unit."""
    told = (
        OF_TABLE.get((table, key))
        or words.get((table, key))
        or _sentence(value.get("description", ""))
        or CHOSEN.get(key)
        or COMMON.get(key, "")
    )
    unit = next((text for ending, text in UNITS.items() if key.endswith(ending)), "")
    if key == "ms":
        unit = "Milliseconds."
    if unit and unit[:-2].lower() in told.lower():
        unit = ""
    told = " ".join(filter(None, (told, unit)))
    return {**value, "description": told} if "$ref" not in value else _beside(value, told)


def _beside(value: dict[str, Any], told: str) -> dict[str, Any]:
    """Draft 7 ignores what stands beside a reference, so it moves into ``allOf``."""
    rest = {key: item for key, item in value.items() if key not in ("$ref", "description")}
    return {"allOf": [{"$ref": value["$ref"]}], **rest, "description": told}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text and not text.endswith(".") else text
