"""Compiled kernels are found again by the next process, and never for another rule's code."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from policies.contract import NEVER, PolicyError, fire, wait
from policies.greedy import Greedy
from sim import kernel, model
from sim.cache import cache_folder, code_digest, compile_kept, kernel_digest
from sim.service import Service
from sim.workload import Workload

SECOND_PROCESS = """
import json
import numpy as np
from policies.greedy import Greedy
from sim import kernel
from sim.compiled import compiled
from sim.service import Service
from sim.workload import Workload
service = Service(np.array([[[5]]]), np.array([1]))
kernel.run(Greedy(), Workload(np.ones(3, np.int32), np.array([1, 2, 3])), service)
stats = compiled(Greedy).stats
print(json.dumps([len(stats.cache_hits), len(stats.cache_misses)]))
"""


class Allocates(NamedTuple):
    """A rule that makes an array of its own at every question."""

    size: int

    def decide(self, view):
        counts = np.zeros(1, dtype=np.int64)
        counts[0] = min(self.size, view.waiting[0])
        return fire(view, 0, counts[0])


def small():
    workload = Workload(np.ones(9, dtype=np.int32), np.arange(9) // 2)
    return workload, Service(np.array([[[5], [7], [8]]]), np.array([1]))


def test_the_second_process_compiles_nothing():
    kernel.run(Greedy(), *small())
    done = subprocess.run(
        [sys.executable, "-c", SECOND_PROCESS], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [1, 0]


def test_two_rules_that_differ_only_in_a_helper_have_different_digests():
    def helper_one(view):
        return wait()

    def helper_two(view):
        return NEVER

    def rule(helper):
        def decide(self, view):
            return helper(view)

        return decide

    assert code_digest(rule(helper_one)) == code_digest(rule(helper_one))
    assert code_digest(rule(helper_one)) != code_digest(rule(helper_two))


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("BATCHWRIGHT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("BATCHWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "batchwright"
    assert len(kernel_digest()) == 16


def test_a_rule_that_makes_arrays_is_refused_in_a_sentence_and_runs_in_simpy():
    with pytest.raises(
        PolicyError, match=r"^policy Allocates does not compile: numba refuses File"
    ):
        kernel.run(Allocates(2), *small())
    assert model.run(Allocates(2), *small()).batch_size.sum() == 9


def test_threads_that_compile_at_once_keep_to_their_own_folders(tmp_path):
    def one(number):
        def rule():
            return number

        made = compile_kept(rule, tmp_path / str(number))
        return Path(made.stats.cache_path).parent

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(one, range(200)))
    assert found == [tmp_path / str(number) for number in range(200)]
