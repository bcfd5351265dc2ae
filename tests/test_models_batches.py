"""How a batch is collated, which bucket it gets, and what is read of the machine."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")

from profiles.models import MODELS, buckets, machine  # noqa: E402
from profiles.models.inputs import Feed, Staging, collate  # noqa: E402


def test_rows_of_a_bucket_beyond_the_requests_are_empty_with_a_full_mask():
    feed = Feed(pool=torch.arange(1, 10_000), width=int, padded=int, positions=int)
    items = [feed.item(0, 3), feed.item(1, 2)]
    staging = Staging(pinned=False)
    collate(feed, [feed.item(0, 6)] * 4, [6] * 4, staging, (4, 6))
    values, mask = collate(feed, items, [3, 2], staging, (4, 5))
    assert values.tolist() == [[1, 2, 3, 0, 0], [7920, 7921, 0, 0, 0], [0] * 5, [0] * 5]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1] * 5, [1] * 5]


@pytest.mark.parametrize("unit", ["tokens", "audio_ms"])
def test_a_bucket_is_the_smallest_that_holds_the_batch(unit):
    lengths = buckets.LENGTHS[unit]
    for size in range(1, 300):
        wide, _ = buckets.bucket(size, 1, lengths)
        below = [edge for edge in buckets.SIZES if edge < wide]
        assert wide >= size
        assert buckets.bucket(wide, 1, lengths)[0] == wide
        assert not below or below[-1] < size or wide > 128
    assert buckets.bucket(129, 1, lengths)[0] == 256
    for length in range(1, lengths[-1] + 1, 7):
        _, long = buckets.bucket(1, length, lengths)
        assert long == min(edge for edge in lengths if edge >= length)


def test_every_length_of_a_model_has_a_bucket():
    for row in MODELS.values():
        assert buckets.LENGTHS[row.unit][-1] == row.longest


FAULTS = """
import resource, sys, torch
from profiles.models.machine import keep_memory
if sys.argv[1] == "kept" and not keep_memory():
    sys.exit("not glibc")
for _ in range(3):
    torch.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_freed_memory_is_kept_and_not_mapped_anew():
    def faults(kind):
        command = [sys.executable, "-c", FAULTS, kind]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults("kept") < 100 < 1_000 < faults("default")


def test_another_malloc_is_left_alone(monkeypatch):
    monkeypatch.setattr(machine.platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(machine.ctypes, "CDLL", None)
    assert not machine.keep_memory()


def test_the_driver_is_read_from_the_kernels_file(monkeypatch, tmp_path):
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n")
    monkeypatch.setattr(machine, "DRIVER_FILE", path)
    assert machine.driver(torch.device("cuda")) == "550.54.15"
    path.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Rel\n")
    assert machine.driver(torch.device("cuda")) == "580.95.05"
    assert machine.driver(torch.device("cpu")) == "none"
