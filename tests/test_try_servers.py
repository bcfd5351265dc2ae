"""``batchwright try`` on Ray Serve, MLServer, BentoML and TorchServe, where they are installed."""

from __future__ import annotations

import pytest
from trying import check_run, needs, servers_left, tried

KINDS = {
    "ray": "sealed_batches",
    "mlserver": "timer_from_pick",
    "bentoml": "cork",
    "torchserve": "timer_from_pick",
}
STACKS = [pytest.param(stack, marks=(needs(stack), pytest.mark.slow)) for stack in KINDS]


@pytest.mark.parametrize("stack", STACKS)
def test_a_trial_holds_the_server_against_the_policy_that_it_is(stack, tmp_path):
    run, found = tried(tmp_path, "--on", stack, "--policy", "waiting", "--nearest")
    check_run(run, found, stack, ["tuned"])
    assert found["variants"]["tuned"]["policy"]["kind"] == KINDS[stack]
    assert not servers_left()
