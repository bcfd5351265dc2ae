"""``export``, ``import``, ``stacks`` and ``compare --with`` as a user types them."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.export import STACKS
from experiments.export.contract import ExportError
from experiments.export.reading import imported_policies, module_of, read_file
from experiments.runs import MANIFEST, write_atomic
from policies import SizeOrTimeout

SCENARIO = """
name = "small"
[workload]
requests = 2_000
arrivals = { process = "poisson", rate_per_s = 600.0 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 2.5
[policies.held]
kind = "static"
batch_size = 4
"""

TRITON = """
name: "mine"
max_batch_size: 16
dynamic_batching {
  max_queue_delay_microseconds: 3000
  default_queue_policy { allow_timeout_override: true }
}
instance_group [ { count: 2 } ]
"""


def typed(*arguments):
    """What a command prints, and its exit code."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a scenario and a comparison of it."""
    root = tmp_path_factory.mktemp("work")
    (root / "small.toml").write_text(SCENARIO)
    done = typed(
        "compare", root / "small.toml", "--engine", "simpy", "--no-load-curve", "--out",
        root / "runs",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return root


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    """A copy of that folder, to work in."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "work"))
    return Path("runs/small/compare-1")


def test_a_newer_tuning_that_came_to_no_result_is_told(work):
    cut_off = Path("runs/small/tune-1")
    cut_off.mkdir()
    write_atomic(cut_off / MANIFEST, "{}")
    for name in ("small", "latest"):
        done = typed("export", name, "--to", "json", "--policy", "waits")
        assert done.exit_code == 0, done.output
        assert done.stderr == (
            "note: runs/small/tune-1 came to no result; runs/small/compare-1 is the newest run "
            "that has one\n"
        )
    assert typed("export", work, "--to", "json", "--policy", "waits").stderr == ""
    shutil.rmtree(cut_off)
    assert typed("export", "small", "--to", "json", "--policy", "waits").stderr == ""


def test_an_export_goes_into_the_folder_of_the_run(work):
    done = typed("export", "small", "--to", "triton", "--to", "json", "--policy", "waits")
    assert done.exit_code == 0, done.output
    config = work / "export/triton/config.pbtxt"
    assert "max_queue_delay_microseconds: 2500" in config.read_text()
    assert (work / "export/json/policy.schema.json").is_file()
    assert done.stdout.splitlines()[:3] == [
        "triton: waits of runs/small/compare-1",
        "  runs/small/compare-1/export/triton/config.pbtxt",
        "  note: merge this into the config.pbtxt of small, which keeps its own backend, input and "
        "output",
    ]
    assert not list(work.rglob("*.part"))


def test_a_stack_that_cannot_gets_a_sentence_and_the_others_are_written(work):
    done = typed("export", work, "--to", "triton", "--to", "ray", "--policy", "held")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: triton: Triton cannot wait without an end for a full batch, and without an SLO "
        "nothing says how long it should\n"
    )
    assert not (work / "export/triton").exists()
    assert (work / "export/ray/app.py").is_file()


def test_a_refusal_names_what_of_the_run_the_stack_does_exactly(work):
    result = work / "result.json"
    found = json.loads(result.read_text())
    found["best"] = "held"
    result.write_text(json.dumps(found))
    done = typed("export", work, "--to", "triton")
    assert done.exit_code == 2
    found = done.stderr.partition("; of this run it does ")[2]
    name = found.partition(" exactly: ")[0]
    assert found == f"{name} exactly: --policy {name}\n"
    instead = typed("export", work, "--to", "triton", "--policy", name, "--json")
    assert instead.exit_code == 0, instead.output
    assert json.loads(instead.stdout)["stacks"]["triton"]["exact"] is True


def test_json_tells_what_was_written_and_what_was_refused(work):
    done = typed(
        "export", "latest", "--to", "ray", "--to", "triton", "--policy", "waits", "--json"
    )  # fmt: skip
    assert done.exit_code == 2
    found = json.loads(done.stdout)
    assert (found["run"], found["policy"], found["model"]) == (str(work), "waits", "small")
    assert found["stacks"]["triton"]["exact"] is True
    assert found["stacks"]["triton"]["files"] == [str(work / "export/triton/config.pbtxt")]
    assert found["stacks"]["ray"]["refused"].startswith("Ray Serve closes a batch by size")
    assert found["stacks"]["ray"]["nearest"].startswith("it closes batches by a timer")


def test_the_nearest_is_told_apart_from_what_was_simulated(work):
    done = typed("export", "latest", "--to", "ray", "--policy", "greedy", "--nearest")
    assert done.exit_code == 0
    assert done.stdout.startswith(
        "ray: greedy of runs/small/compare-1, NOT the policy that was simulated: see the file\n"
    )
    assert done.stdout.splitlines()[-1] == (
        "  to see what the difference costs: batchwright compare small --with "
        "runs/small/compare-1/export/ray"
    )


def test_a_timer_that_is_simulated_is_offered_for_comparison(work):
    done = typed("export", "latest", "--to", "ray", "--policy", "waits", "--nearest")
    assert "NOT the policy that was simulated" in done.stdout
    assert "to see what the difference costs" in done.stdout


def test_a_difference_that_is_not_simulated_is_not_offered_for_comparison(work):
    done = typed("export", "latest", "--to", "bentoml", "--policy", "waits", "--nearest")
    assert "NOT the policy that was simulated" in done.stdout
    assert "to see what the difference costs" not in done.stdout


def test_files_of_an_earlier_export_do_not_stay(work):
    left = work / "export/triton/bert-to-128/config.pbtxt"
    left.parent.mkdir(parents=True)
    left.write_text("")
    assert typed("export", "latest", "--to", "triton", "--policy", "waits").exit_code == 0
    assert [path.name for path in (work / "export/triton").rglob("*")] == ["config.pbtxt"]


def test_another_folder_keeps_what_else_is_in_it(work, tmp_path):
    beside = tmp_path / "out/triton/mine.txt"
    beside.parent.mkdir(parents=True)
    beside.write_text("mine")
    done = typed(
        "export", "latest", "--to", "triton", "--policy", "waits", "--out", tmp_path / "out",
        "--name", "bert-base",
    )  # fmt: skip
    assert done.exit_code == 0
    assert beside.read_text() == "mine"
    assert 'name: "bert-base"' in (tmp_path / "out/triton/config.pbtxt").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["latest"], "--to is missing; `batchwright stacks` lists the stacks"),
        (["latest", "--to", "tritn"], "there is no stack 'tritn'; did you mean triton?"),
        (
            ["latest", "--to", "triton", "--name", "a b"],
            "--name a b: must be letters, digits, dots, dashes and underscores",
        ),
        (
            ["latest", "--to", "triton", "--policy", "hold"],
            "run small/compare-1 has no policy 'hold'; did you mean held?",
        ),
        (
            ["larg", "--to", "triton"],
            "there is no run 'larg': give a run's folder, a scenario's name or `latest` (runs has "
            "runs of small)",
        ),
    ],
)
def test_wrong_arguments_get_one_sentence_and_nothing_is_written(work, arguments, sentence):
    done = typed("export", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {sentence}\n"
    assert not (work / "export").exists()


def test_an_import_is_a_table_that_a_scenario_takes(work):
    Path("config.pbtxt").write_text(TRITON)
    done = typed("import", "config.pbtxt", "--name", "my setting")
    assert done.exit_code == 0
    assert done.stdout == (
        '[policies."my setting"]\nkind = "size_or_timeout"\nmax_batch_size = 16\nmax_wait_ms = 3\n'
    )
    assert done.stderr == (
        "note: the file asks for 2 servers: give service.servers in the scenario\n"
    )
    assert tomllib.loads(done.stdout)["policies"]["my setting"]["max_wait_ms"] == 3


def test_an_import_as_json(work):
    Path("config.pbtxt").write_text(TRITON)
    found = json.loads(typed("import", "config.pbtxt", "--json").stdout)
    assert found == {
        "stack": "triton",
        "name": "config",
        "policy": {"kind": "size_or_timeout", "max_batch_size": 16, "max_wait_ms": 3},
        "servers": 2,
        "notes": [],
    }


def test_what_was_exported_is_imported_from_its_folder(work):
    typed("export", "latest", "--to", "triton", "--to", "json", "--policy", "waits")
    for stack in ("triton", "json"):
        done = typed("import", work / "export" / stack, "--name", "waits")
        table = tomllib.loads(done.stdout)["policies"]["waits"]
        assert table == {"kind": "size_or_timeout", "max_batch_size": 32, "max_wait_ms": 2.5}
    done = typed("import", work / "export")
    assert done.stderr == (
        f"error: {work}/export holds files of triton and json; give the folder or the file of one "
        "of them\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "nothing.pbtxt",
            None,
            "there is no file 'nothing.pbtxt'; give a file of a serving stack, or a folder of them",
        ),
        (
            "notes.txt",
            b"hello",
            "notes.txt looks like no file of a stack; name its stack with --from (triton, ray, "
            "kserve, torchserve, tensorflow-serving, mlserver, litserve, json)",
        ),
        ("config.pbtxt", b"\xff\xfe", "config.pbtxt is no text in UTF-8"),
        (
            "config.pbtxt",
            b"max_batchsize: 3",
            "config.pbtxt: max_batchsize is no field of it; did you mean max_batch_size?",
        ),
    ],
)
def test_a_file_that_is_no_stacks_gets_one_sentence(work, name, content, sentence):
    if content is not None:
        Path(name).write_bytes(content)
    done = typed("import", name)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {sentence}\n"


def test_a_stack_without_a_reader_says_which_have_one(work):
    Path("flags.txt").write_text("--max-num-seqs 4")
    done = typed("import", "flags.txt", "--from", "vllm")
    assert done.stderr == (
        "error: files of vLLM express no policy that could be read; stacks that are read: triton, "
        "ray, kserve, torchserve, tensorflow-serving, mlserver, litserve, json\n"
    )


def test_my_present_setting_takes_part_in_a_comparison(work):
    Path("config.pbtxt").write_text(TRITON)
    Path("waits.pbtxt").write_text(TRITON.replace("3000", "4000"))
    done = typed(
        "compare", "small.toml", "--with", "config.pbtxt", "--with", "waits.pbtxt", "--engine",
        "simpy", "--no-load-curve",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[0] == (
        "note: config.pbtxt as config: the file asks for 2 servers, the scenario has 1"
    )
    folder = Path("runs") / Path("runs/latest").read_text().strip()
    result = json.loads((folder / "result.json").read_text())
    assert {"config", "waits", "waits-2", "held", "greedy"} <= set(result["policies"])
    assert result["policies"]["waits-2"]["parameters"] == {
        "kind": "size_or_timeout",
        "max_batch_size": 16,
        "max_wait_ms": 4,
    }
    assert typed("export", "latest", "--to", "triton", "--policy", "config").exit_code == 0


def test_a_present_setting_that_does_not_fit_names_its_file(work):
    Path("config.pbtxt").write_text(TRITON.replace("16", "512"))
    done = typed("compare", "small.toml", "--with", "config.pbtxt")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == (
        "error: config.pbtxt: policies.config.max_batch_size: `1 <= max_batch_size <= 32` must "
        "hold, but got (max_batch_size=512)"
    )


def test_imported_policies_are_named_after_their_files(tmp_path):
    paths = [tmp_path / "a" / "config.pbtxt", tmp_path / "b" / "config.pbtxt"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(TRITON)
    found = imported_policies(paths)
    assert list(found) == ["config", "config-2"]
    assert found["config"] == SizeOrTimeout(16, 3_000_000)


def test_a_folder_of_too_many_files_is_refused(tmp_path):
    for number in range(201):
        (tmp_path / f"{number}.json").write_text("{}")
    with pytest.raises(ExportError) as caught:
        read_file(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds 201 files; give one file, or the folder of an export"
    )


def test_every_stack_of_the_table_writes_and_reads_what_it_says():
    for row in STACKS.values():
        module = module_of(row)
        assert callable(module.export)
        assert hasattr(module, "read") == bool(row.files)


def test_stacks_are_listed_with_what_they_express(work):
    listed = json.loads(typed("stacks", "--json").stdout)["stacks"]
    assert [each["name"] for each in listed] == list(STACKS)
    done = typed("stacks")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "NVIDIA Triton" in done.stdout
