"""Readers of what the commands write: folders of runs, and studies that are gone on with."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from fuzz_inputs import Files
from typer.testing import CliRunner

from experiments.cli import app
from experiments.cli_speech import input_errors
from experiments.sentences import RunFailed

SCENARIO = """
name = "small"
[workload]
requests = 3000
arrivals = { process = "poisson", load = 0.5 }
lengths = { distribution = "uniform", min = 10, max = 90 }
[[workload.tiers]]
name = "all"
slo = { percentile = 50, ms = 60.0 }
[service]
model = { base_ms = 4.0, per_request_ms = 0.4, per_length_ms = 0.002, max_batch_size = 8 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 8
max_wait_ms = 10.0
[policies.greedy]
kind = "greedy"
max_batch_size = 8
[tune]
objective = ["mean"]
slo = false
trials = 16
replications = 1
policies = ["greedy", "waits"]
"""

KEPT = (".json", ".toml", ".db")
"""Endings of what is read again; figures are not."""

COMMANDS = (
    ("simulate",),
    ("compare", "--no-load-curve"),
    ("sweep", "--over", "workload.arrivals.load=0.3,0.5"),
    ("capacity", "--rate", "500"),
    ("tune",),
)


@cache
def made() -> dict[str, Files]:
    """The files of a run of every kind, by its command."""
    here, found = Path.cwd(), {}
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            Path("small.toml").write_text(SCENARIO)
            for words in COMMANDS:
                command, *options = words
                done = CliRunner().invoke(app, [command, "small.toml", *options, "--json"])
                assert done.exit_code == 0, done.output
                run = Path("runs") / "small" / f"{command}-1"
                files = {
                    path.as_posix(): path.read_bytes() for path in run.iterdir() if _kept(path)
                }
                found[command] = {**files, "runs/latest": f"small/{command}-1\n".encode()}
            why = CliRunner().invoke(app, ["diagnose", "runs/small/simulate-1", "--json"])
            assert why.exit_code == 0, why.output
            found["simulate"]["runs/small/simulate-1/diagnosis.json"] = why.stdout.encode()
        finally:
            os.chdir(here)
    return found


def _kept(path: Path) -> bool:
    return path.is_file() and path.name.endswith(KEPT)


def run_seeds() -> list[Files]:
    return [
        {name: content for name, content in files.items() if not name.endswith(".db")}
        for files in made().values()
    ]


def read_run(folder: Path) -> None:
    """As ``report``, ``export`` and ``diagnose`` read it."""
    from experiments.diagnose import diagnose_scenario
    from experiments.export import STACKS
    from experiments.export.contract import NotExpressible
    from experiments.export.reading import module_of
    from experiments.export.run import setting_of_run
    from experiments.report import html_of
    from experiments.report.found import opened
    from experiments.rerun import scenario_of_run
    from experiments.runs import resolve_run

    def exported(run):
        setting = setting_of_run(run)
        for stack in ("triton", "json", "ray"):
            try:
                module_of(STACKS[stack]).export(setting, nearest=True)
            except NotExpressible as refusal:
                assert str(refusal)

    refused = None
    for each in (
        lambda: html_of([opened("latest", Path("runs"))]),
        lambda: exported(resolve_run("latest", Path("runs"))),
        lambda: diagnose_scenario(scenario_of_run(resolve_run("latest", Path("runs")))),
    ):
        try:
            each()
        except input_errors() as error:
            refused = error
    if refused is not None:
        raise refused


STUDY = "runs/small/tune-1/study.db"


def study_seeds() -> list[Files]:
    tune = made()["tune"]
    return [{"study.db": tune[STUDY]}]


def read_study(folder: Path) -> None:
    """As ``tune --resume`` does, as far as the judging."""
    from experiments.config import load_scenario
    from experiments.tune.contestants import contestants_of
    from experiments.tune.course import SEARCH, course_of
    from experiments.tune.database import database_at, sqlite_url
    from experiments.tune.finals import field_of
    from experiments.tune.goal import goal_of
    from experiments.tune.scores import Scorer
    from experiments.tune.search import Search
    from experiments.tune.tuning import driver, loads_of

    place = folder / "scenario"
    place.mkdir()
    (place / "small.toml").write_text(SCENARIO)
    scenario = load_scenario(place / "small.toml")
    goal, course = goal_of(scenario), course_of(scenario, loads_of(scenario), [SEARCH])
    scorer = Scorer(scenario, goal, course, driver("kernel"))
    name = f"{scenario.name}-{scenario.hash[:8]}"
    with database_at(sqlite_url(folder / "study.db")) as database:
        search = Search(
            scenario, goal, scorer, contestants_of(scenario), database, name, lambda *_: None
        )
        field_of(search.go(), goal)


def study_refusals() -> tuple[type[BaseException], ...]:
    """A database that fails while it is used has failed, whoever's fault that is."""
    return (*input_errors(), RunFailed)
