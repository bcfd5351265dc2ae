"""Inputs of a fuzz: folders of files, written to the disk, and kept as one JSON file each."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path

FOUND = Path(__file__).with_name("fuzz_found")
"""What was found before: regression tests."""


class Odd(StrEnum):
    """What may stand where a file is expected."""

    folder = "a folder"
    loop = "a link to itself"
    missing = "nothing"


Files = dict[str, bytes | Odd]


def write(files: Files, place: Path) -> None:
    """Make a folder hold exactly these files."""
    for entry in place.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is Odd.folder:
            path.mkdir(exist_ok=True)
        elif content is Odd.loop:
            path.symlink_to(path.name)


def to_json(reader: str, files: Files) -> str:
    """An input as text: what is UTF-8 stays readable."""
    plain: dict[str, object] = {}
    for name, content in files.items():
        if isinstance(content, Odd):
            plain[name] = {"odd": content.value}
            continue
        try:
            plain[name] = content.decode()
        except UnicodeDecodeError:
            plain[name] = {"base64": base64.b64encode(content).decode()}
    return json.dumps({"reader": reader, "files": plain}, indent=1) + "\n"


def from_json(text: str) -> tuple[str, Files]:
    """The reader's name and the input."""
    whole, files = json.loads(text), Files()
    for name, content in whole["files"].items():
        if isinstance(content, str):
            files[name] = content.encode()
        elif "odd" in content:
            files[name] = Odd(content["odd"])
        else:
            files[name] = base64.b64decode(content["base64"])
    return whole["reader"], files


def found_inputs(reader: str) -> dict[str, Files]:
    """What was found before, by the name of its file."""
    found = {path.stem: from_json(path.read_text()) for path in sorted(FOUND.glob("*.json"))}
    return {name: files for name, (owner, files) in found.items() if owner == reader}


def save(reader: str, what: str, files: Files) -> Path:
    """Write an input where it can be taken into the regression tests from."""
    text = to_json(reader, files)
    digest = hashlib.sha256(what.encode()).hexdigest()[:8]
    folder = Path(os.environ.get("FUZZ_SAVE", Path(tempfile.gettempdir()) / "batchwright-fuzz"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{reader.replace(' ', '-')}-{digest}.json"
    path.write_text(text)
    return path
