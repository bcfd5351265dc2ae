"""vLLM: the YAML file of ``vllm serve --config``.

One step of the engine is one batch, and there is no timer.  A pooling model answers a request in
one step, so that its engine is greedy; a model that generates keeps requests over many steps,
which is not simulated here.  With the policy ``priority`` those that wait are taken by their
priority, lowest first, and then by their arrival: ``priority_fill`` without a wait.  Facts, from
``vllm`` 0.33.0: ``v1/core/sched/scheduler.py`` (how a step is filled), ``request_queue.py`` there
(the order), ``config/scheduler.py`` (fields and limits), ``utils/argparse_utils.py`` (the file).
"""

from __future__ import annotations

from .comment import comment_of, commented
from .concession import Concession
from .contract import Exported
from .lengths_routed import Route, file_of_each, route_notes
from .setting import Setting
from .terms import Terms, no_timeout
from .tier_windows import knows_tiers
from .token_batches import AHEAD, TokenBatches, budget_of, token_batches

NAME = "vllm.yaml"

TERMS = Terms(
    stack="vllm",
    title="vLLM",
    timer=None,
    timer_starts="",
    other_timer="",
    no_shared_queue="every engine of vLLM has a queue of its own",
    spreads="as vLLM's own balancer sends them, by what waits and runs in each engine",
    levels=True,
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write the arguments of a pooling model's server.

    Raises:
        NotExpressible: vLLM cannot do what the policy does.
    """
    found = token_batches(setting, TERMS, *_others(setting), nearest=nearest)
    notes = (*_notes(setting), *route_notes(setting, found.plan))
    comment = commented(comment_of(setting, found.plan.notes, notes))

    def text(route: Route) -> str:
        return f"{comment}\n{_file(setting, found, route)}"

    files = file_of_each(setting, found.plan, NAME, text)
    return Exported(files, notes, found.plan.exact, found.plan.notes)


def _others(setting: Setting) -> list[Concession]:
    """What is given up whatever the window."""
    found = no_timeout(setting, TERMS.title)
    budget = budget_of(setting)
    if budget is not None:
        found.append(
            Concession(
                "vLLM counts the tokens of a step without padding",
                "it puts more requests into a batch of mixed lengths",
            )
        )
        if budget < setting.longest:
            found.append(
                Concession(
                    "vLLM does not start with a budget below the longest request",
                    f"it has a budget of {setting.longest} tokens, so that every request fits",
                )
            )
    if setting.kind == AHEAD:
        found.append(
            Concession(
                "vLLM forms a batch when it begins to run, and none ahead",
                "it runs all that came meanwhile, as far as they fit",
            )
        )
    if setting.capacity is not None:
        found.append(
            Concession(
                "the limit on vLLM's queue is held by the server before it, not by the queue",
                f"it rejects what finds {setting.capacity} requests by that server's count",
            )
        )
    return found


def _notes(setting: Setting) -> list[str]:
    notes = [
        f"start it with vllm serve MODEL --config {NAME}",
        (
            "this is for pooling models, which answer a request in one step; a model that "
            "generates keeps requests over many steps, which was not simulated"
        ),
        "vLLM does not pad: times of batches of mixed lengths are below those of a padded profile",
    ]
    if setting.capacity is not None:
        notes.append("max-num-queued-reqs needs vllm 0.33 or later")
    if knows_tiers(setting):
        each = ", ".join(f"{place} is {tier.name}" for place, tier in enumerate(setting.tiers))
        notes.append(
            f"clients give their tier in the field priority of a request, {each}; a request "
            "without one has 0, the most urgent"
        )
    elif len(setting.tiers) > 1:
        notes.append("the policy serves all tiers in order of arrival: scheduling-policy is fcfs")
    return notes


def _file(setting: Setting, found: TokenBatches, route: Route) -> str:
    longest = found.longest_of(route)
    lines = [
        "runner: pooling",
        f"max-num-seqs: {route.window.max_batch_size}",
        f"max-num-batched-tokens: {max(found.tokens(route), longest)}",
        f"max-model-len: {longest}",
        "enable-chunked-prefill: false",
        "async-scheduling: false",
        f"scheduling-policy: {'priority' if knows_tiers(setting) else 'fcfs'}",
    ]
    if setting.servers > 1:
        lines.append(f"data-parallel-size: {setting.servers}")
    if setting.capacity is not None:
        lines.append(f"max-num-queued-reqs: {max(1, setting.capacity)}")
    return "".join(f"{line}\n" for line in lines)
