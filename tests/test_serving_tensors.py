"""Tensors as bytes: what goes in comes out, between processes too."""

from __future__ import annotations

import os
import struct
import threading
from multiprocessing import Pipe

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sim.tensors import DTYPES, Tensor, datatype_of, joined, read, send, split, tensor_of

SHAPES = some.lists(some.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(some.sampled_from(sorted(DTYPES)), SHAPES, some.integers(0, 2**32))
def test_an_array_comes_back_as_it_was(kind, shape, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (*shape, 8), dtype=np.uint8)
    found = np.packbits(bits, axis=-1)[..., 0].astype(DTYPES[kind])
    tensor = tensor_of("x", found)
    assert tensor.datatype == kind == datatype_of(found)
    assert tensor.shape == shape
    assert len(tensor.data) == found.nbytes
    np.testing.assert_array_equal(tensor.array(), found)


def test_elements_are_little_endian_and_in_row_major_order():
    found = np.arange(6, dtype=">i4").reshape(2, 3)
    for given_array in (found, np.asfortranarray(found)):
        tensor = tensor_of("x", given_array)
        assert tensor.datatype == "INT32"
        assert tensor.data == struct.pack("<6i", *range(6))


def test_halves_of_floats_keep_eight_bits_and_are_rounded_to_even():
    values = [1.0, -2.5, 3.140625, 0.0, 1e38, 1.00390625, 1.01171875]
    tensor = tensor_of("x", np.array(values, dtype=np.float32), "BF16")
    assert len(tensor.data) == 14
    assert tensor.array().dtype == np.float32
    # two that lie in the middle between two neighbours go to the even one
    expected = [1.0, -2.5, 3.140625, 0.0, tensor.array()[4], 1.0, 1.015625]
    assert tensor.array().tolist() == expected
    assert tensor.array()[4] == pytest.approx(1e38, rel=2**-8)


@given(some.lists(some.binary(max_size=20) | some.text(max_size=8), max_size=6))
def test_texts_and_bytes_come_back_as_bytes(elements):
    raw = [one.encode() if isinstance(one, str) else one for one in elements]
    assert split(joined(elements), len(elements)) == raw


@pytest.mark.parametrize(
    ("data", "count", "sentence"),
    [
        (b"\x01\x00", 1, "the data end after 0 of 1 elements"),
        (b"\x03\x00\x00\x00ab", 1, "element 0 has 3 bytes, but 2 follow"),
        (b"\x01\x00\x00\x00abc", 1, "2 bytes follow the last of 1 elements"),
        (b"", 1, "the data end after 0 of 1 elements"),
        (b"\xff\xff\xff\xff", 1, "element 0 has 4294967295 bytes, but 0 follow"),
    ],
)
def test_bytes_that_are_no_elements_are_said(data, count, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        split(data, count)


def test_a_view_that_does_not_lie_as_numpy_wants_is_copied():
    data = memoryview(bytearray(9))[1:]
    data[:] = struct.pack("<d", 2.5)
    found = Tensor("x", "FP64", (1,), data).array()
    assert found.flags.aligned
    assert found.tolist() == [2.5]


@pytest.mark.parametrize("wrong", [np.array([1j]), np.array(["2020"], dtype="datetime64[D]")])
def test_what_the_protocol_has_no_type_for_is_said(wrong):
    with pytest.raises(TypeError, match="has no datatype of the protocol"):
        tensor_of("x", wrong)


def test_an_object_that_is_no_text_is_said():
    with pytest.raises(TypeError, match="an element is int, not text or bytes"):
        tensor_of("x", np.array([b"a", 3], dtype=object))


def exchanged(head, groups):
    """What arrives at the other end of a pipe, whatever its size."""
    ours, theirs = Pipe()
    found = []
    reader = threading.Thread(target=lambda: found.append(read(theirs, theirs.recv_bytes()[1:])))
    reader.start()
    send(ours, b"K", head, groups)
    reader.join()
    ours.close()
    theirs.close()
    return found[0]


@given(
    some.lists(
        some.tuples(some.lists(some.binary(max_size=9), max_size=3), some.none() | some.text()),
        max_size=4,
    )
)
def test_a_message_has_its_groups_as_they_were_sent(said):
    groups = [
        ([Tensor(f"t{at}", "UINT8", (len(data),), data) for at, data in enumerate(parts)], also)
        for parts, also in said
    ]
    head, found = exchanged({"place": 3}, groups)
    assert head == {"place": 3}
    assert [
        ([(part.name, part.shape, bytes(part.data)) for part in parts], also)
        for parts, also in found
    ] == [([(part.name, part.shape, part.data) for part in parts], also) for parts, also in groups]


def test_a_message_may_be_larger_than_what_the_system_buffers_and_have_many_parts():
    large = np.random.default_rng(1).integers(0, 256, 5_000_000, dtype=np.uint8)
    many = [tensor_of(str(at), np.full(7, at)) for at in range(2000)]
    _, found = exchanged(None, [([tensor_of("large", large)], None), (many, None)])
    np.testing.assert_array_equal(found[0][0][0].array(), large)
    assert [part.array()[0] for part in found[1][0]] == list(range(2000))


def test_a_message_is_whole_though_the_system_takes_it_bit_by_bit(monkeypatch):
    whole = os.writev

    def bit_by_bit(file, buffers):
        return whole(file, [buffers[0][: max(1, len(buffers[0]) // 2)]])

    monkeypatch.setattr(os, "writev", bit_by_bit)
    many = [tensor_of(str(at), np.arange(at)) for at in range(1, 40)]
    _, found = exchanged(None, [(many, None)])
    assert [part.array().tolist() for part in found[0][0]] == [
        list(range(at)) for at in range(1, 40)
    ]


def test_a_sender_that_ends_early_is_noticed():
    ours, theirs = Pipe()
    ours.send_bytes(b'K[null,[[[["x","UINT8",[9],9]],null]]]')
    ours.close()
    with pytest.raises(EOFError):
        read(theirs, theirs.recv_bytes()[1:])
    theirs.close()
