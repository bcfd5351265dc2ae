"""How inputs of :mod:`fuzz_engine` are changed: bytes, lines, words, cells, and what they mean."""

from __future__ import annotations

import contextlib
import gzip
import random
import re
import sqlite3
import zlib
from collections.abc import Callable

from fuzz_inputs import Files, Odd
from fuzz_trees import WORDS, database, parquet, restructured

WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_-]*|[-+]?[0-9][0-9_.eE+-]*|\"[^\"\n]*\"|[^\sA-Za-z0-9]")

BLOBS = (
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r\n",
        b"\r",
        b"\n\n",
        b"\t",
        b"\x1a",
        b"\x85",
    ),
    *(
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"#",
        b'"',
        b"'",
        b'"""',
        b",",
        b";",
        b"=",
        b":",
        b"---\n",
        b"\\",
    ),
    *(b"[" * 3000, b"{" * 3000, b"[" * 200_000, b'{"a":' * 3000, b"a = { b = " * 1500, b"<" * 3000),
    *(
        b"- " * 2000,
        b"a." * 3000 + b"a = 1",
        b"(" * 3000,
        b"\\u0000",
        b"\\ud800",
        b"!!python/tuple []",
    ),
)

BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (97 + k, 97 + k, b",".join([b"*%c" % (96 + k)] * 9)) for k in range(1, 12)
)
"""Nine to the power of eleven: YAML that unfolds without end."""


def mutated(files: Files, rng: random.Random, corpus: list[Files]) -> Files:
    """One to four changes, most often in one file."""
    result = dict(files)
    name = rng.choice(sorted(result))
    if rng.random() < 0.01:
        result[name] = rng.choice(list(Odd))
        return result
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        if rng.random() < 0.2:
            name = rng.choice(sorted(result))
        content = result[name]
        if isinstance(content, Odd):
            continue
        others = [o for one in corpus if isinstance(o := one.get(name), bytes)] or [content]
        result[name] = changed(name, content, rng, others)
    return result


def changed(name: str, content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One change of one file; what is packed is most often changed inside."""
    if name.endswith(".gz") and rng.random() < 0.8:
        with contextlib.suppress(OSError, EOFError, zlib.error):  # else its bytes are changed
            inside = [gzip.decompress(one) for one in (content, rng.choice(others))]
            return gzip.compress(changed(name[:-3], inside[0], rng, inside), 1, mtime=0)
    if name.endswith(".parquet") and rng.random() < 0.8:
        with contextlib.suppress(Exception):  # what is no table any more is changed by bytes
            return parquet(content, rng)
    if name.endswith(".db") and rng.random() < 0.8:
        with contextlib.suppress(sqlite3.Error, MemoryError):  # what is no database any more
            return database(content, rng)
    meant = rng.random()
    if meant < 0.5:
        with contextlib.suppress(Exception):  # what does not parse any more is changed as text
            found = restructured(name, content, rng, others)
            if found is not None:
                return found
    return rng.choice(TEXTUAL)(content, rng, others)


# As text.


def _span(size: int, rng: random.Random) -> tuple[int, int]:
    first = rng.randrange(size + 1)
    return first, min(size, first + rng.choice((1, 1, 2, 4, 16, 200)))


def bytes_changed(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    first, last = _span(len(content), rng)
    blob = rng.choice((rng.choice(BLOBS), rng.randbytes(rng.choice((1, 1, 2, 8)))))
    match rng.randrange(6):
        case 0:
            return content[:first] + content[last:]
        case 1:
            return content[:first] + content[first:last] * 2 + content[last:]
        case 2:
            return content[:first] + blob + content[first:]
        case 3:
            return content[:first] + blob + content[last:]
        case 4:
            return content[:first]
        case _:
            return blob + content if rng.random() < 0.5 else rng.choice((b"", blob, b"\n", BOMB))


def lines_changed(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    lines = content.split(b"\n")
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    other = rng.choice(others).split(b"\n")
    match rng.randrange(8):
        case 0:
            del lines[at]
        case 1:
            lines.insert(to, lines[at])
        case 2:
            lines[at], lines[to] = lines[to], lines[at]
        case 3:
            lines.insert(at, rng.choice(other))
        case 4:
            lines[at:] = other[rng.randrange(len(other)) :]
        case 5:
            return rng.choice((b"\r\n", b"\r", b"\n\n", b"\0", b"\n ")).join(lines)
        case 6:
            lines[at] = lines[at] * 2
        case _:
            lines[min(at, to) : max(at, to)] = []
    return b"\n".join(lines)


def words_changed(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    places = list(WORD.finditer(content))
    if not places:
        return rng.choice(WORDS)
    place = rng.choice(places)
    other = [match[0] for match in WORD.finditer(rng.choice(others))]
    word = rng.choice((rng.choice(WORDS), rng.choice(other) if other else b"", b""))
    if rng.random() < 0.2:
        word = place[0] + word
    return content[: place.start()] + word + content[place.end() :]


TEXTUAL: tuple[Callable[[bytes, random.Random, list[bytes]], bytes], ...] = (
    bytes_changed, lines_changed, words_changed, words_changed,
)  # fmt: skip
