"""Requests of the Open Inference Protocol: one row each, as long as a request is.

1. Token ids are random and of the length that was drawn, audio is noise of 16,000 samples a second;
   masks are ones, types of tokens zeros.
2. Open dimensions of an input are one row and the length; fixed ones stay.
3. ``parameters.timeout`` says in microseconds how patient a request is.
4. A text has as many words as a request has tokens.
5. With ``binary`` tensors follow the JSON as bytes.  Of a model with one input all requests then
   share one piece of data, of which each has its beginning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.sentences import ScenarioError
from policies.contract import NEVER, Tier
from sim.workload import Workload

from .endpoint import Endpoint, Input, Model
from .http_answers import request_bytes

SAMPLES_PER_MS = 16
FIRST_ID, LAST_ID = 1000, 29_999
"""Of tokens: what vocabularies of BERT's kind have whole words for."""
TIER_HEADER = "x-batchwright-tier"
BINARY_HEADER = "Inference-Header-Content-Length"
TYPES = {
    "INT8": "i1", "INT16": "i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "?",
}  # fmt: skip
"""numpy's words for datatypes."""
WORD = "batch "
"""What texts are made of, one for each token."""


class Request(NamedTuple):
    """As it goes over the wire."""

    data: bytes
    shares: int
    """Bytes of the shared data that follow."""


class Bodies:
    """See the module's docstring."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: Model,
        tiers: Sequence[Tier],
        unit: str,
        longest: int,
        *,
        binary: bool = False,
        seed: int = 0,
    ) -> None:
        """Prepare data for the longest request.

        Raises:
            ScenarioError: the server takes no binary data, or the model other things than numbers
                and text.
        """
        if binary and not model.binary:
            raise ScenarioError(f"{endpoint.url} takes no binary tensors; leave --binary out")
        self.endpoint, self.model, self.binary = endpoint, model, binary
        self.tiers, self.unit = tiers, unit
        self.path = f"{endpoint.prefix}/v2/models/{model.name}/infer"
        rng = np.random.default_rng(seed)
        most = self._size(longest)
        self.data = [_data(one, most, rng) for one in model.inputs]
        self.shared = self.data[0].tobytes() if self._shares else b""
        self._words = [[] if binary else _words(data) for data in self.data]
        self._known: dict[tuple[int, int, int], Request] = {}

    def requests(self, workload: Workload) -> list[Request]:
        """One for each of a workload; equal ones are one object."""
        count = len(workload)
        tier = workload.tier.tolist() or [0] * count
        timeout = workload.timeout_ns.tolist() or [NEVER] * count
        return [self.request(*one) for one in zip(workload.length.tolist(), tier, timeout,
                                                  strict=True)]  # fmt: skip

    def request(self, length: int, tier: int = 0, timeout_ns: int = NEVER) -> Request:
        """One request."""
        key = (length, tier, timeout_ns)
        if key not in self._known:
            self._known[key] = self._made(*key)
        return self._known[key]

    @property
    def _shares(self) -> bool:
        return self.binary and len(self.data) == 1 and self.data[0].dtype != object

    def _size(self, length: int) -> int:
        """Elements of a request of a length."""
        return length * SAMPLES_PER_MS if self.unit == "audio_ms" else length

    def _made(self, length: int, tier: int, timeout_ns: int) -> Request:
        parameters = {} if timeout_ns == NEVER else {"timeout": max(1, timeout_ns // 1000)}
        inputs, after = [], []
        for one, data, words in zip(self.model.inputs, self.data, self._words, strict=True):
            shape = shape_of(one, self._size(length))
            count = math.prod(shape)
            said: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": shape}
            mine = data[:count] if len(data) else _texts(length, count)
            if self.binary:
                after.append(_bytes(mine))
                said["parameters"] = {"binary_data_size": len(after[-1])}
                inputs.append(json.dumps(said, separators=(",", ":")))
            else:
                head = json.dumps(said, separators=(",", ":"))[:-1]
                values = words[:count] if words else _words(mine)
                inputs.append(f'{head},"data":[{",".join(values)}]}}')
        more = f'"parameters":{json.dumps(parameters)},' if parameters else ""
        text = f'{{{more}"inputs":[{",".join(inputs)}]}}'.encode()
        return self._whole(text, tier, after)

    def _whole(self, text: bytes, tier: int, after: Sequence[bytes]) -> Request:
        headers = dict(self.endpoint.headers)
        if len(self.tiers) > 1:
            headers[TIER_HEADER] = self.tiers[tier].name
        kind = "application/json"
        if after:
            headers[BINARY_HEADER] = str(len(text))
            kind = "application/octet-stream"
        follows = sum(map(len, after))
        if not self._shares:
            text, follows = b"".join([text, *after]), 0
        data = request_bytes(
            self.endpoint.authority, self.path, text, kind, headers=headers, follows=follows
        )
        return Request(data, follows)


def shape_of(one: Input, size: int) -> list[int]:
    """The shape of an input in a request of so many elements (rule 2)."""
    if one.datatype == "BYTES":
        return [1 if known < 0 else known for known in one.shape] or [1]
    found = [1 if known < 0 else known for known in one.shape]
    if not found:
        return [1, size]
    if one.shape[-1] < 0:
        found[-1] = size
    return found


def _data(one: Input, most: int, rng: np.random.Generator) -> NDArray[Any]:
    """What an input holds at most."""
    count = max(most, math.prod(shape_of(one, most)))
    if one.datatype == "BYTES":  # made for each length
        return np.array([], dtype=object)
    if one.datatype not in TYPES:
        raise ScenarioError(
            f"input {one.name} of the model has {one.datatype}, which load does not make; it makes "
            f"BYTES, {', '.join(TYPES)}"
        )
    kind = np.dtype(TYPES[one.datatype])
    if kind.kind == "f":
        return (rng.standard_normal(count) * 0.1).round(3).astype(kind)
    if "mask" in one.name or kind.kind == "b":
        return np.ones(count, dtype=kind)
    if "type" in one.name or kind.itemsize < 2:
        return np.zeros(count, dtype=kind)
    return rng.integers(FIRST_ID, LAST_ID + 1, count).astype(kind)


def _texts(length: int, count: int) -> NDArray[Any]:
    """Elements of an input that takes text."""
    return np.array([(WORD * length).strip()] * count, dtype=object)


def _words(data: NDArray[Any]) -> list[str]:
    """Elements as JSON has them."""
    if data.dtype.kind == "f":
        return [f"{value:.3f}" for value in data.tolist()]
    return [json.dumps(value) for value in data.tolist()]


def _bytes(data: NDArray[Any]) -> bytes:
    """Elements as bytes follow the JSON; texts have their length before them."""
    if data.dtype != object:
        return data.tobytes()
    texts = [text.encode() for text in data.tolist()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


__all__ = ["SAMPLES_PER_MS", "Bodies", "Request", "shape_of"]
