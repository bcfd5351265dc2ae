"""The extra of a stack and what ``try --install`` installs are the same, and are found again."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from experiments.stacks import STACKS
from experiments.stacks.environments import is_here

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("row", STACKS.values(), ids=STACKS)
def test_the_extra_of_a_stack_is_what_its_environment_needs(row):
    assert tuple(EXTRAS[row.name]) == row.needs


@pytest.mark.parametrize("row", STACKS.values(), ids=STACKS)
def test_the_stack_itself_comes_first(row):
    assert row.name in row.needs[0]


def test_versions_of_stacks_stand_in_no_other_place():
    pins = [need.partition("=")[0] for row in STACKS.values() for need in row.needs[:1]]
    assert not [pin for pin in pins if f"{pin}==" in MAKEFILE]
    assert "batchwright[docs,litserve," in EXTRAS["dev"][0]


@pytest.mark.parametrize("row", STACKS.values(), ids=STACKS)
def test_a_stack_that_was_installed_by_its_extra_is_found_here(row):
    stack = re.match(r"[A-Za-z0-9._-]+", row.needs[0])[0]
    try:
        version(stack)
    except PackageNotFoundError:
        pytest.skip(f"{stack} is not installed beside batchwright")
    assert is_here(row.needs)
