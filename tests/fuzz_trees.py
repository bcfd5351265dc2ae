"""Inputs of a fuzz changed as what they mean: trees, tables, databases."""

from __future__ import annotations

import contextlib
import io
import json
import random
import sqlite3
import tomllib
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal

import yaml

WORDS = tuple(
    word.encode()
    for word in (
        *("0", "-0", "1", "-1", "2", "1.5", "-2.5", "1e3", "1e18", "1e308", "1e400", "-1e400"),
        *("1e-400", "0.1e-9", "1e999999999", "1e-999999999", "9223372036854775807"),
        *("9223372036854775808", "-9223372036854775809", "4294967296", "2147483648", "1" * 40),
        *("7" * 5000, "nan", "-nan", "inf", "-inf", "NaN", "Infinity", "0x10", "0b1", "1_000"),
        *("1,000", "1 000", "true", "false", "True", "null", "None", "~", "''", '""', '" "'),
        *('"a"', "[]", "{}", "[[]]", "{ a = 1 }", "[1, 2]", "a.b", "é", "\u2028", "😀", "\u202e"),
        *("x" * 3000, "..", "/", "/dev/null", "~", "~root", "%s", "{0}", "$HOME", "*a", "&a b"),
        *("2026-01-01", "2026-01-01T00:00:00Z", "12:30:45", "1979-05-27T07:32:00-08:00", "<<"),
    )
)

VALUES: tuple[object, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        3,
        7,
        64,
        2**31,
        2**63,
        -(2**63) - 1,
        10**18,
        10**40,
        10**4000,
    ),
    *(0.0, -0.0, 0.5, 1.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"), "inf", "nan"),
    *("", " ", "a", "0", "1", "-1", "1e9", "é😀", "x" * 3000, "a\nb", "a\0b", "..", "/", "\ud800"),
    *(
        [],
        {},
        [None],
        [1, 2, 3],
        [0],
        [-1],
        [[1]],
        [{}],
        {"a": 1},
        {"": 1},
        [1.5, "a"],
        ["a"] * 300,
    ),
)


LARGEST_TREE = 100_000


