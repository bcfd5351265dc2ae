"""Rules of continuous batching written for vLLM and for Triton's TensorRT-LLM backend."""

from __future__ import annotations

import json

import pytest
import yaml
from test_iteration_scenarios import SMALL
from typer.testing import CliRunner

from experiments.cli import app
from experiments.export import pbtxt
from experiments.export.contract import ExportError, NotExpressible
from experiments.iteration.exporting import exporter_of, triton, vllm
from experiments.iteration.setting import TokenSetting
from policies.contract import NEVER
from policies.iteration import RULES
from policies.iteration.contract import Engine

ENGINE = Engine(64, 500, 16, 4096)


def setting(kind="vllm_like", engine=ENGINE, tiers=(), **numbers):
    return TokenSetting(
        "mine", kind, numbers, engine, "chat", "chat/compare-1", tiers, ("Policy mine.",), "chat"
    )


def arguments(found):
    (text,) = found.files.values()
    assert text.startswith("# Policy mine.")
    return yaml.safe_load(text)


def test_vllm_like_is_exact_and_says_all_that_was_simulated():
    found = vllm(setting(max_num_seqs=32, max_num_batched_tokens=1024), nearest=False)
    assert found.exact
    assert arguments(found) == {
        "max-num-seqs": 32,
        "max-num-batched-tokens": 1024,
        "enable-chunked-prefill": True,
        "scheduling-policy": "fcfs",
        "max-model-len": 4096,
        "enable-prefix-caching": False,
        "async-scheduling": False,
        "block-size": 16,
        "num-gpu-blocks-override": 501,
    }


def test_blocks_that_stay_free_are_written_for_vllm():
    found = vllm(setting(watermark=0.05), nearest=False)
    assert found.exact
    assert arguments(found)["watermark"] == 0.05


def test_defaults_of_the_rule_and_limits_of_the_engine_are_written_out():
    told = arguments(vllm(setting(engine=Engine(48, NEVER, 16, 4096)), nearest=False))
    assert told["max-num-seqs"] == 48
    assert told["max-num-batched-tokens"] == 2048
    assert "num-gpu-blocks-override" not in told
    whole = arguments(
        vllm(setting(chunked_prefill=False, long_prefill_token_threshold=256), nearest=False)
    )
    assert whole["enable-chunked-prefill"] is False
    assert whole["long-prefill-token-threshold"] == 256


def test_tiers_become_priorities_and_clients_are_told():
    found = vllm(setting(by_priority=True, tiers=("people", "jobs")), nearest=False)
    assert arguments(found)["scheduling-policy"] == "priority"
    assert any("0 is people, 1 is jobs" in note for note in found.notes)


@pytest.mark.parametrize(
    ("kind", "numbers", "near"),
    [
        ("decode_first", {"chunk_tokens": 256}, {"max-num-batched-tokens": 256 + 64}),
        ("continuous", {}, {"max-num-batched-tokens": 4096, "enable-chunked-prefill": False}),
        ("shortest_prompt_first", {"max_num_batched_tokens": 512}, {"max-num-batched-tokens": 512}),
        ("sla_tiers", {"step_budget_ns": 1}, {"scheduling-policy": "priority"}),
    ],
)
def test_what_vllm_cannot_do_is_refused_with_the_nearest(kind, numbers, near):
    with pytest.raises(NotExpressible) as refusal:
        vllm(setting(kind, **numbers), nearest=False)
    assert "with --nearest it" in str(refusal.value)
    found = vllm(setting(kind, **numbers), nearest=True)
    assert not found.exact
    assert found.differences
    told = arguments(found)
    assert {key: told[key] for key in near} == near
    assert "NOT the policy that was simulated" in next(iter(found.files.values()))


def test_swapping_is_refused_too():
    swapping = ENGINE._replace(swaps=True)
    with pytest.raises(NotExpressible, match="does not swap"):
        vllm(setting(engine=swapping), nearest=False)


@pytest.mark.parametrize("kind", ["request_level", "prefill_first"])
def test_what_has_no_nearest_is_refused_even_so(kind):
    with pytest.raises(NotExpressible):
        vllm(setting(kind), nearest=True)


@pytest.mark.parametrize("kind", RULES)
def test_triton_is_never_said_to_be_exact_and_its_file_is_text_format(kind):
    with pytest.raises(NotExpressible):
        triton(setting(kind), nearest=False)
    found = triton(setting(kind, max_num_batched_tokens=512), nearest=True)
    assert not found.exact
    ((name, text),) = found.files.items()
    rows = pbtxt.parse(name, text)["parameters"]
    told = {row["key"][0]: row["value"][0]["string_value"][0] for row in rows}
    strategy = "V1" if kind == "request_level" else "inflight_fused_batching"
    assert told["gpt_model_type"] == strategy
    assert told["max_tokens_in_paged_kv_cache"] == str(500 * 16)
    assert any("--max_seq_len 4096" in note for note in found.notes)


def test_stacks_that_batch_requests_say_who_batches_iterations():
    with pytest.raises(ExportError, match="vllm or triton"):
        exporter_of("ray")


def test_a_run_is_exported_by_the_command(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    runs = tmp_path / "runs"
    made = CliRunner().invoke(
        app, ["compare", str(tmp_path / "small.toml"), "--policy", "vllm", "--out", str(runs)]
    )
    assert made.exit_code == 0, made.output
    folder = runs / "small" / "compare-1"
    found = CliRunner().invoke(app, ["export", str(folder), "--to", "vllm"])
    assert found.exit_code == 0, found.output
    told = yaml.safe_load((folder / "export" / "vllm" / "vllm.yaml").read_text())
    assert told["max-num-batched-tokens"] == 128
    assert told["max-num-seqs"] == 16
    refused = CliRunner().invoke(app, ["export", str(folder), "--to", "triton", "--json"])
    assert refused.exit_code == 2
    assert "nearest" in json.loads(refused.stdout)["stacks"]["triton"]
    many = CliRunner().invoke(
        app, ["capacity", str(tmp_path / "small.toml"), "--policy", "vllm", "--out", str(runs)]
    )
    assert many.exit_code == 0, many.output
    folder_of_many = runs / "small" / "capacity-1"
    told = CliRunner().invoke(app, ["export", str(folder_of_many), "--to", "vllm"])
    assert told.exit_code == 2
    assert "holds no single setting to export" in told.output
    unknown = CliRunner().invoke(app, ["export", str(folder), "--to", "vllm", "--policy", "vlm"])
    assert unknown.exit_code == 2
    assert "did you mean vllm?" in unknown.output
