"""Tables of a scenario file: what serves the queue, under ``service``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from profiles.forms import FORMS

from .schema_cluster import Cluster
from .schema_memory import MemoryTable
from .sentences import broken_rule, missing_key
from .tables import Table, chosen_by, chosen_by_key, require_one
from .values import (
    Count,
    Drift,
    Index,
    Milliseconds,
    MillisecondsAbove0,
    Patience,
    Positive,
    Text,
    one_of,
    positives,
)


class FixedTimeout(Table):
    """Everybody waits equally long before giving up."""

    ms: Patience = Field(description="how long a request waits before it gives up")


class ExponentialTimeout(Table):
    """Exponential patience."""

    process: Annotated[str, one_of("exponential")]
    mean_ms: MillisecondsAbove0 = Field(description="the mean patience in milliseconds")


Timeout = Annotated[
    FixedTimeout | ExponentialTimeout,
    chosen_by_key(ms=FixedTimeout, mean_ms=ExponentialTimeout),
]


class Capacity(Table):
    """How many requests may wait (or be in the system) before the next one is rejected."""

    requests: Index = Field(description="how many requests may be there")
    counts: Annotated[str, one_of("waiting", "in_system")] = "waiting"


class NoNoise(Table):
    """Every batch takes exactly the profile's time."""

    kind: Literal["none"]


class ProfileNoise(Table):
    """The spread that was measured with the profile."""

    kind: Literal["profile"]


class BlocksNoise(Table):
    """The same spread, in the order in which steady calls were measured, by blocks of 60 calls."""

    kind: Literal["blocks"]


class GammaNoise(Table):
    """A gamma factor of mean 1; ``cv = 1`` is exponential."""

    kind: Literal["gamma"]
    cv: Positive = Field(description="the coefficient of variation of service times")


class LognormalNoise(Table):
    """A lognormal factor of mean 1."""

    kind: Literal["lognormal"]
    cv: Positive = Field(description="the coefficient of variation of service times")


AnyNoise = Annotated[
    NoNoise | ProfileNoise | BlocksNoise | GammaNoise | LognormalNoise,
    chosen_by(
        "kind",
        none=NoNoise,
        profile=ProfileNoise,
        blocks=BlocksNoise,
        gamma=GammaNoise,
        lognormal=LognormalNoise,
    ),
]
ModelNoise = Annotated[
    NoNoise | GammaNoise | LognormalNoise,
    chosen_by("kind", none=NoNoise, gamma=GammaNoise, lognormal=LognormalNoise),
]


class Affine(Table):
    """``base + per_request x size + per_length x size x longest length``."""

    base_ms: Milliseconds
    per_request_ms: Milliseconds = Decimal(0)
    per_length_ms: Milliseconds = Decimal(0)
    max_batch_size: Count = 256
    """Larger than any batch that pays on the GPUs of the shipped profiles."""
    noise: ModelNoise | None = None

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.base_ms + self.per_request_ms + self.per_length_ms == 0:
            raise broken_rule("a batch must take some time", base_ms=self.base_ms)
        return self


class Listed(Table):
    """A time for each batch size, from 1 on."""

    table_ms: Annotated[
        tuple[Decimal, ...], positives(1, "a list of milliseconds above 0, one a batch size")
    ]
    noise: ModelNoise | None = None


Model = Annotated[Affine | Listed, chosen_by_key(base_ms=Affine, table_ms=Listed)]


class CpuStage(Table):
    """CPU workers before or after the GPU, one request at a time each.

    A request takes ``base + per_length x length``.
    """

    workers: Count = Field(description="how many requests it serves at a time, each by one worker")
    base_ms: Milliseconds = Decimal(0)
    per_length_ms: Milliseconds = Decimal(0)
    noise: ModelNoise | None = None

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.base_ms + self.per_length_ms == 0:
            raise missing_key("base_ms", "how long a request takes (or per_length_ms)")
        return self


class Service(Table):
    """How long a batch takes, on how many servers, and who may wait for it."""

    profile: Text | None = None
    model: Model | None = None
    servers: Count = 1
    cluster: Cluster | None = None
    """How the servers stand together; not given: they share one queue."""
    capacity: Capacity | None = None
    timeout: Timeout | None = None
    memory: MemoryTable | None = None
    preprocessing: CpuStage | None = None
    postprocessing: CpuStage | None = None
    noise: AnyNoise | None = None
    latency: Annotated[Literal["grid", "fitted", "hinge", "bucket"] | None, one_of(*FORMS)] = None
    """Not given: what :func:`profiles.forms.default_form` says of the profile."""
    drift: Drift | None = None
    """Standard deviation of a factor on all service times, drawn once a replication.  Not given: no
    drift, since published figures do not say how far the next run of the same machine lies."""
    over_length: Annotated[
        Literal["error", "truncate", "reject"], one_of("error", "truncate", "reject")
    ] = "error"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        require_one(self, "profile", "model")
        if self.model is not None and self.model.noise is not None and self.noise is not None:
            raise broken_rule("give noise once, in service or in service.model")
        if self.model is not None and isinstance(self.noise, ProfileNoise | BlocksNoise):
            raise broken_rule(f'noise of kind "{self.noise.kind}" needs a profile, not a model')
        if self.model is not None and self.latency is not None:
            raise broken_rule("latency is the form of a profile, and a model has its own")
        return self
