"""The memory of a scenario's device: which batches fit, and policies held to that.

1. The table of service times ends with the largest batch that fits at the shortest length that
   arrives.
2. A rule that does not look at lengths may meet the longest in any batch, so its largest batch has
   to fit at the longest length.  One that does has a method ``within_memory`` and may take more
   where requests are short.
3. A size that a scenario does not give is the largest that fits.  One that it gives and that does
   not fit is wrong input.
4. After a run every batch is held against the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import POLICIES
from policies.contract import IntArray, Policy, bind
from profiles.memory import MemoryModel

from .resolve import KeyedError
from .rules import ParameterError, parameters, policy_of
from .schema import Spec
from .sentences import RunFailed

if TYPE_CHECKING:
    from sim.trace import Trace

    from .scenario import Scenario

GIB, MIB = 2.0**30, 2.0**20

WORDS = {"tokens": "tokens", "audio_ms": "ms"}
"""Units of length in words."""

KEY = "service.memory"


@dataclass(frozen=True, eq=False)
class Memory:
    """What fits into the device of a scenario."""

    model: MemoryModel
    limit: float
    """Bytes."""
    edges: IntArray
    """int64 (edges,): lengths that shorter requests are padded to; none where they are not."""
    length: IntArray
    """int64 (V,), increasing: the lengths that arrive, as the service sees them."""
    known: int
    """The largest batch that service times are known of."""
    unit: str
    """``tokens`` or ``audio_ms``."""
    files: Mapping[str, str]
    """SHA-256 of the file with the measured memory, by name."""

    def narrowed(self, spec: Spec) -> Spec:
        """A scenario's file as if it had given the sizes that it leaves open."""
        tables = {}
        for name, table in spec.policies.items():
            try:
                tables[name] = self.filled(table)
            except ParameterError:
                tables[name] = table  # told by who builds it next
        return spec.model_copy(update={"policies": tables})

    def most(self, length: IntArray | int) -> IntArray:
        """The largest batch that fits at each longest length."""
        return self.model.most(self.limit, self._padded(length), self.known)

    @property
    def largest(self) -> int:
        """The largest batch that fits at the shortest length."""
        return int(self.most(self.length[0]))

    @property
    def at_longest(self) -> int:
        """The largest batch that fits at the longest length."""
        return int(self.most(self.length[-1]))

    @property
    def binds(self) -> bool:
        """Whether some batch that is known does not fit."""
        return self.at_longest < self.known

    def filled(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """A policy's table with the sizes that it does not give: the largest that fit."""
        found = self.within(table)
        return {**found, **{key: value for key, value in table.items() if value not in (0, [])}}

    def within(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """As :meth:`filled`, and sizes of a rule that looks at lengths made to fit."""
        if not self.binds:
            return dict(table)
        policy = policy_of(table)
        known = parameters(type(policy))
        own = getattr(policy, "within_memory", None)
        if own is not None:
            found = own(self.length, self.most(self.length))
            changed = {k: getattr(found, f) for k, f in known.items() if _differ(policy, found, f)}
            return {**table, **{key: _plain(value) for key, value in changed.items()}}
        optional = getattr(type(policy), "_field_defaults", {}).get("max_batch_size") == 0
        open_size = optional and getattr(policy, "max_batch_size", None) == 0
        return {**table, "max_batch_size": self.at_longest} if open_size else dict(table)

    def searched(self, kind: str) -> int:
        """The largest size that a search may try for a kind of policy."""
        aware = hasattr(POLICIES.get(kind), "within_memory")
        return self.largest if aware else self.at_longest

    def check_trace(self, policy: str, trace: Trace) -> None:
        """Hold every batch of a run against the limit.

        Raises:
            RunFailed: one does not fit.
        """
        size, longest = trace.batch_size, trace.batch_longest
        above = np.flatnonzero(size > self.most(longest.astype(np.int64)))
        if len(above):
            count, length = int(size[above[0]]), int(longest[above[0]])
            raise RunFailed(
                f"policy {policy} made a batch of {count} with longest length {length}, which "
                f"needs {self.needs(count, length)}, but {self.limit_text} are there; at that "
                f"length at most {int(self.most(length))} fit"
            )

    def needs(self, size: int, length: int) -> str:
        """What a batch takes, in words."""
        return gib(float(self.model.bytes_of(size, self._padded(length))))

    @property
    def limit_text(self) -> str:
        """The limit, in words."""
        return gib(self.limit)

    def line(self) -> str:
        """One line for a terminal."""
        return line_of(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        model = self.model
        return {
            "limit_gib": self.limit / GIB,
            "fixed_gib": model.fixed / GIB,
            "per_request_mib": model.per_request / MIB,
            "per_length_mib": model.per_length / MIB,
            "per_length_squared_mib": model.per_square / MIB,
            "length_unit": self.unit,
            "longest": int(self.length[-1]),
            "largest_batch_at_longest": self.at_longest,
            "shortest": int(self.length[0]),
            "largest_batch_at_shortest": self.largest,
        }

    def _padded(self, length: IntArray | int) -> IntArray:
        """Lengths as the device sees them."""
        found: IntArray = np.asarray(length, dtype=np.int64)
        if len(self.edges):
            place = np.searchsorted(self.edges, found).clip(max=len(self.edges) - 1)
            found = np.maximum(found, self.edges[place])
        return found


def check(memory: Memory, scenario: Scenario, known_ns: IntArray) -> None:
    """Refuse policies whose batches do not fit.

    Args:
        memory: of the scenario.
        scenario: with its policies.
        known_ns: int64 (models, largest batch that is known, edges): nothing is cut yet.

    Raises:
        KeyedError: one does not fit; the sentence says what would.
    """
    if not memory.binds:
        return
    slowest_ns, edges = known_ns.max(axis=0), scenario.length_edges
    for name, policy in scenario.policies.items():
        if hasattr(policy, "within_memory"):
            _check_aware(memory, name, policy)
            continue
        try:
            bind(policy, slowest_ns, edges, scenario.tiers, scenario.servers)
        except ValueError:
            continue  # wrong with any memory: told by who binds it next
        try:
            few_ns = slowest_ns[: memory.at_longest]
            bind(policy, few_ns, edges, scenario.tiers, scenario.servers)
        except ValueError as error:
            known = parameters(type(policy))
            named = [key for key, field in known.items() if field in str(error)]
            raise _refused(memory, name, policy, sorted(named, key=len)[-1:]) from error


def _check_aware(memory: Memory, name: str, policy: Policy) -> None:
    """A rule that looks at lengths, and is not what would be left of it."""
    fitted: Any = getattr(policy, "within_memory")(memory.length, memory.most(memory.length))  # noqa: B009
    for key, field in parameters(type(policy)).items():
        if _differ(policy, fitted, field):
            full = f"policies.{name}.{key}"
            given, right = (_shown(getattr(each, field)) for each in (policy, fitted))
            raise KeyedError(
                full,
                f"{full} = {given} lets batches grow beyond the {memory.limit_text} that are "
                f"there ({KEY}); the largest that fits is {right}",
            )


def _refused(memory: Memory, name: str, policy: Policy, keys: list[str]) -> KeyedError:
    """What is wrong with a rule that does not look at lengths."""
    longest, most = int(memory.length[-1]), memory.at_longest
    key = ".".join(["policies", name, *keys])
    there = f"but {memory.limit_text} are there; at that length at most {most} fit"
    field = parameters(type(policy)).get(*keys) if keys else None
    if field is None:
        return KeyedError(key, f"{key} makes batches that do not fit at length {longest}, {there}")
    size = int(np.max(getattr(policy, field)))
    needs = memory.needs(size, longest)
    return KeyedError(key, f"{key} = {size} needs {needs} at length {longest}, {there}")


def _differ(first: Policy, second: Policy, field: str) -> bool:
    return not np.array_equal(getattr(first, field), getattr(second, field))


def _plain(value: Any) -> Any:
    """A field as a scenario file writes it."""
    return value.tolist() if isinstance(value, np.ndarray) else int(value)


def _shown(value: Any) -> Any:
    """A field in words; a list of one is as good as its value."""
    plain = _plain(value)
    return plain[0] if isinstance(plain, list) and len(plain) == 1 else plain


def line_of(facts: Mapping[str, Any]) -> str:
    """One line on :meth:`Memory.to_dict`."""
    unit = WORDS[facts["length_unit"]]
    ends = [(facts["largest_batch_at_longest"], facts["longest"])]
    if facts["largest_batch_at_shortest"] > ends[0][0]:
        ends.append((facts["largest_batch_at_shortest"], facts["shortest"]))
    sizes = " or ".join(f"{size} at {length:,} {unit}" for size, length in ends)
    return f"memory: {gib(facts['limit_gib'] * GIB)}, which hold a batch of {sizes}"


def gib(amount: float) -> str:
    """Bytes as people read them."""
    return f"{amount / GIB:.3g} GiB" if amount >= GIB / 10 else f"{amount / MIB:.3g} MiB"
