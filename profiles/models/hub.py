"""Where a transformers model of the user's lies: a folder, a config.json, or the hub's local cache.

Nothing is downloaded: what is not on this machine is said to be missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from profiles.runner import ModelError

from .own_names import own_name

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


class Place(NamedTuple):
    """A model's files."""

    name: str
    """What it is called: the folder's name, the file's, or that on the hub."""
    config: Path
    weights: Path | None
    """The file or the index of its weights; None draws them from the seed."""

    def read(self, file: str) -> dict[str, Any]:
        """Another JSON file of the folder; empty where there is none."""
        path = self.config.with_name(file)
        return read_json(path) if path.is_file() else {}


def find_place(wanted: str) -> Place:
    """The files of ``PATH_OR_CONFIG``.

    Raises:
        ModelError: they are not here, or hold weights in a form that is not read.
    """
    path = Path(wanted)
    if path.is_file():
        return Place(own_name(path), path, None)
    if path.is_dir():
        return _folder(own_name(path), path)
    try:
        cached = try_to_load_from_cache(wanted, CONFIG)
    except HFValidationError:
        cached = None
    if not isinstance(cached, str):
        raise ModelError(
            f"there is no folder or file {wanted}, and no model of that name in the local cache of "
            f"the hub: nothing is downloaded here, so fetch it first (hf download NAME)"
        )
    return _folder(wanted.rpartition("/")[2], Path(cached).parent)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ModelError: the file holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} must hold a JSON object, but holds a {type(found).__name__}")
    return found


def _folder(name: str, folder: Path) -> Place:
    config = folder / CONFIG
    if not config.is_file():
        raise ModelError(f"{folder} has no {CONFIG}, which says what the model is")
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    pickled = next((file for file in PICKLED if (folder / file).is_file()), None)
    if weights is None and pickled is not None:
        raise ModelError(
            f"{folder} has its weights in {pickled}, which would run code when read: save them as "
            f"{WEIGHTS[0]}, or name {config} alone for random weights"
        )
    return Place(name, config, weights)
