"""BentoML: a ``service.py`` with a batched API.

BentoML has no wait to give: its dispatcher learns one from the last batches.  ``max_latency_ms`` is
no wait either, but a bound above which it drops the oldest request, so that it is written far above
the latency that was predicted.  What is loaded is taken out of the collection of garbage: full ones
stopped a real server for 0.05 to 0.2 s every 700 requests, and for half of that without.
Exact is ``cork`` alone, with its own bound, on one worker.
Facts, from ``bentoml`` 1.4.39:
``_internal/marshal/dispatcher.py`` (``CorkDispatcher``), ``_bentoml_sdk/method.py`` (``@api``).
"""

from __future__ import annotations

import keyword
import re

from .cluster_terms import Spread, replicas_given_up, tier_limits_given_up
from .comment import comment_of, commented
from .concession import unique
from .contract import Exported, Nearest, NotExpressible
from .lengths_routed import Route, route_notes, routes
from .plan import Plan, plan_of
from .rounding import in_ms, in_whole
from .setting import Setting

STACK = "bentoml"
NAME = "service.py"

LEAST_BOUND_MS = 1000
"""At 100 ms an overloaded server was seen to drop three quarters of its requests."""
UNKNOWN_BOUND_MS = 60_000
"""BentoML's own default, where no p99 was predicted."""
BOUND_OVER_P99 = 10

CORK = "cork"
"""The kind that is BentoML's dispatcher."""

OWN_QUEUES = "BentoML batches for each worker alone, with no limit and no time-out of its queue"

REASON = (
    "BentoML has no wait to set (its dispatcher learns one from the last batches), and "
    "max_latency_ms only says when it drops requests"
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write a ``service.py``: of ``cork`` exactly, of others with ``nearest`` one like greedy.

    Raises:
        NotExpressible: something has to be given up, and ``nearest`` was not asked for.
    """
    plan = plan_of(setting)
    learned = () if setting.kind == CORK else (*plan.notes, _learned(setting))
    differences = unique((*learned, *_differences(setting, plan)))
    notes = _notes(setting, plan)
    code = commented(comment_of(setting, differences, notes)) + _service(setting, plan)
    found = Exported({NAME: code}, notes, exact=not differences, differences=differences)
    if differences and not nearest:
        reason = REASON if learned else OWN_QUEUES
        raise NotExpressible(STACK, reason, Nearest(found, "; ".join(differences)))
    return found


def bound_ms(setting: Setting) -> int:
    """``max_latency_ms``: so far above the predicted p99 that only a failure reaches it."""
    if setting.kind == CORK:
        return in_whole(setting.policy.max_latency_ns, "ms", "max_latency").value  # type: ignore[attr-defined]
    figure = setting.evidence.latency_ms.get("p99")
    if figure is None or figure.value is None:
        return UNKNOWN_BOUND_MS
    return max(LEAST_BOUND_MS, round(BOUND_OVER_P99 * figure.value))


def _learned(setting: Setting) -> str:
    """What BentoML does in place of any rule but its own."""
    return (
        "it serves what waits once a wait that it learns itself is over, which is near greedy "
        f"under light load and longer under load, and drops what is older than {bound_ms(setting)} "
        "ms"
    )


def _differences(setting: Setting, plan: Plan) -> list[str]:
    found = []
    if any(lane.window.max_batch_size == 1 for lane in plan.lanes):
        found.append("it serves an API with batches of 1 without a batcher, several at a time")
    spread = Spread(
        "BentoML",
        no_shared_queue="every worker of BentoML has a queue of its own",
        several_queues=f"it asks for {setting.servers} workers, each with a queue of its own, so "
        "that some idle while requests wait for another",
    )
    beside = [*replicas_given_up(setting, spread), *tier_limits_given_up(setting, "BentoML")]
    found += [each.difference for each in beside]
    if len(plan.lanes) > 1:
        found.append(
            f"it becomes {len(plan.lanes)} APIs, one for each range of lengths, that run beside "
            "each other instead of taking turns"
        )
    if setting.capacity is not None:
        found.append(f"it does not limit the queue to {setting.capacity} requests")
    if setting.timeout_ns is not None:
        found.append(f"it serves requests that have waited {in_ms(setting.timeout_ns)} ms")
    return found


def _notes(setting: Setting, plan: Plan) -> tuple[str, ...]:
    return (
        (
            "model.py holds your load(), which gives a function from a list of inputs to a list; "
            "the types of predict are those of embeddings, change them to yours"
        ),
        "max_latency_ms is no wait: lowering it makes BentoML drop requests, not serve them sooner",
        (
            "a worker spends about 4 ms of its event loop on each request, so that it takes no "
            "more than some 200 per second"
        ),
        *route_notes(setting, plan),
        *_rounded(setting),
    )


def _rounded(setting: Setting) -> tuple[str, ...]:
    if setting.kind != CORK:
        return ()
    note = in_whole(setting.policy.max_latency_ns, "ms", "max_latency").note  # type: ignore[attr-defined]
    return () if note is None else (note,)


def _service(setting: Setting, plan: Plan) -> str:
    apis = "".join(_api(setting, route) for route in routes(setting, plan))
    return (
        "\n"
        "import gc\n"
        "\n"
        "import bentoml\n"
        "\n"
        "from model import load  # yours\n"
        "\n"
        "\n"
        f"@bentoml.service(workers={setting.servers})\n"
        f"class {class_name(setting.model)}:\n"
        "    def __init__(self) -> None:\n"
        "        self.model = load()\n"
        "        gc.collect()\n"
        "        gc.freeze()  # what is loaded is no garbage, and collections stop all batches\n"
        f"{apis}"
    )


def _api(setting: Setting, route: Route) -> str:
    """One API; BentoML takes no batch size below 2."""
    suffix = f"_{route.folder[len(setting.model) + 1 : -1]}" if route.folder else ""
    name = f"predict{suffix.replace('-', '_')}"
    size = route.window.max_batch_size
    if size == 1:
        return (
            "\n"
            "    @bentoml.api\n"
            f"    def {name}(self, text: str) -> list[float]:\n"
            "        return self.model([text])[0]\n"
        )
    return (
        "\n"
        f"    @bentoml.api(batchable=True, max_batch_size={size}, "
        f"max_latency_ms={bound_ms(setting)})\n"
        f"    def {name}(self, texts: list[str]) -> list[list[float]]:\n"
        "        return self.model(texts)\n"
    )


def class_name(model: str) -> str:
    """A class for a model: ``bert-base`` is ``BertBase``."""
    words = re.findall(r"[A-Za-z0-9]+", model)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"Model{name}"
