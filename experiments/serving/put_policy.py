"""``/policy``: what is asked now, and another one, maybe with what it was chosen for."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from experiments.rules import ParameterError, policy_of
from policies.contract import Policy

from . import outlook
from .drift import Drift
from .driver import Driver
from .open_inference import RequestError

POLICY_BYTES = 4 * 2**20
"""Of a body: room for the times of a large profile."""


def shown(driver: Driver, drift: Drift | None) -> bytes:
    """The policy as JSON, and how long the windows of the alarm are, where there is one."""
    content: dict[str, Any] = {"policy": dict(driver.table)}
    if drift is not None:
        content["drift"] = {"window_s": drift.window_ns / 1e9}
    return json.dumps(content, default=str).encode()


def put(body: bytes, driver: Driver, drift: Drift | None) -> None:
    """Another policy from the next batch on.

    Args:
        body: JSON: a policy as a scenario has it, or ``{"policy": ...}`` with an outlook beside it.
        driver: asks it.
        drift: gets the new prediction, if there is one.

    Raises:
        RequestError: it is no policy, or not one of this server.
        DriverError: the driver has ended.
    """
    table, beside = tables(body)
    found = outlook.read(beside, driver.desk.station.service)
    try:
        outlook.adopt(driver, drift, without_slots(policy_of(table)), table, found)
    except ParameterError as error:
        raise RequestError(f"policy.{error.key} {error}") from None
    except ValueError as error:
        raise RequestError(f"policy: {error}") from None


def without_slots(policy: Policy) -> Policy:
    """The policy, which keeps no sequences together.

    Raises:
        ValueError: it does.
    """
    if hasattr(type(policy), "slots"):
        raise ValueError(
            f"{type(policy).__name__} keeps sequences together, and this server takes requests that"
            " belong to none; give a policy without slots"
        )
    return policy


def tables(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy as a scenario has it, and what stands beside it, where it is one of several keys.

    Raises:
        RequestError: it is no table.
    """
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(
            'the body must be a policy, as {"kind": "size_or_timeout", "max_batch_size": 8, '
            '"max_wait_ms": 2.0}'
        )
    if "policy" not in content:
        return content, {}
    if not isinstance(content["policy"], dict):
        raise RequestError("policy must be an object with a kind")
    return content["policy"], content


__all__ = ["POLICY_BYTES", "put", "shown"]
