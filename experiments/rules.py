"""The tables ``[policies.NAME]`` of a scenario made into policies.

1. ``kind`` chooses the class from :data:`policies.POLICIES`; its fields are the keys.
2. A field ``x_ns`` is the key ``x_ms`` in milliseconds; an array field takes a list or one number.
3. Fields that ``bind`` fills are no keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_type_hints

import numpy as np

from policies import POLICIES
from policies.contract import FloatArray, IntArray, Policy

from .sentences import nearest, shown, suggestion
from .units import ms_to_ns
from .values import LONGEST_MS, is_finite, is_number

FILLED_BY_BIND = frozenset(
    {"service_ns", "length_edges", "longest", "tier_slo_ns", "tiers", "servers"}
    | {"times", "watermark_blocks"}
)
"""Fields that a rule takes from the profile, the tiers and the servers, not from a scenario."""

LARGEST = 2**63 - 1


class ParameterError(ValueError):
    """A key of one policy is wrong.

    Attributes:
        key: the key inside the policy's table.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


def parameters(cls: type) -> dict[str, str]:
    """The keys that a policy's table takes, each with the field that it fills."""
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    names = [name for name in fields if name not in FILLED_BY_BIND]
    return {n.removesuffix("_ns") + "_ms" if n.endswith("_ns") else n: n for n in names}


def build_policy(table: Mapping[str, Any]) -> Policy:
    """A policy with the numbers of its table, not yet bound.

    Raises:
        ParameterError: an unknown kind or key, a missing key, or a value of the wrong type.
    """
    policy: Policy = build_rule(table, POLICIES, "policy")
    return policy


def build_rule(table: Mapping[str, Any], kinds: Mapping[str, type], what: str) -> Any:
    """A rule of any family with the numbers of its table, not yet bound.

    Args:
        table: ``kind`` and the rule's own keys.
        kinds: the classes of the family by kind.
        what: what a rule of the family is called.

    Raises:
        ParameterError: as :func:`build_policy`.
    """
    if "kind" not in table:
        raise ParameterError("kind", f"is missing; give one of {', '.join(sorted(kinds))}")
    kind = table["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        hint = suggestion(str(kind), kinds)
        raise ParameterError("kind", f"= {shown(kind)} is no kind of {what}; {hint}")
    cls = kinds[kind]
    known, types = parameters(cls), get_type_hints(cls)
    numbers = {}
    for key, value in table.items():
        if key == "kind":
            continue
        if key not in known:
            takes = ", ".join(known) or "no parameter"
            near = nearest(key, known)
            hint = f"did you mean {near}? " if near else ""
            raise ParameterError(key, f"= {shown(value)} is unknown; {hint}{kind} takes {takes}")
        numbers[known[key]] = _converted(key, value, types[known[key]])
    for key, field in known.items():
        if field not in numbers and field not in cls._field_defaults:  # type: ignore[attr-defined]
            raise ParameterError(key, f"is missing; {kind} takes {', '.join(known)}")
    return cls(**numbers)


def policy_of(table: Mapping[str, Any]) -> Policy:
    """A policy from plain numbers, as JSON or Python has them.

    A float stands for the decimal that it prints: 2.35 ms is exactly 2,350,000 ns.

    Raises:
        ParameterError: as :func:`build_policy`.
    """
    return build_policy({key: exact(value) for key, value in table.items()})


def exact(value: Any) -> Any:
    """Floats as the decimals that they print, in lists too."""
    if isinstance(value, float):
        return Decimal(repr(value))
    return [exact(item) for item in value] if isinstance(value, list | tuple) else value


def _converted(key: str, value: Any, hint: Any) -> Any:
    """A key's value as its field holds it."""
    in_ms = key.endswith("_ms")
    if hint in (IntArray, FloatArray):
        items = value if isinstance(value, list) else [value]
        dtype = np.int64 if hint == IntArray else np.float64
        return np.array([_number(key, value, item, hint, in_ms) for item in items], dtype=dtype)
    if hint is bool:
        if not isinstance(value, bool):
            raise ParameterError(key, f"= {shown(value)} must be true or false")
        return value
    return _number(key, value, value, hint, in_ms)


def _number(key: str, value: Any, item: Any, hint: Any, in_ms: bool) -> int | float:
    """One number of a key; ``value`` is the whole of it, for the sentence."""
    many = " or a list of them" if hint in (IntArray, FloatArray) else ""
    if in_ms:
        if not is_number(item) or Decimal(item).is_nan() or not item >= 0:
            raise ParameterError(
                key, f"= {shown(value)} must be milliseconds, not below 0 (inf: forever){many}"
            )
        if item != math.inf and item > LONGEST_MS:
            raise ParameterError(
                key, f"= {shown(value)} must be at most {float(LONGEST_MS):g}, or inf"
            )
        return ms_to_ns(item)
    if hint in (float, FloatArray):
        if not is_finite(item):
            raise ParameterError(key, f"= {shown(value)} must be a number{many}")
        return float(item)
    if not is_finite(item) or item != int(item):
        raise ParameterError(key, f"= {shown(value)} must be a whole number{many}")
    if abs(Decimal(item)) > LARGEST:
        raise ParameterError(key, f"= {shown(value)} must be at most {LARGEST}")
    return int(item)
