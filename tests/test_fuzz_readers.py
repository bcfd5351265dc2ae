"""Whatever a file holds, its reader takes it or says in one sentence what is wrong with it.

``BATCHWRIGHT_FUZZ_S`` is how many seconds each reader is fuzzed, 1.5 (60 in the slow tests) where
it is not set; ``BATCHWRIGHT_FUZZ_SEED`` another seed.  ``FUZZ_SAVE`` is the folder for inputs that
fail; copied into ``tests/fuzz_found`` they are regression tests.
"""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest
from fuzz_engine import HangError, Reader, answer, fuzz, processor_time
from fuzz_inputs import FOUND, Odd, from_json, to_json
from fuzz_mutations import mutated
from fuzz_readers import READERS

from experiments.config import ScenarioError

SHORT_S, LONG_S = 1.5, 60.0
SEED = int(os.environ.get("BATCHWRIGHT_FUZZ_SEED", "0"))

FOUND_BEFORE = sorted(FOUND.glob("*.json"))


def fuzzed(reader: Reader, usual_s: float):
    found = fuzz(reader, mutated, float(os.environ.get("BATCHWRIGHT_FUZZ_S", usual_s)), SEED)
    assert not found.failures, f"{len(found.failures)} of {found.inputs} inputs\n{found.told()}"
    assert 0 < found.refused < found.inputs, "the corpus is neither all right nor all wrong"
    return found


@pytest.mark.parametrize("name", READERS)
def test_a_reader_answers_whatever_it_reads(name):
    fuzzed(READERS[name], SHORT_S)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_reader_answers_whatever_it_reads_for_a_minute(name):
    fuzzed(READERS[name], LONG_S)


@pytest.mark.parametrize("path", FOUND_BEFORE, ids=[path.stem for path in FOUND_BEFORE])
def test_what_was_found_before_is_answered(path, tmp_path):
    name, files = from_json(path.read_text())
    failure, _ = answer(READERS[name], files, tmp_path)
    assert failure is None, failure.trace


# The fuzzer itself finds what it is there to find.


def planted(fault) -> Reader:
    """A reader that takes numbers and has a fault where one of them is not below 100."""

    def read(folder: Path) -> None:
        text = (folder / "n.toml").read_text(errors="replace")
        for line in text.splitlines():
            name, equals, number = line.partition(" = ")
            if not equals or not number.isascii() or not number.isdigit() or len(number) > 100:
                raise ScenarioError(f"n.toml: {name} must be a whole number")
            if int(number) >= 100:
                fault()

    return Reader(
        "planted", lambda: [{"n.toml": b"a = 1\nb = 20\n"}], read, lambda: (ScenarioError,)
    )


def uncaught():
    raise KeyError("x")


def unspeakable():
    raise ScenarioError(" ")


def hungry():
    return bytes(2**40)


@pytest.mark.parametrize(
    ("fault", "what"),
    [(uncaught, "KeyError"), (unspeakable, "a sentence that is none"), (hungry, "MemoryError")],
)
def test_a_planted_fault_is_found_and_made_small(fault, what, tmp_path, monkeypatch):
    monkeypatch.setenv("FUZZ_SAVE", str(tmp_path))
    found = fuzz(planted(fault), mutated, 0.0, fewest=400).failures
    (failure,) = [one for one in found.values() if one.what.startswith(what)]
    name, files = from_json(failure.path.read_text())
    assert name == "planted"
    assert len(files["n.toml"]) < 12


def test_a_reader_that_does_not_end_is_found():
    def forever():
        while True:
            pass

    with pytest.raises(HangError), processor_time(0.05):
        forever()


def test_the_same_seed_makes_the_same_inputs():
    corpus = READERS["scenario"].seeds()
    one, again, other = (
        [mutated(corpus[k % len(corpus)], random.Random(f"{seed}/{k}"), corpus) for k in range(60)]
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_an_input_comes_back_as_it_was_saved():
    files = {"a/b.csv": b"1,2\n", "c.gz": b"\x1f\x8b\xff", "d": Odd.folder}
    assert from_json(to_json("scenario", files)) == ("scenario", files)


def test_an_input_that_reaches_new_lines_is_kept_and_mutated_in_its_turn():
    found = fuzz(READERS["stacks in pbtxt"], mutated, 0.0, fewest=60)
    assert found.corpus > len(READERS["stacks in pbtxt"].seeds())


DAMAGE = (
    "update trial_user_attributes set value_json = 'null' where key = 'score'",
    "update trial_user_attributes set value_json = '{}' where key = 'setting'",
    "update trial_user_attributes set value_json = 'x' where key = 'place'",
    "delete from trial_user_attributes where key = 'round'",
    "update trials set state = 'WHAT' where number = 2",
    "delete from study_directions",
    "delete from trial_values where trial_id = (select min(trial_id) from trial_values)",
    "delete from trial_values",
    "update alembic_version set version_num = 'x'",
    "drop table trials",
)


def test_a_study_that_is_damaged_is_told(tmp_path):
    (whole,) = READERS["study"].seeds()
    assert answer(READERS["study"], whole, tmp_path) == (None, False)
    for statement in DAMAGE:
        with sqlite3.connect(":memory:") as known:
            known.deserialize(whole["study.db"][:18] + b"\1\1" + whole["study.db"][20:])
            known.execute(statement)
            known.commit()
            files = {"study.db": known.serialize()}
        assert answer(READERS["study"], files, tmp_path) == (None, True), statement
