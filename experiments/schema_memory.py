"""Tables of a scenario file: the memory that batches have, under ``service.memory``.

What a batch takes is given here, or comes from the profile where its memory was measured.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import PlainValidator, model_validator

from .sentences import broken_rule
from .tables import Table
from .values import decimal

MOST = Decimal(10) ** 9
"""An exbibyte in GiB: nothing that a device has."""

GibAbove0 = Annotated[
    Decimal, PlainValidator(decimal("a number of GiB above 0", lambda x: x > 0, MOST))
]
Gib = Annotated[
    Decimal, PlainValidator(decimal("a number of GiB, not below 0", lambda x: x >= 0, MOST))
]
Mib = Annotated[
    Decimal, PlainValidator(decimal("a number of MiB, not below 0", lambda x: x >= 0, MOST))
]


class MemoryTable(Table):
    """``fixed + per_request x size + per_length x size x longest length``, up to a limit."""

    limit_gib: GibAbove0 | None = None
    """What batches may take, weights included; not given: a share of what the profile's device has.
    """
    fixed_gib: Gib | None = None
    """Weights, and what else is there without a batch."""
    per_request_mib: Mib | None = None
    per_length_mib: Mib | None = None
    """For each token (or millisecond of audio) of the padded batch."""

    @model_validator(mode="after")
    def _whole_model(self) -> Self:
        own = (self.per_request_mib, self.per_length_mib)
        if self.fixed_gib is None and any(each is not None for each in own):
            raise broken_rule("give fixed_gib with per_request_mib and per_length_mib")
        if self.fixed_gib is not None and not any(each for each in own):
            raise broken_rule(
                "fixed_gib needs per_request_mib or per_length_mib above 0, or every batch fits",
                fixed_gib=self.fixed_gib,
            )
        return self
