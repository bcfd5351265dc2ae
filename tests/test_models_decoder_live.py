"""A real decoder behind the live driver: the tokens that it would give to each request alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")

from policies.iteration import VllmLike  # noqa: E402
from policies.iteration.contract import Engine  # noqa: E402
from policies.iteration.times import StepTimes  # noqa: E402
from profiles.models.decoder_runner import DecoderRunner  # noqa: E402
from profiles.steps_runner import Piece  # noqa: E402
from sim.iteration.engines import DecoderOpening  # noqa: E402
from sim.iteration.replayed import replayed  # noqa: E402
from sim.iteration.serving import Serving  # noqa: E402
from sim.iteration.wall import run_live  # noqa: E402
from sim.iteration.worker import IterationWorker  # noqa: E402
from sim.iteration.workload import workload_of  # noqa: E402
from sim.load_generator import OwnSchedule  # noqa: E402

REQUESTS = 12
SERVING = Serving(Engine(sequences=4, blocks=14, block_tokens=4, longest=48), StepTimes(1e6))


def requests():
    rng = np.random.default_rng(2)
    return workload_of(
        rng.exponential(2e6, REQUESTS).cumsum().astype(np.int64),
        rng.integers(2, 24, REQUESTS),
        rng.integers(3, 12, REQUESTS),
    )


def alone(prompt, output, sequence):
    runner = DecoderRunner("gpt2-tiny", slots=1, longest=48)
    runner.open(sequence, prompt)
    said = runner.step([Piece(sequence, prompt, 0)])
    for place in range(output - 1):
        said += runner.step([Piece(sequence, 1, prompt + place)])
    return said


def test_a_live_run_with_little_memory_gives_the_tokens_of_each_request_alone():
    workload = requests()
    rule = VllmLike(max_num_batched_tokens=10)
    worker = IterationWorker(DecoderOpening("gpt2-tiny", slots=4, longest=48))
    try:
        trace, readings = run_live(rule, workload, SERVING, worker, OwnSchedule())
    finally:
        worker.close()
    trace.check(4)
    assert trace.served.all()
    assert replayed(rule, trace, np.array(readings.noticed_ns), SERVING).exact
    said = {answer.number: answer.tokens for answer in readings.answers}
    for request in range(REQUESTS):
        places = trace.token_step[trace.offset[request] : trace.offset[request + 1]].tolist()
        wanted = alone(int(workload.prompt[request]), int(workload.output[request]), request)
        assert all(token in said[place] for token, place in zip(wanted, places, strict=True))
