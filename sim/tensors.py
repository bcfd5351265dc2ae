"""Tensors as bytes: between HTTP, the process that batches and the one that serves.

1. A tensor is what the binary data extension of the Open Inference Protocol sends: elements in
   row-major order, little-endian; ``BYTES`` are elements with their length in 4 bytes before each.
2. Between two processes one message says what comes, and the bytes follow as they are: they are
   copied into one buffer there, of which arrays are views.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

DTYPES: dict[str, str] = {
    "BOOL": "|b1", "UINT8": "|u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "|i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4",
    "FP64": "<f8",
}  # fmt: skip
"""What numpy has of the datatypes; it lacks BF16, and BYTES are objects."""
KINDS = {np.dtype(code).newbyteorder("="): kind for kind, code in DTYPES.items()}
PARTS_MOST = 512
"""Buffers of one system call, of which POSIX wants at least 16 and Linux takes 1024."""


class Tensor(NamedTuple):
    """One input or output of one request."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | bytearray | memoryview

    def array(self) -> np.ndarray:
        """Its elements: a view of the data where they lie as numpy wants; BF16 becomes float32.

        Raises:
            ValueError: the data are of another size.
        """
        if self.datatype == "BYTES":
            found = np.empty(math.prod(self.shape), dtype=object)
            found[:] = split(self.data, len(found))
            return found.reshape(self.shape)
        if self.datatype == "BF16":
            halves = np.frombuffer(self.data, "<u2").astype(np.uint32)
            return (halves << 16).view(np.float32).reshape(self.shape)
        found = np.frombuffer(self.data, DTYPES[self.datatype]).reshape(self.shape)
        return found if found.flags.aligned else found.copy()


def tensor_of(name: str, found: np.ndarray, datatype: str | None = None) -> Tensor:
    """An array as bytes.

    Args:
        name: of the tensor.
        found: its elements; texts and bytes are BYTES.
        datatype: what to make of it; None: what it is.

    Raises:
        TypeError: there is no such datatype for it.
    """
    if datatype is None:
        datatype = datatype_of(found)
    if datatype == "BYTES":
        return Tensor(name, datatype, found.shape, joined(found.ravel().tolist()))
    if datatype == "BF16":
        bits = np.ascontiguousarray(found, np.float32).view(np.uint32)
        nearest = bits + 0x7FFF + ((bits >> 16) & 1)
        return Tensor(name, datatype, found.shape, (nearest >> 16).astype("<u2").tobytes())
    plain = np.ascontiguousarray(found, DTYPES[datatype])
    return Tensor(name, datatype, found.shape, plain.tobytes())


def datatype_of(found: np.ndarray) -> str:
    """What the Open Inference Protocol calls the type of an array.

    Raises:
        TypeError: nothing.
    """
    if found.dtype.kind in "OSU":
        return "BYTES"
    kind = KINDS.get(found.dtype.newbyteorder("="))
    if kind is None:
        raise TypeError(f"an array of {found.dtype} has no datatype of the protocol")
    return kind


def joined(elements: Sequence[Any]) -> bytes:
    """BYTES: each element behind its length.

    Raises:
        TypeError: one is neither text nor bytes.
    """
    parts = []
    for element in elements:
        if not isinstance(element, str | bytes):
            raise TypeError(f"an element is {type(element).__name__}, not text or bytes")
        raw = element.encode() if isinstance(element, str) else element
        parts += [struct.pack("<I", len(raw)), raw]
    return b"".join(parts)


def split(data: bytes | bytearray | memoryview, count: int) -> list[bytes]:
    """The elements of BYTES.

    Raises:
        ValueError: there are not so many, or something follows.
    """
    found: list[bytes] = []
    at = 0
    for _ in range(count):
        if at + 4 > len(data):
            raise ValueError(f"the data end after {len(found)} of {count} elements")
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if at + size > len(data):
            raise ValueError(f"element {len(found)} has {size} bytes, but {len(data) - at} follow")
        found.append(bytes(data[at : at + size]))
        at += size
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes follow the last of {count} elements")
    return found


Group = tuple[Sequence[Tensor], Any]
"""Tensors of one request, and something of JSON that goes with them."""


def send(connection: Connection, kind: bytes, head: Any, groups: Sequence[Group]) -> None:
    """Send a message with tensors.

    Args:
        connection: the other side waits for it, or soon will.
        kind: one byte.
        head: anything of JSON.
        groups: one for each request.

    Raises:
        OSError: the other side is gone.
    """
    said = [[[[*part[:3], _size(part)] for part in parts], with_it] for parts, with_it in groups]
    connection.send_bytes(kind + json.dumps([head, said], separators=(",", ":")).encode())
    buffers = [memoryview(part.data).cast("B") for parts, _ in groups for part in parts]
    write_all(connection.fileno(), [buffer for buffer in buffers if len(buffer)])


def read(connection: Connection, message: bytes) -> tuple[Any, list[Group]]:
    """What :func:`send` sent, from the message that came without its kind.

    Raises:
        EOFError: the other side ended before the data were whole.
    """
    head, said = json.loads(message)
    total = sum(size for parts, _ in said for *_, size in parts)
    data = read_all(connection.fileno(), total)
    groups: list[Group] = []
    at = 0
    for parts, with_it in said:
        tensors = []
        for name, datatype, shape, size in parts:
            tensors.append(Tensor(name, datatype, tuple(shape), data[at : at + size]))
            at += size
        groups.append((tensors, with_it))
    return head, groups


def write_all(file: int, buffers: list[memoryview]) -> None:
    """Write them one behind the other, without joining them."""
    while buffers:
        written = os.writev(file, buffers[:PARTS_MOST])
        while buffers and written >= len(buffers[0]):
            written -= len(buffers.pop(0))
        if written:
            buffers[0] = buffers[0][written:]


def read_all(file: int, total: int) -> memoryview:
    """So many bytes, in one buffer of its own.

    Raises:
        EOFError: they do not come.
    """
    data = memoryview(bytearray(total))
    at = 0
    while at < total:
        count = os.readv(file, [data[at:]])
        if not count:
            raise EOFError
        at += count
    return data


def _size(tensor: Tensor) -> int:
    return memoryview(tensor.data).nbytes


__all__ = ["DTYPES", "Tensor", "datatype_of", "read", "send", "split", "tensor_of"]
