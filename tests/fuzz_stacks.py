"""Readers of the files of serving stacks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from export_settings import EDGES, LARGEST, from_arrival, from_idle, setting
from fuzz_engine import Reader
from fuzz_inputs import Files

from experiments.cli_speech import input_errors
from experiments.export import STACKS
from experiments.export.contract import NotExpressible
from experiments.export.reading import module_of, read_file, readable
from experiments.export.toml_text import policy_toml


@cache
def exported() -> dict[str, list[Files]]:
    """What is written for every stack, by its name."""
    wanted = [
        setting("greedy", max_batch_size=16),
        setting("greedy", max_batch_size=4, servers=3),
        setting("static", batch_size=8),
        from_arrival(16, 2.5),
        from_idle(8, 10, servers=2),
        setting("preferred_sizes", preferred_batch_size=[4, 8], max_batch_size=16, max_wait_ms=3),
        setting(
            "length_bucketed",
            max_batch_size=16,
            boundaries=list(map(int, EDGES[:-1])),
            max_wait_ms=3,
        ),
        setting("token_budget", max_tokens=2048, max_batch_size=LARGEST),
    ]
    found: dict[str, list[Files]] = {}
    for name in readable():
        texts: dict[tuple[tuple[str, str], ...], None] = {}
        for one in wanted:
            try:
                files = module_of(STACKS[name]).export(one, nearest=True).files
            except NotExpressible:
                continue
            texts[tuple(sorted(files.items()))] = None
        found[name] = [
            {
                f"{name}/{file}": text.encode()
                for file, text in files
                if not file.endswith((".py", ".md"))
            }
            for files in texts
        ]
    return found


def of(name: str, *stacks: str) -> Reader:
    """The reader of some stacks."""

    def seeds() -> list[Files]:
        return [files for stack in stacks for files in exported()[stack]]

    return Reader(name, seeds, read_stack, input_errors)


def read_stack(folder: Path) -> None:
    """By its content, and as the stack that it was written for."""
    refusals = input_errors()
    for each in sorted(folder.iterdir()):
        for stack in (None, each.name):
            try:
                found = read_file(each, stack)
            except refusals as error:
                if stack is not None:
                    raise
                assert str(error)
                continue
            policy_toml(found.name, found.imported.table)
