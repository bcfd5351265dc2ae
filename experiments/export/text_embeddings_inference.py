"""Text Embeddings Inference: the arguments of ``text-embeddings-router``.

It has no timer.  It takes requests in their order while the tokens fit, and it forms the next batch
as soon as the last one began to run, from what waits then: that batch does not grow any more
(``token_budget_ahead``).
Facts, from ``huggingface/text-embeddings-inference`` of 2026-07-24: ``core/src/queue.rs`` (how a
batch is filled), ``core/src/infer.rs`` (one batch ahead), ``router/src/main.rs`` (arguments and
defaults), ``router/src/lib.rs`` (inputs above the budget are cut).
"""

from __future__ import annotations

import re

from .comment import comment_of, commented
from .concession import Concession
from .contract import Exported
from .lengths_routed import Route, route_notes, routes
from .setting import Setting
from .terms import Terms, no_timeout
from .token_batches import AHEAD, TokenBatches, budget_of, largest_of, token_batches

SCRIPT = "text-embeddings-inference.sh"
COMPOSE = "compose.yaml"

DEFAULT_CONCURRENT = 512
UNBOUNDED_CONCURRENT = 2**16
"""Stands for no limit: room for as many is taken at the start, some 16 MB."""

TERMS = Terms(
    stack="text-embeddings-inference",
    title="Text Embeddings Inference",
    timer=None,
    timer_starts="",
    other_timer="",
    no_shared_queue="every process of Text Embeddings Inference has a queue of its own",
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write a shell script and a Compose file with the arguments.

    Raises:
        NotExpressible: Text Embeddings Inference cannot do what the policy does.
    """
    found = token_batches(setting, TERMS, *_others(setting), nearest=nearest)
    notes = (*_notes(setting), *route_notes(setting, found.plan))
    comment = commented(comment_of(setting, found.plan.notes, notes))
    files = {
        f"{route.folder}{SCRIPT}": f"#!/bin/sh\n{comment}\n{_script(setting, found, route)}"
        for route in routes(setting, found.plan)
    }
    files[COMPOSE] = f"{comment}\n{_compose(setting, found)}"
    return Exported(files, notes, found.plan.exact, found.plan.notes)


def _others(setting: Setting) -> list[Concession]:
    """What is given up whatever the window."""
    found = no_timeout(setting, TERMS.title)
    if largest_of(setting) > 1 and setting.kind != AHEAD:
        found.append(
            Concession(
                "Text Embeddings Inference forms the next batch as soon as one begins to run, from "
                "what waits then",
                "it runs the batch that was formed ahead, often of one request, before all that "
                "came meanwhile",
            )
        )
    budget = budget_of(setting)
    if budget is not None:
        if setting.kind != AHEAD:
            found.append(
                Concession(
                    "its backends without padding count the tokens of a batch without padding",
                    "it puts more requests into a batch of mixed lengths, unless its backend pads",
                )
            )
        if budget < setting.longest:
            found.append(
                Concession(
                    "it cuts inputs that are longer than the budget",
                    f"it cuts inputs to {budget} tokens, where they would go alone",
                )
            )
    if setting.capacity is not None and not setting.capacity_counts_in_system:
        found.append(
            Concession(
                "max-concurrent-requests counts the requests in service too",
                f"it rejects what finds {_concurrent(setting)} requests there, waiting or not",
            )
        )
    return found


def _concurrent(setting: Setting) -> int:
    if setting.capacity is None:
        return UNBOUNDED_CONCURRENT
    if setting.capacity_counts_in_system:
        return max(1, setting.capacity)
    return setting.capacity + largest_of(setting)


def _notes(setting: Setting) -> list[str]:
    notes = [
        "give the model in MODEL_ID",
        "a backend may force a smaller max-batch-requests, and says so when it starts",
    ]
    if setting.kind == AHEAD:
        pads = setting.policy.padded  # type: ignore[attr-defined]
        notes.append(
            f"it is exact with a backend that {'pads' if pads else 'does not pad'}: others count "
            "the tokens of a batch otherwise"
        )
    if setting.capacity is None:
        notes.append(
            f"max-concurrent-requests is {UNBOUNDED_CONCURRENT}, for no limit; without it what "
            f"finds {DEFAULT_CONCURRENT} requests there is rejected"
        )
    return notes


def arguments(setting: Setting, found: TokenBatches, route: Route) -> tuple[str, ...]:
    """Flags of ``text-embeddings-router``, each with its value."""
    return (
        f"--max-batch-tokens={found.tokens(route)}",
        f"--max-batch-requests={route.window.max_batch_size}",
        f"--max-concurrent-requests={_concurrent(setting)}",
    )


def _script(setting: Setting, found: TokenBatches, route: Route) -> str:
    model = '--model-id="${MODEL_ID:?the model to serve}"'
    flags = (model, *arguments(setting, found, route), '"$@"')
    return "exec text-embeddings-router \\\n  " + " \\\n  ".join(flags) + "\n"


def _compose(setting: Setting, found: TokenBatches) -> str:
    lines = ["services:"]
    for route in routes(setting, found.plan):
        lines += [
            f"  {re.sub('[^A-Za-z0-9._-]', '-', route.model)}:",
            "    image: ${TEI_IMAGE:?an image of text-embeddings-inference}",
            "    command:",
            "      - --model-id=${MODEL_ID:?the model to serve}",
            *(f"      - {flag}" for flag in arguments(setting, found, route)),
            "    deploy:",
            f"      replicas: {setting.servers}",
        ]
    return "".join(f"{line}\n" for line in lines)
