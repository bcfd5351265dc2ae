"""Serving a reference model: what a call does, what it refuses, and the modes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")

from profiles.models import buckets, execution, machine, open_runner, serving  # noqa: E402
from profiles.runner import ModelError, OutOfMemory  # noqa: E402

cuda_only = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def tiny():
    runner = open_runner("bert-tiny")
    yield runner
    runner.close()


def test_a_call_is_timed_from_inputs_to_outputs(tiny):
    served = tiny.serve([5, 60, 17])
    assert 10_000 < served.wall_ns < 10**10
    assert served.device_ns is None, "a CPU has no events"
    assert tiny.peak_memory_bytes([5]) is None


def test_a_larger_batch_takes_longer(tiny):
    small = min(tiny.serve([16]).wall_ns for _ in range(5))
    large = min(tiny.serve([512] * 16).wall_ns for _ in range(3))
    assert large > 5 * small


def test_the_clock_includes_the_forward_and_not_the_check(tiny, monkeypatch):
    clock = iter(range(0, 10**12, 10**9))
    calls = []
    monkeypatch.setattr(
        serving.time, "perf_counter_ns", lambda: calls.append("clock") or next(clock)
    )
    monkeypatch.setattr(
        tiny, "execution", Recorded(tiny.execution, lambda: calls.append("forward"))
    )
    monkeypatch.setattr(tiny, "_verify", lambda output, lengths: calls.append("check"))
    assert tiny.serve([8]).wall_ns == 10**9
    assert calls == ["clock", "forward", "clock", "check"]


class Recorded:
    """An execution that says when it is called, and may answer something else."""

    def __init__(self, inner, note, answer=None):
        self.inner, self.note, self.answer = inner, note, answer

    def shape(self, size, length):
        return self.inner.shape(size, length)

    def load(self, values, mask):
        return self.inner.load(values, mask)

    def __call__(self, values, mask):
        self.note()
        output = self.inner(values, mask)
        return output if self.answer is None else self.answer(output)


def test_same_lengths_and_seed_give_the_same_outputs_and_another_seed_does_not():
    lengths = [9, 30]
    first, again, other = (
        open_runner("bert-tiny", seed=seed).answer(lengths)[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.01


def test_items_of_a_batch_differ(tiny):
    output, _ = tiny.answer([20, 20])
    assert (output[0] - output[1]).abs().max() > 0.001


def test_an_output_does_not_depend_on_batches_before(tiny):
    before = tiny.answer([12, 3])[0].clone()
    tiny.serve([200] * 5)
    assert torch.equal(tiny.answer([12, 3])[0], before)


def test_what_is_about_a_runner(tiny):
    about = tiny.about()
    assert about["model"] == tiny.name == "bert-tiny"
    assert about["parameters"] == 4_369_408
    assert about["weights"] == "random, seed 0"
    assert (about["device"], about["precision"], about["mode"]) == ("cpu", "fp32", "eager")
    assert about["framework"] == f"torch {torch.__version__}"
    assert about["threads"] == 1 == torch.get_num_threads()
    assert about["device_name"]
    assert (tiny.length_unit, tiny.longest) == ("tokens", 512)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_weights_are_cast(precision):
    runner = open_runner("bert-tiny", precision=precision)
    assert {weight.dtype for weight in runner.model.parameters()} == {serving.PRECISIONS[precision]}
    output, _ = runner.answer([5, 9])
    exact, _ = open_runner("bert-tiny").answer([5, 9])
    gap = (output.float() - exact).abs().max()
    assert 0.0 < gap < 0.02


@pytest.mark.parametrize("name", ["wav2vec2-small", "whisper-tiny"])
def test_speech_is_served(name):
    runner = open_runner(name)
    output, served = runner.answer([300, 80])
    assert output.shape[0] == 2
    assert served.wall_ns > 0
    assert runner.length_unit == "audio_ms"


REFUSED = (
    (
        {"model": "bert-tiny", "device": "tpu"},
        "the device must be cpu, cuda or cuda:N, but got 'tpu'",
    ),
    (
        {"model": "bert-tiny", "device": "cuda:97"},
        f"there is no device cuda:97: torch {torch.__version__} sees "
        f"{torch.cuda.device_count()} GPUs",
    ),
    (
        {"model": "bert-tiny", "precision": "int8"},
        "the precision must be one of fp32, fp16, bf16, but got 'int8'",
    ),
    (
        {"model": "bert-tiny", "mode": "fast"},
        "the mode must be one of eager, graphs, compile, but got 'fast'",
    ),
    (
        {"model": "bert-tiny", "mode": "graphs"},
        "mode graphs replays CUDA graphs, but the device is cpu",
    ),
    (
        {"model": "whisper-tiny", "mode": "compile"},
        "whisper-tiny would be compiled anew for each number of steps: use mode eager",
    ),
    ({"model": "bert-tiny", "threads": 0}, "there must be at least 1 thread, but got 0"),
)


@pytest.mark.parametrize(("given", "sentence"), REFUSED)
def test_what_cannot_be_opened_is_said_in_one_sentence(given, sentence):
    with pytest.raises(ModelError) as error:
        open_runner(**given)
    assert str(error.value) == sentence


def test_a_batch_out_of_range_is_said_in_one_sentence(tiny):
    for lengths, sentence in (
        ([], "bert-tiny: a batch must have at least one request, but got none"),
        ([5, 513], "bert-tiny takes 1 to 512 tokens, but a request has 513"),
        ([0], "bert-tiny takes 1 to 512 tokens, but a request has 0"),
    ):
        with pytest.raises(ModelError) as error:
            tiny.serve(lengths)
        assert str(error.value) == sentence


WRONG = (
    (
        lambda output: output[:1],
        "bert-tiny must give one output per request, but gave 1 for a batch of 2",
    ),
    (
        lambda output: output * float("nan"),
        "bert-tiny in fp32 gives NaN or infinity for a batch of 2 padded to 9 tokens",
    ),
    (
        lambda output: output / 0.0,
        "bert-tiny in fp32 gives NaN or infinity for a batch of 2 padded to 9 tokens",
    ),
    (
        lambda output: output @ torch.ones(3, 3),
        "bert-tiny failed on a batch of 2 padded to 9 tokens: "
        "mat1 and mat2 shapes cannot be multiplied (2x128 and 3x3)",
    ),
)


@pytest.mark.parametrize(("answer", "sentence"), WRONG)
def test_a_wrong_output_is_said_in_one_sentence(tiny, monkeypatch, answer, sentence):
    monkeypatch.setattr(tiny, "execution", Recorded(tiny.execution, lambda: None, answer))
    with pytest.raises(ModelError) as error:
        tiny.serve([5, 9])
    assert str(error.value) == sentence


def test_a_batch_that_does_not_fit_is_a_limit_and_the_next_one_is_served(tiny, monkeypatch):
    with monkeypatch.context() as patch:
        enormous = Recorded(tiny.execution, lambda: None, lambda output: torch.empty(1 << 50))
        patch.setattr(tiny, "execution", enormous)
        with pytest.raises(OutOfMemory) as error:
            tiny.serve([5, 9])
    name = machine.device_name(tiny.device)
    assert str(error.value) == (
        f"bert-tiny: a batch of 2 padded to 9 tokens does not fit into the memory of {name}"
    )
    assert error.value.__context__ is None, "torch's error would keep the batch's tensors alive"
    assert tiny.serve([5, 9]).wall_ns > 0


def test_memory_that_ran_out_is_seen_behind_a_later_error():
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    except RuntimeError as error:
        assert serving.out_of_memory(error)
    assert not serving.out_of_memory(RuntimeError("an illegal memory access was encountered"))


def test_a_closed_runner_serves_no_more():
    runner = open_runner("bert-tiny")
    runner.close()
    runner.close()
    with pytest.raises(ModelError) as error:
        runner.serve([5])
    assert str(error.value) == "bert-tiny was closed, and serves no more"


class Replayed(execution.Graphs):
    """Graphs whose capture only remembers its tensors: a replay computes anew from them."""

    def __init__(self, model):
        self.model, self.device, self.lengths = model, torch.device("cpu"), (16, 32)
        self._captured, self.captures = {}, 0

    def _capture(self, values, mask):
        self.captures += 1
        values, mask = values.clone(), mask.clone()
        output = self.model(values, mask)
        graph = SimpleNamespace(replay=lambda: output.copy_(self.model(values, mask)))
        return execution.Captured(graph, values, mask, output)


def test_a_graph_gives_for_each_batch_of_its_bucket_what_the_model_gives(tiny, monkeypatch):
    batches = ([5, 9, 3], [16, 1, 1, 2], [16] * 3, [17], [30], [5, 9, 3])
    exact = [tiny.answer(lengths)[0].clone() for lengths in batches]
    replayed = Replayed(tiny.model)
    monkeypatch.setattr(tiny, "execution", replayed)
    for lengths, expected in zip(batches, exact, strict=True):
        assert torch.allclose(tiny.answer(lengths)[0], expected, atol=1e-5)
    assert replayed.captures == 2, "batches of up to 4 x 16, and of 1 x 32"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch's own
def test_a_compiled_model_gives_the_same():
    exact = open_runner("bert-tiny")
    compiled = open_runner("bert-tiny", mode="compile")
    for lengths in ([5, 9], [20, 3, 11], [7]):
        gap = compiled.answer(lengths)[0] - exact.answer(lengths)[0]
        assert gap.abs().max() < 1e-5


@cuda_only
@pytest.mark.parametrize("name", ["bert-tiny", "wav2vec2-small", "whisper-tiny"])
def test_graphs_give_what_eager_gives_in_the_same_bucket(name):
    eager = open_runner(name, device="cuda")
    graphs = open_runner(name, device="cuda", mode="graphs")
    longest = buckets.LENGTHS[eager.length_unit][1]
    for lengths in ([longest, longest // 3, longest // 2, longest], [longest], [longest] * 2):
        expected = eager.answer(lengths)[0].clone()
        for _ in range(2):
            got, served = graphs.answer(lengths)
            assert torch.allclose(got, expected, atol=1e-3)
            assert 0 < served.device_ns < served.wall_ns * 1.1


@cuda_only
def test_peak_memory_grows_with_the_batch():
    runner = open_runner("bert-tiny", device="cuda", precision="bf16")
    small, large = runner.peak_memory_bytes([64]), runner.peak_memory_bytes([512] * 64)
    assert 2 * 4_369_408 < small < large
