"""What a server offers: a model under a name, tiers, and how long requests may be and wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.scenario import Scenario
from experiments.schema_service import FixedTimeout
from experiments.sentences import ScenarioError, suggestion
from experiments.units import ms_to_ns
from policies.contract import NEVER, Policy, Tier
from profiles.runner import Contract, Port
from sim.service import Service

from .inputs import LENGTH_MOST, RequestError
from .open_inference import Inference
from .taking import Taker, shown

DIGITS = 24
"""Bytes of an element in JSON: a float as Python prints it, and a comma."""
SPARE_BYTES = 64 * 1024
"""Of a body, for everything but its data."""
SAMPLES_PER_MS = 48
"""Of audio, at the highest usual rate."""


@dataclass(frozen=True)
class Offer:
    """See the module's docstring."""

    name: str
    """Of the model, in the paths."""
    platform: str
    """What serves, for people."""
    policy: Policy
    """Not bound."""
    table: Mapping[str, Any]
    """The policy as a scenario's table."""
    service: Service
    """With a bounded queue."""
    tiers: tuple[Tier, ...]
    unit: str
    rate_per_s: float
    """The most that the servers can do."""
    timeouts_ns: tuple[int, ...]
    """Of each tier."""
    longest: int
    """Longer requests are cut, or refused; as long as any where length does not matter."""
    cuts: bool
    contract: Contract | None = None
    """What the model takes and gives, where it answers from the data of requests."""

    def answering(self, contract: Contract | None) -> Offer:
        """The same, with a model that answers from the data of requests.

        Raises:
            ScenarioError: it takes waves where requests are tokens, or the other way round.
        """
        if contract is None:
            return self
        waves = bool(contract.rate)
        if contract.finite and waves != (self.unit == "audio_ms"):
            takes = "ms of audio" if waves else "tokens"
            raise ScenarioError(
                f"{self.platform} takes requests in {takes}, but those of this scenario are in "
                f"{self.unit}: serve it with a scenario of its own"
            )
        longest = min(self.longest, contract.longest)
        cuts = self.cuts and self.longest <= contract.longest
        return replace(self, contract=contract, longest=longest, cuts=cuts)

    def taker(self) -> Taker | None:
        """What holds the data of requests against the model's contract; None: there is none."""
        if self.contract is None:
            return None
        return Taker(self.name, self.contract, self.unit, self.longest, cuts=self.cuts)

    @property
    def takes(self) -> str:
        """The inputs of a request, for people."""
        taker = self.taker()
        return "lengths" if taker is None else taker.wanted()

    @property
    def gives(self) -> str:
        """The outputs, for people."""
        contract = self.contract
        outputs = () if contract is None else contract.outputs
        usual = outputs if contract is None or not contract.given else outputs[: contract.given]
        said = ", ".join(map(shown, usual)) or "what the function returns"
        others = ", ".join(port.name for port in outputs[len(usual) :])
        return f"{said} (on request: {others})" if others else said

    @property
    def body_bytes(self) -> int:
        """The largest body: the longest request as JSON."""
        longest = min(self.longest, 2**20)
        items = longest * (SAMPLES_PER_MS if self.unit == "audio_ms" else 1)
        if self.contract is not None and self.contract.inputs:
            rate = self.contract.rate
            width = -(-longest * rate // 1000) if rate else items
            items = sum(_elements(port, width) for port in self.contract.inputs)
        return SPARE_BYTES + DIGITS * items

    def length(self, asked: Inference) -> int:
        """How long a request counts.

        Raises:
            RequestError: it is too long.
        """
        if asked.length <= self.longest:
            return asked.length
        if not self.cuts:
            unit = "ms of audio" if self.unit == "audio_ms" else self.unit
            raise RequestError(
                f"the request is {asked.length} {unit} long, but the longest that is served has "
                f"{self.longest}"
            )
        return self.longest

    def tier(self, *named: str | None) -> int:
        """The tier that a request names: by its path, its header or a parameter of its own.

        Raises:
            RequestError: there is none of this name, it is named differently, or not at all.
        """
        said = {name for name in named if name is not None}
        if len(said) > 1:
            raise RequestError(f"the request names several tiers: {', '.join(sorted(said))}")
        names = [tier.name for tier in self.tiers]
        if not said:
            if len(names) == 1:
                return 0
            raise RequestError(
                "name a tier with the header x-batchwright-tier, parameters.tier or the path "
                f"/tiers/NAME/v2/...: {', '.join(names)}"
            )
        (name,) = said
        if name not in names:
            raise RequestError(f"there is no tier {name[:80]!r}; {suggestion(name, names)}")
        return names.index(name)

    def timeout_ns(self, tier: int, asked: Inference) -> int:
        """How long a request waits: as it asks, but never longer than its tier does."""
        return min(self.timeouts_ns[tier], asked.timeout_ns)


def _elements(port: Port, width: int) -> int:
    """The most elements of an input; of a text as if they were the tokens that it becomes."""
    if port.datatype == "BYTES" or not port.shape:
        return width
    return math.prod(width if size == -1 else size for size in port.shape)


def offered(
    scenario: Scenario,
    policy: Policy,
    table: Mapping[str, Any],
    *,
    name: str,
    platform: str,
    capacity: int | None = None,
) -> Offer:
    """What a scenario offers with one of its policies.

    Args:
        scenario: as it was loaded.
        policy: not bound.
        table: the policy as a scenario writes it.
        name: of the model.
        platform: what serves.
        capacity: how many may wait; None: as many as the scenario says, or as can be served within
            the longest SLO (a second without any).

    Raises:
        ScenarioError: it has what a server does not.
    """
    _check(scenario)
    _, service = scenario.draw()
    if capacity is not None or service.capacity == NEVER:
        service = replace(service, capacity=capacity or usual_capacity(scenario))
    spec = scenario.spec
    lengths_matter = scenario.profile is not None or len(scenario.length_edges) > 1
    return Offer(
        name=name,
        platform=platform,
        policy=policy,
        table=table,
        service=replace(service, longest_admitted=NEVER),
        tiers=scenario.tiers,
        unit=scenario.workload.unit or scenario.workload.length_unit,
        rate_per_s=scenario.rate_max_per_s,
        timeouts_ns=_timeouts_ns(scenario),
        longest=int(scenario.length_edges[-1]) if lengths_matter else LENGTH_MOST,
        cuts=spec.service.over_length == "truncate" or not lengths_matter,
    )


def usual_capacity(scenario: Scenario) -> int:
    """How many may wait where nothing says it: who stands further back misses the longest SLO."""
    slos_ns = [tier.slo_ns for tier in scenario.tiers if tier.slo_ns != NEVER]
    within_s = max(slos_ns, default=10**9) / 1e9
    largest = int(scenario.service_ns.shape[1])
    return max(2 * largest * scenario.servers, round(scenario.rate_max_per_s * within_s))


def _timeouts_ns(scenario: Scenario) -> tuple[int, ...]:
    """Of each tier; impatience that is drawn is of clients, who hang up by themselves."""
    known = [scenario.spec.service.timeout]
    tiers = scenario.spec.workload.tiers or ()
    own = [tier.timeout or known[0] for tier in tiers] or known
    return tuple(
        ms_to_ns(timeout.ms) if isinstance(timeout, FixedTimeout) else NEVER for timeout in own
    )


def _check(scenario: Scenario) -> None:
    service = scenario.spec.service
    problem = ""
    if len(scenario.service_ns) > 1:
        problem = "has a model for each tier; serve takes one model for all"
    for stage in ("preprocessing", "postprocessing"):
        if getattr(service, stage) is not None:
            problem = f"has service.{stage}; serve runs what batches, without CPU stages around it"
    if scenario.spec.workload.sequences is not None:
        problem = (
            "has workload.sequences; serve takes requests that belong to none (Triton keeps them "
            "together: batchwright export --to triton)"
        )
    cluster = service.cluster
    if cluster is not None and getattr(scenario.draw()[1].grouping, "changes", False):
        problem = (
            "has replicas that come and go (service.cluster); serve takes servers that are there "
            "from beginning to end"
        )
    if problem:
        raise ScenarioError(f"scenario {scenario.name} {problem}")


__all__ = ["Offer", "offered", "usual_capacity"]
