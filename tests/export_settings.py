"""Settings to export, made by hand: every policy, on a small model of times."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import strategies as st

from experiments.export.contract import NotExpressible
from experiments.export.plan import IDEAL, Clock, plan_of
from experiments.export.setting import Evidence, Figure, Setting
from experiments.rules import build_policy
from policies.contract import Tier, bind

LARGEST = 64
LONGEST = 512
EDGES = np.array([32, 128, LONGEST])
SERVICE_NS = np.array(
    [[10**6 + size * edge * 500 for edge in EDGES] for size in range(1, LARGEST + 1)]
)
"""A millisecond and half a microsecond for each padded token."""

TIERS = (Tier("all"),)

EVIDENCE = Evidence(
    scenario="bert",
    scenario_hash="0123456789abcdef",
    run="bert/tune-1",
    profile="bert-base-a100",
    device="A100",
    arrivals="poisson",
    rate_per_s=1200.0,
    loads=(0.6,),
    requests=200_000,
    replications=1,
    seeds={"arrivals": 1},
    latency_ms={"p50": Figure(3.0, 2.9, 3.1), "p99": Figure(12.5, 12.0, 13.0)},
    version="0.1.0",
    command=("batchwright", "tune", "bert"),
)

SIZES = st.integers(1, LARGEST)
WAITS_MS = st.integers(1, 100_000)
SERVERS = st.integers(1, 8)


def setting(kind: str, *, servers: int = 1, tiers=TIERS, **given) -> Setting:
    """A setting of a policy; what is no field of :class:`Setting` is a key of the policy."""
    own = {key: given.pop(key) for key in tuple(given) if key in Setting.__dataclass_fields__}
    policy = bind(build_policy({"kind": kind, **given}), SERVICE_NS, EDGES, tiers, servers)
    fields = {
        "name": "winner",
        "model": "bert",
        "policy": policy,
        "kind": kind,
        "parameters": given,
        "servers": servers,
        "largest_batch": LARGEST,
        "length_unit": "tokens",
        "longest": LONGEST,
        "tiers": tiers,
        "evidence": EVIDENCE,
    }
    return Setting(**{**fields, **own})


def from_idle(size: int, wait_ms, **other) -> Setting:
    """A wait that begins no earlier than the server is idle."""
    return from_arrival(size, wait_ms, from_idle=True, **other)


def from_arrival(size: int, wait_ms, **other) -> Setting:
    """A wait that begins when the oldest request arrives."""
    wait_ms = Decimal(str(wait_ms))
    return setting("size_or_timeout", max_batch_size=size, max_wait_ms=wait_ms, **other)


def refusal(stack, wanted: Setting) -> str:
    """Why a stack's module does not export a setting."""
    with pytest.raises(NotExpressible) as caught:
        stack.export(wanted, nearest=False)
    return str(caught.value)


def means(table, wanted: Setting, clock: Clock = IDEAL) -> bool:
    """Whether a table that was read means the policy of a setting: the same windows.

    Waits that begin with a pick are those of a stack with that clock.
    """
    keys = {key: value for key, value in table.items() if key != "kind"}
    found = plan_of(setting(table["kind"], servers=wanted.servers, **keys))
    windows = [lane.window for lane in found.lanes]
    assert all(each.clock == (clock if each.timer == "pick" else IDEAL) for each in windows)
    lanes = [lane._replace(window=lane.window._replace(clock=IDEAL)) for lane in found.lanes]
    return found._replace(lanes=tuple(lanes)) == plan_of(wanted)


def only_file(exported) -> str:
    """The text of an export of one file."""
    (text,) = exported.files.values()
    return text
