"""``batchwright try`` as a user meets it when something is wrong: one sentence, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from trying import SCENARIO, batchwright

from experiments.stacks import STACKS
from experiments.stacks import environments as places
from experiments.stacks.asking import asked_for
from experiments.stacks.contract import StackError


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.toml").write_text(SCENARIO)
    return "slow.toml"


@pytest.fixture
def anywhere(monkeypatch):
    """Every stack counts as installed: what is refused is refused before it is started."""
    monkeypatch.setattr(places, "is_here", lambda _: True)


def refused(*arguments):
    done = batchwright("try", *arguments)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.strip().splitlines()
    assert not done.stdout
    return line


def test_without_a_stack_it_says_which_there_are(scenario):
    assert refused(scenario) == f"error: --on is missing; it is one of {', '.join(STACKS)}"


def test_a_stack_that_is_misspelt_is_told_the_nearest(scenario):
    assert refused(scenario, "--on", "tritn") == (
        "error: --on tritn is no stack; did you mean triton?"
    )


def test_a_stack_that_is_exported_to_but_not_run_says_so(scenario):
    assert refused(scenario, "--on", "vllm").startswith(
        "error: --on vllm: its server cannot be run from here; those that can are triton, "
    )


@pytest.mark.parametrize("load", ["0", "1.2", "x", "0.3,,0.5"])
def test_a_load_that_is_none_is_told_what_is_right(scenario, load):
    assert "must be a share of the largest rate" in refused(
        scenario, "--on", "litserve", "--load", load
    )


def test_a_window_that_is_no_time_is_told_what_is_right(scenario):
    assert refused(scenario, "--on", "litserve", "--window", "ten") == (
        "error: --window must be a time as in 15s or 1m, but got 'ten'"
    )


def test_a_stack_that_is_not_installed_says_how_to_install_it(scenario, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "is_here", lambda _: False)
    assert refused(scenario, "--on", "triton").startswith(
        "error: NVIDIA Triton is not installed: --install makes an environment for it in "
        f"{tmp_path / 'cache' / 'environments'}/triton-"
    )


def test_a_stack_for_another_python_says_which(monkeypatch):
    monkeypatch.setattr(places, "is_here", lambda _: False)
    row = STACKS["triton"]._replace(pythons=((3, 5), (3, 6)))
    with pytest.raises(StackError, match=r"NVIDIA Triton runs with Python 3\.5, 3\.6, but this"):
        places.python_of(row, install=False, say=print)


def test_a_stack_that_needs_a_program_says_which(monkeypatch):
    monkeypatch.setattr(places, "is_here", lambda _: True)
    row = STACKS["triton"]._replace(programs=(("no-such-program", "for its heart"),))
    with pytest.raises(StackError, match=r"needs no-such-program \(for its heart\), which is not"):
        places.python_of(row, install=False, say=print)


def test_an_environment_that_cannot_be_made_is_not_left_half_made(tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHWRIGHT_CACHE", str(tmp_path))
    row = STACKS["triton"]._replace(needs=("batchwright-no-such-package==0.0.0",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match="NVIDIA Triton cannot be installed: "):
        places.python_of(row, install=True, say=print)
    assert not list((tmp_path / "environments").iterdir())


def test_an_environment_is_made_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(places, "is_here", lambda _: False)
    row = STACKS["triton"]._replace(needs=())
    run = {"venv": lambda argv: Path(argv[-1]).mkdir(parents=True), "pip": lambda _: None}
    monkeypatch.setattr(places, "_run", lambda argv, _: run[argv[2]](argv))
    said = []
    first = places.python_of(row, install=True, say=said.append)
    assert places.python_of(row, install=False, say=said.append) == first
    assert len(said) == 1


@pytest.mark.parametrize(
    ("need", "here"),
    [
        ("typer==0.0.0", False),
        ("typer<99", True),
        ("typer<0.1", False),
        ("no-such-thing==1", False),
    ],
)
def test_what_is_installed_is_compared_with_what_is_needed(need, here):
    assert places.is_here((need,)) is here


@pytest.mark.parametrize("row", STACKS.values(), ids=STACKS)
def test_what_a_stack_needs_is_pinned(row):
    assert all(places.PIN.fullmatch(need) for need in row.needs)


def test_a_closed_loop_cannot_be_tried(anywhere, tmp_path):
    line = refused("closed_loop", "--on", "litserve", "--out", tmp_path)
    assert line.startswith("error: scenario closed_loop cannot be tried: its clients wait")


def test_servers_with_queues_of_their_own_cannot_be_tried(anywhere, tmp_path):
    line = refused(
        "cluster_8", "--on", "triton", "--out", tmp_path, "--set", "workload.requests=2000"
    )
    assert "cannot be tried: it has several servers with queues of their own" in line


def test_a_policy_that_the_stack_cannot_do_is_refused_with_the_nearest(
    anywhere, scenario, tmp_path
):
    line = refused(scenario, "--on", "litserve", "--policy", "waiting", "--out", tmp_path)
    assert line.startswith("error: litserve: ")
    assert "--nearest" in line
    assert not list(tmp_path.glob("slow/*/")), "a run in which nothing came to be is not left"


def asked(stack, source="slow.toml", policy=None, **how):
    return asked_for(source, policy, (), Path("runs"), STACKS[stack], **{"nearest": False, **how})


def test_without_a_policy_the_first_that_the_stack_does_is_tried(scenario):
    found = asked("litserve")
    assert found.name == "collecting"
    assert found.source == (
        "policy collecting of scenario slow: the first that LitServe does exactly; waiting it "
        "does not"
    )
    assert asked("triton").source == (
        "policy waiting of scenario slow: the first that NVIDIA Triton does exactly"
    )
    assert asked("litserve", policy="collecting").source == "policy collecting of scenario slow"


def test_where_the_stack_does_none_exactly_a_sentence_says_what_there_is(anywhere, scenario):
    line = refused(scenario, "--on", "bentoml")
    assert line == (
        "error: BentoML does none of the policies of scenario slow exactly (waiting, collecting, "
        "greedy); it does cork on one server, which learns its wait as BentoML does; nothing else "
        "exactly; give --nearest to run what is nearest to the first, or to --policy"
    )


def test_with_nearest_the_first_that_has_something_near_is_tried(scenario):
    found = asked("bentoml", nearest=True)
    assert found.source == (
        "policy waiting of scenario slow: the first that BentoML comes near to, as it does none "
        "exactly"
    )
    assert found.wish.nearest


def test_policies_that_tell_tiers_apart_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiered = SCENARIO.replace("[policies.waiting]", '[policies.first]\nkind = "priority"\n'
                              "max_batch_size = 4\n[policies.waiting]")  # fmt: skip
    tiered = tiered.replace("[service]", '[[workload.tiers]]\nname = "a"\nshare = 0.5\n'
                            '[[workload.tiers]]\nname = "b"\nshare = 0.5\n[service]')  # fmt: skip
    (tmp_path / "tiers.toml").write_text(tiered)
    assert asked("triton", "tiers.toml").source == (
        "policy waiting of scenario slow: the first that NVIDIA Triton does exactly; first it "
        "does not"
    )


@pytest.mark.parametrize("stack", ["litserve", "triton"])
def test_a_policy_that_becomes_several_models_is_refused(anywhere, tmp_path, stack):
    line = refused(
        "bert", "--on", stack, "--policy", "length_bucketed", "--nearest", "--out", tmp_path,
        "--set", "workload.requests=20000",
    )  # fmt: skip
    assert line.startswith(f"error: {stack}: the policy becomes a ")
    assert "for each range of lengths" in line


def test_a_scenario_file_that_is_not_there_is_called_a_file(anywhere):
    assert refused("none.toml", "--on", "litserve").startswith(
        "error: there is no file or scenario 'none.toml'"
    )


def test_set_changes_a_scenario_and_no_run(anywhere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused("latest", "--on", "litserve", "--set", "a=1") == (
        "error: --set changes a scenario, but latest is a run: leave it out"
    )


def test_a_run_that_is_not_there_is_a_sentence(anywhere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused("--on", "litserve").startswith("error: there is no run 'latest'")
