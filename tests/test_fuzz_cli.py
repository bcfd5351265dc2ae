"""The command line with lists of arguments at random: it does what it can, or says what is wrong.

Never a traceback, never an exit code that is not documented, and with ``--json`` one object.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import click
import pytest
import typer
from fuzz_engine import FEWEST, limits, processor_time
from fuzz_runs import SCENARIO, made
from typer.testing import CliRunner

from experiments.cli import app

SHORT_S, LONG_S = 5.0, 60.0
SEED = int(os.environ.get("BATCHWRIGHT_FUZZ_SEED", "0"))

CODES = {0, 1, 2}
ODD = ("Traceback", "the run failed:", "object at 0x", "<class '")
"""What no sentence says; *the run failed* is how an error that nobody expected begins."""

NOT_TRIED = {"doctor", "measure", "validate"}
"""They start processes or measure real time; their options are read by readers that are fuzzed."""

FILES = ("s.toml", "broken.toml", "log.csv", "config.pbtxt", "table.csv", "runs", "empty", ".")
WORDS = (
    *FILES,
    *("small", "bert", "latest", "small/simulate-1", "runs/small/compare-1", "greedy", "waits"),
    *(
        "triton",
        "json",
        "nothing",
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "1",
        "2.5",
        "1e400",
        "nan",
        "inf",
    ),
    *("9" * 400, "x" * 300, "é😀", "a=b", "=", "service.servers=2", "workload.requests=1e999999"),
    *("service.servers=1,2", "workload.arrivals.load=0.1:0.9:3", "p99", "mean", "tokens", "\udcff"),
    *("../..", "/dev/null", "~nobody", "p95=20", "none", "60%", "2.0,0.3", "arrival=t", "[", "{}"),
    *("bert-base-a100-tensorrt-fp16", "sqlite:///x.db", "imdb", "log.csv\n", "%s", "{0}"),
)

NOT_DRAWN = {
    "--debug",
    "--pdf",
    "--resume",
    "--install-completion",
    "--show-completion",
    "--storage",
    "--picture",
}
"""A traceback that is asked for, a browser, what others test, the user's own shell, a server."""


def commands(group=None, names=()):
    """Every command with the names that lead to it."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if name in NOT_TRIED:
            continue
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


def line(rng: random.Random, table) -> list[str]:
    """A command with arguments that mostly fit, and sometimes do not."""
    names, command = rng.choice(table)
    words = list(names)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words += [rng.choice((*FILES, *WORDS))] if rng.random() < 0.9 else []
            continue
        chance = 0.7 if parameter.required else 0.25
        if rng.random() > chance or NOT_DRAWN & set(parameter.opts):
            continue
        words.append(rng.choice(parameter.opts))
        if not parameter.is_flag:
            words.append(rng.choice(WORDS))
    if rng.random() < 0.1:
        words.insert(rng.randrange(len(words) + 1), rng.choice(WORDS))
    return words


def prepare(folder: Path) -> None:
    """Files to be named: good ones, broken ones, and runs."""
    (folder / "s.toml").write_text(SCENARIO)
    (folder / "broken.toml").write_text(SCENARIO.replace("greedy", "gredy"))
    (folder / "log.csv").write_text("arrival_s,start_s,finish_s\n" + "".join(
        f"{k},{k + 1},{k + 2}\n" for k in range(40)))  # fmt: skip
    (folder / "config.pbtxt").write_text("max_batch_size: 8\ndynamic_batching { }\n")
    (folder / "table.csv").write_text("batch_size,length_tokens,latency_ms_mean\n1,8,2\n2,8,3\n")
    (folder / "empty").write_text("")
    for files in made().values():
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def wrong_with(words: list[str], done) -> str | None:
    """What a call must not do; None where it did not."""
    said = done.stdout + done.stderr
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return f"{done.exception!r} escaped"
    if done.exit_code not in CODES:
        return f"exit code {done.exit_code}"
    if odd := next((sign for sign in ODD if sign in said), None):
        return f"said {odd!r}: {said[-1500:]}"
    if done.exit_code == 2 and not done.stderr.strip():
        return "exit code 2 and not a word"
    asked = "--json" in words and "--help" not in words and "-h" not in words
    if asked and done.exit_code == 0:
        try:
            json.loads(done.stdout)
        except ValueError:
            return f"--json printed {done.stdout[:300]!r}"
    return None


def fuzzed(seconds: float, folder: Path) -> tuple[int, list[str]]:
    """How many calls were made, and what was wrong."""
    prepare(folder)
    table, found, calls = list(commands()), {}, 0
    end = time.monotonic() + float(os.environ.get("BATCHWRIGHT_FUZZ_S", seconds))
    while calls < FEWEST or time.monotonic() < end:
        words = line(random.Random(f"{SEED}/{calls}"), table)
        with processor_time(60.0):
            done = CliRunner().invoke(app, words, input="")
        calls += 1
        wrong = wrong_with(words, done)
        if wrong is not None:
            found.setdefault(wrong[:120], f"batchwright {words}\n  {wrong}")
    return calls, list(found.values())


@pytest.mark.parametrize(
    "seconds", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_arguments_at_random_end_in_a_sentence(seconds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with limits():
        calls, wrong = fuzzed(seconds, tmp_path)
    assert not wrong, f"{len(wrong)} of {calls} calls\n" + "\n".join(wrong)


def test_every_command_that_is_safe_is_called(tmp_path):
    table = list(commands())
    drawn = {tuple(line(random.Random(k), table)[:1]) for k in range(300)}
    assert {names[:1] for names, _ in table} <= drawn
    assert len(table) > 15


def test_a_command_that_fails_is_noticed():
    class Done:
        stdout, stderr, exit_code, exception = "", "error: the run failed: KeyError: 'a'", 1, None

    assert "the run failed" in wrong_with([], Done)
    Done.stderr, Done.exit_code = "", 2
    assert wrong_with([], Done) == "exit code 2 and not a word"
    Done.stdout, Done.exit_code = "no json", 0
    assert "no json" in wrong_with(["--json"], Done)
