"""Ctrl-C is put off while something is written, and comes right after."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments.parallel import uninterrupted


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_block_is_done_before_ctrl_c_comes():
    done = []

    def write():
        interrupt()
        done.append("written")

    with pytest.raises(KeyboardInterrupt), uninterrupted():
        write()
    assert done == ["written"]


def test_without_ctrl_c_nothing_comes_and_the_handler_is_the_one_of_before():
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_in_the_block_is_told_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="full"), uninterrupted():
        raise OSError("full")
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone():
    def inside():
        with uninterrupted():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() is signal.getsignal(signal.SIGINT)