def restructured(
    name: str, content: bytes, rng: random.Random, others: list[bytes]
) -> bytes | None:
    """A change of the tree, or of the table, that a file holds; None where it holds none."""
    suffix = name.rpartition(".")[2]
    if suffix == "csv":
        return cells_changed(content, rng)
    if suffix not in TREES or len(content) > LARGEST_TREE:
        return None
    parse, dump = TREES[suffix]
    tree = parse(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        tree = tree_changed(tree, rng, parse(rng.choice(others)))
    if rng.random() < 0.01:
        for _ in range(rng.choice((60, 400, 3000))):
            tree = {"a": tree}
    return dump(tree)


MOST_NODES = 2000


def nodes(tree: object) -> list[tuple[object, object]]:
    """Every place inside: container and key."""
    found: list[tuple[object, object]] = []
    waiting = [tree]
    while waiting and len(found) < MOST_NODES:  # aliases may unfold without end
        here = waiting.pop()
        items = here.items() if isinstance(here, dict) else enumerate(here)
        for key, value in items:
            found.append((here, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def tree_changed(tree: object, rng: random.Random, other: object) -> object:
    """One node gets another value, goes, moves, or is wrapped."""
    places = nodes(tree) if isinstance(tree, dict | list) else []
    if not places:
        return deepcopy(rng.choice(VALUES))
    here, key = rng.choice(places)
    elsewhere = nodes(other) if isinstance(other, dict | list) else places
    there, name = rng.choice(elsewhere or places)
    match rng.randrange(9):
        case 0 | 1 | 2:
            here[key] = deepcopy(rng.choice(VALUES))
        case 3:
            del here[key]
        case 4:
            here[key] = there[name]
        case 5:
            here[key] = rng.choice(([here[key]], {"a": here[key]}, [here[key]] * 3))
        case 6 if isinstance(here, dict):
            here[rng.choice((name, "a", "", "é", "kind", 1))] = here.pop(key)
        case 7 if isinstance(here, dict):
            here[name] = there[name]
        case _:
            value = here[key]
            if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
                here[key] = value * rng.choice((0, -1, 2, 10**6, 10**20))
            elif isinstance(value, list):
                here[key] = value * rng.choice((2, 50)) if len(value) < 100 else value[:1]
            else:
                here[key] = deepcopy(rng.choice(VALUES))
    return tree


def cells_changed(content: bytes, rng: random.Random) -> bytes:
    """Cells, rows and columns of a table."""
    rows = [line.split(b",") for line in content.split(b"\n")]
    row = rng.choice(rows[: rng.choice((1, 3, len(rows)))])
    at = rng.randrange(len(row))
    match rng.randrange(8):
        case 0 | 1 | 2:
            row[at] = rng.choice(WORDS)
        case 3:
            row[at] = b""
        case 4:
            del row[at]
        case 5:
            for one in rows:
                del one[at : at + 1]
        case 6:
            word = rng.choice((b"", rng.choice(WORDS)))
            for one in rows[1:]:
                one[at : at + 1] = [word]
        case _:
            for one in rows:
                one[at:at] = one[at : at + 1]
    return b"\n".join(b",".join(row) for row in rows)


def parquet(content: bytes, rng: random.Random) -> bytes:
    """A table with a column of another type, another name, or fewer rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    at = rng.randrange(table.num_columns)
    name, column = table.column_names[at], table.column(at)
    rows = table.num_rows
    made = {
        0: lambda: column.cast(pa.float64()),
        1: lambda: column.cast(pa.string()),
        2: lambda: pa.array([None] * rows, pa.int64()),
        3: lambda: pa.array([[1]] * rows),
        4: lambda: column.cast(pa.int64()).cast(pa.timestamp("ns", tz="Europe/Berlin")),
        5: lambda: pa.array([rng.choice((-1, 0, 1, 2**62, -(2**63)))] * rows, pa.int64()),
        6: lambda: pa.array([rng.choice((float("nan"), float("inf"), -1.0, 0.5))] * rows),
        7: lambda: pa.array([{"a": 1}] * rows),
        8: lambda: pa.array([b"\xff"] * rows),
        9: lambda: pa.array([True] * rows),
        10: lambda: pa.array([2**64 - 1] * rows, pa.uint64()),
        11: lambda: pa.array([Decimal("1.5")] * rows),
    }
    kind = rng.randrange(len(made) + 4)
    if kind in made:
        table = table.set_column(at, name, made[kind]())
    elif kind == 12:
        table = table.remove_column(at)
    elif kind == 13:
        table = table.rename_columns(["a" if n == name else n for n in table.column_names])
    elif kind == 14:
        table = table.slice(0, rng.randrange(rows + 1))
    else:
        table = pa.concat_tables([table] * rng.choice((2, 5)))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def database(content: bytes, rng: random.Random) -> bytes:
    """A study in which one cell has another value, or a row is gone."""
    with sqlite3.connect(":memory:") as known:
        known.deserialize(content[:18] + b"\1\1" + content[20:])  # no log: there is no file
        names = known.execute("select name from sqlite_master where type = 'table'").fetchall()
        table = rng.choice(sorted(name for (name,) in names))
        rows = [row for (row,) in known.execute(f"select rowid from {table}")]
        columns = [column[1] for column in known.execute(f"pragma table_info({table})")]
        if rows:
            row, column = rng.choice(rows), rng.choice(columns)
            word = rng.choice(
                ("", "x", "{}", "[]", "null", "1e400", "-1", "NaN", "COMPLETE", "FAIL")
            )
            value = rng.choice((None, -1, 0, 7, 2**62, 1.5, b"\xff", word, f'"{word}"', word * 50))
            with contextlib.suppress(sqlite3.IntegrityError):
                if rng.random() < 0.2:
                    known.execute(f"delete from {table} where rowid = ?", (row,))
                else:
                    known.execute(f"update {table} set {column} = ? where rowid = ?", (value, row))
        known.commit()
        return known.serialize()


def toml_text(tree: object) -> bytes:
    """One line a top key, everything below it inline."""
    assert isinstance(tree, dict)
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in tree.items()).encode(
        errors="surrogateescape"
    )


def _key(key: object) -> str:
    return json.dumps(str(key))


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return "nothing" if value is None else str(value).lower()


def _json(tree: object) -> bytes:
    return json.dumps(tree).encode()


def _yaml(tree: object) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode(errors="surrogateescape")


TREES: dict[str, tuple[Callable[[bytes], object], Callable[[object], bytes]]] = {
    "toml": (lambda content: tomllib.loads(content.decode()), toml_text),
    "json": (json.loads, _json),
    "yaml": (yaml.safe_load, _yaml),
}
"""By the ending of a file: how it is read, and written."""
