"""``batchwright doctor``: what it finds, for what, and when it is not satisfied."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments import doctor, doctor_machine, doctor_stacks, findings
from experiments.cli import app
from experiments.cli_doctor import brief, summary, told
from experiments.doctor import EXTRAS, Need, examine, healthy, needs
from experiments.findings import BROKEN, MISSING, OK, Finding, probe
from experiments.stacks import STACKS

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def quick(monkeypatch):
    """Answers of processes, by what they are asked; none is started."""
    answers = {
        "packages": {"broken": {}}, "cache": {"folder": "cache", "kernel": "cache/k"},
        "priority": {"allowed": True}, "browser": {"path": "/usr/bin/chromium"},
        "stacks": {name: {"python": None, "why": None} for name in STACKS},
    }  # fmt: skip
    for module in (doctor, doctor_machine, doctor_stacks):
        monkeypatch.setattr(module, "probe", lambda what, *_: answers[what])
    return answers


def named(found, name, part=None):
    (one,) = [each for each in found if each.name == name and part in (None, each.part)]
    return one


def test_this_machine_is_fit_for_simulations_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert (
        "Everything is there that simulate, compare, tune, capacity and export need."
        in result.stdout
    )
    assert "\x1b" not in result.stdout
    table = result.stdout[: result.stdout.index("Everything")]
    assert max(map(len, table.splitlines())) <= 100
    assert f"numba {importlib.metadata.version('numba')}" in " ".join(result.stdout.split())


def test_it_leaves_no_trace(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_json_has_every_finding(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["healthy"] is True
    keys = {"part", "name", "state", "found", "needed_for", "remedy", "required"}
    assert all(set(each) == keys for each in found["findings"])
    assert {each["part"] for each in found["findings"]} == {
        "required", "optional", "stacks", "devices", "folders", "system",
    }  # fmt: skip


def test_what_is_needed_is_what_the_project_says():
    wanted = {need.name for need in needs() if need.extra is None}
    assert wanted == {line.partition(">")[0] for line in PROJECT["dependencies"]}
    extras = set(PROJECT["optional-dependencies"])
    assert set(EXTRAS) == extras - {"dev", "docs"} - set(STACKS)
    torch = next(need for need in needs() if need.name == "torch")
    assert torch.extra == "models"
    assert f"torch>={torch.least}" in PROJECT["optional-dependencies"]["models"]


def test_a_missing_extra_names_its_commands_and_its_pip_line(monkeypatch, quick):
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "pyarrow" else "99.0")
    monkeypatch.setattr(doctor, "find_spec", lambda name: name)
    found = named(examine(Path("runs")), "parquet")
    assert (found.state, found.required) == (MISSING, False)
    assert "pip install 'batchwright[parquet]'" in told(found)
    assert "without it they are CSV" in told(found)
    lines = summary(examine(Path("runs")))
    assert lines[-1] == "For everything else: pip install 'batchwright[parquet]'"


def test_a_package_that_is_too_old_is_broken(monkeypatch, quick):
    monkeypatch.setattr(doctor, "version_of", lambda name: "0.60.9" if name == "numba" else "99.0")
    found = named(examine(Path("runs")), "numba")
    assert (found.state, found.required) == (BROKEN, True)
    assert "older than 0.61" in found.found
    assert found.remedy == "pip install 'numba>=0.61'"


def test_a_required_package_that_cannot_be_imported_makes_the_exit_code_1(
    tmp_path, monkeypatch, quick
):
    monkeypatch.chdir(tmp_path)
    quick["packages"] = {"broken": {"numba": "ImportError: Numba needs NumPy 2.4 or less"}}
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "Nothing can be relied on before this is repaired: numba." in result.stdout
    text = " ".join(result.stdout.split())
    assert "but ImportError: Numba needs NumPy 2.4 or less" in text
    assert "pip install --force-reinstall 'numba>=0.61'" in text


def test_imports_that_crash_are_broken(quick):
    quick["packages"] = "Segmentation fault"
    found = examine(Path("runs"))
    assert not healthy(found)
    assert named(found, "imports").found == "Segmentation fault"


def test_what_is_not_required_may_be_missing(quick):
    quick["browser"] = {"path": None}
    quick["priority"] = {"allowed": False}
    found = examine(Path("runs"))
    assert healthy(found)
    assert "apt install chromium" in told(named(found, "chromium"))
    assert "SYS_NICE" in told(named(found, "real-time priority"))


def test_a_runs_folder_that_cannot_be_written_is_broken(monkeypatch, quick, tmp_path):
    (tmp_path / "runs").write_text("a file")
    found = examine(tmp_path / "runs")
    assert named(found, "runs").state == BROKEN
    assert "--out DIR" in named(found, "runs").remedy
    assert not healthy(found)


def test_a_runs_folder_that_is_not_there_yet_is_fine(quick, tmp_path):
    found = named(examine(tmp_path / "deep" / "runs"), "runs")
    assert found.state == OK
    assert "made by the first run" in found.found


def test_a_full_disk_is_noticed(monkeypatch, quick):
    class Usage:
        free = 10 * 2**20

    monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda path: Usage)
    found = named(examine(Path("runs")), "free space")
    assert found.state == BROKEN
    assert "make room" in found.remedy


@pytest.mark.parametrize(
    ("answer", "driver", "state", "says"),
    [
        ({"cuda": "12.6", "gpus": ["NVIDIA H200"]}, "an H200", OK, "NVIDIA H200 (CUDA 12.6)"),
        ({"cuda": None, "gpus": []}, None, MISSING, "not needed for simulations"),
        ({"cuda": None, "gpus": []}, "NVIDIA L4, 570", MISSING, "install a torch built for CUDA"),
        ("OSError: libcudart.so", None, BROKEN, "pip install --force-reinstall"),
    ],
    ids=str,
)  # fmt: skip
def test_gpus_are_what_torch_sees(monkeypatch, quick, answer, driver, state, says):
    quick["torch"] = answer
    monkeypatch.setattr(
        doctor_machine, "version_of", lambda name: "2.11" if name == "torch" else None
    )
    monkeypatch.setattr(doctor_machine, "_driver", lambda: driver)
    found = named(examine(Path("runs")), "torch's GPUs")
    assert found.state == state
    assert says in told(found)


def test_without_torch_a_gpu_is_told_by_its_driver(monkeypatch, quick):
    monkeypatch.setattr(doctor_machine, "version_of", lambda name: None)
    monkeypatch.setattr(doctor_machine, "_driver", lambda: "NVIDIA L4, 570.1")
    found = examine(Path("runs"))
    assert named(found, "nvidia driver").found == "NVIDIA L4, 570.1"
    assert "pip install 'batchwright[models]'" in told(named(found, "torch's GPUs"))


def test_a_stack_is_told_with_where_it_is_or_how_it_is_installed(quick):
    quick["stacks"]["litserve"] = {"python": sys.executable, "why": None}
    quick["stacks"]["triton"] = {"python": "/elsewhere/bin/python", "why": None}
    quick["stacks"]["torchserve"] = {"python": None, "why": "TorchServe needs java (Java 11)"}
    found = examine(Path("runs"))
    assert told(named(found, "litserve", "stacks")) == "litserve 0.2.19"
    assert told(named(found, "triton")).endswith(", in an environment of its own")
    assert told(named(found, "torchserve")) == (
        "TorchServe needs java (Java 11); for try --on torchserve"
    )
    assert named(found, "ray").state == MISSING
    assert told(named(found, "ray")) == (
        "390 MB; for try --on ray\nbatchwright try RUN --on ray --install"
    )


def test_stacks_exclude_one_another_and_are_not_in_the_line_that_installs_everything(
    monkeypatch, quick
):
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "pyarrow" else "99.0")
    monkeypatch.setattr(doctor, "find_spec", lambda name: name)
    assert summary(examine(Path("runs")))[-1].endswith("'batchwright[parquet]'")


def test_every_stack_is_asked_for_real():
    assert set(probe("stacks")) == set(STACKS)


@pytest.mark.parametrize(
    ("version", "state"), [("3.10.9", BROKEN), ("3.11.0", OK), ("3.14.0", BROKEN)]
)
def test_python_has_a_least_and_a_most(monkeypatch, quick, version, state):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    assert named(examine(Path("runs")), "python").state == state


def test_processes_are_asked_for_real():
    assert probe("packages", "json", "no_such_package") == {
        "broken": {"no_such_package": "ModuleNotFoundError: No module named 'no_such_package'"}
    }
    assert set(probe("cache")) == {"folder", "kernel"}
    assert probe("priority") in ({"allowed": True}, {"allowed": False})
    assert isinstance(probe("torch") if doctor.find_spec("torch") else "", dict | str)


def test_a_process_that_fails_is_a_sentence_and_one_that_hangs_ends(monkeypatch, tmp_path):
    assert "KeyError" in probe("nonsense")
    hangs = tmp_path / "python"
    hangs.write_text("#!/bin/sh\nexec sleep 3600\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(findings.sys, "executable", str(hangs))
    monkeypatch.setattr(findings, "PROBE_S", 0.01)
    assert probe("packages", "numba") == "no answer within 0.01 s"


def test_this_process_imports_nothing_heavy():
    code = (
        "import sys\nfrom pathlib import Path\nfrom experiments import doctor\n"
        "doctor.examine(Path('runs'))\n"
        "print([name for name in ('torch', 'numba', 'numpy', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_packages_that_are_fine_are_one_line():
    fine = Finding("required", "numpy", OK, "2.4", required=True)
    old = Finding("required", "numba", BROKEN, "0.1", required=True)
    assert [each.name for each in brief([fine, old])] == ["packages", "numba"]


def test_completion_is_found_where_it_was_installed(monkeypatch, tmp_path, quick):
    monkeypatch.setattr(doctor_machine.Path, "home", lambda: tmp_path)
    assert "batchwright --install-completion" in told(named(examine(Path("runs")), "completion"))
    file = tmp_path / ".bash_completions" / "batchwright.sh"
    file.parent.mkdir()
    file.write_text("")
    assert named(examine(Path("runs")), "completion").state == OK


def test_versions_with_labels_are_numbers():
    assert doctor._numbers("2.11.0+cu126") == (2, 11, 0)
    assert doctor._numbers("5.0rc1")[:2] == (5, 0)
    assert Need("a", "1", None).extra is None


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'NVIDIA L4, 570.1'; echo 'NVIDIA L4, 570.1'", "NVIDIA L4, 570.1; NVIDIA L4, 570.1"),
        ("echo 'No devices were found'; exit 6", None),
        ("exit 0", None),
    ],
)
def test_the_driver_is_asked_by_its_own_tool(tmp_path, monkeypatch, script, found):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert doctor_machine._driver() == found
