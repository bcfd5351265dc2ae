"""Profiles on disk: ``NAME.csv`` with the grid, ``NAME.json`` beside it with everything else.

Format 1:

1. ``NAME.csv``: ``batch_size, length, latency_ms`` and any of ``p50_ms, p90_ms, p95_ms, p99_ms``;
   one row per point of a full grid, in any order.
2. ``NAME.json``: ``format``, ``length_unit``, ``statistic``, ``lag1`` where steady series were
   measured, and the fields of :class:`profiles.Metadata`.
3. ``NAME.samples.csv.gz``, where raw calls were kept: ``batch_size, length, start_ns, latency_ns``,
   one row per call, in the order in which they were made.

The name of a profile is the name of its files; its identity is :func:`fingerprint`.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import os
import tempfile
import zlib
from pathlib import Path

from .codec import grid_text, read_grid, read_samples, read_side, samples_text, side_text
from .latency import Profile, Samples
from .metadata import ProfileError, from_mapping

SHIPPED = tuple(Path(__file__).parent / folder for folder in ("published", "measured"))
GRID, SIDE, SAMPLES = ".csv", ".json", ".samples.csv.gz"
STEPS = ".steps"
"""Ends the names of files that :mod:`profiles.steps_store` writes."""
LISTED = "`batchwright profile list` names those"
FILE_MODE = 0o644
"""Readable by all, as data is; a temporary file is the owner's alone."""


def names() -> list[str]:
    """Names of the shipped profiles, sorted."""
    return sorted(name for folder in SHIPPED for name in _shipped_in(folder))


def _shipped_in(folder: Path) -> set[str]:
    """Names of a folder's profiles of batches; those of iterations lie beside them."""
    sides = (side.stem for side in folder.glob(f"*{SIDE}"))
    return {name for name in sides if not name.endswith(STEPS)}


def load(name_or_path: str | Path) -> Profile:
    """A shipped profile by its name, or any profile by the path of one of its files.

    Raises:
        ProfileError: there is no such profile, or a file of it is broken.
    """
    folder, name = find(str(name_or_path))
    grid_path, side_path = folder / f"{name}{GRID}", folder / f"{name}{SIDE}"
    side = read_side(_text(side_path), str(side_path))
    unit, statistic, lag1 = (side.pop(key) for key in ("length_unit", "statistic", "lag1"))
    points = read_grid(_text(grid_path), str(grid_path))
    samples = _load_samples(folder / f"{name}{SAMPLES}")
    try:
        metadata = from_mapping(side)
    except ProfileError as error:
        raise ProfileError(f"{side_path}: {error}") from None
    try:
        return Profile(
            name=name,
            batch_size=points.batch_size,
            length=points.length,
            latency_ns=points.latency_ns,
            length_unit=unit,
            statistic=statistic,
            metadata=metadata,
            percentiles_ns=points.percentiles_ns,
            samples=samples,
            lag1=lag1,
        )
    except ProfileError as error:
        raise ProfileError(f"{folder / name}: {str(error).partition(': ')[2]}") from None


def save(profile: Profile, folder: str | Path) -> Path:
    """Write a profile's files into a folder, which is made if need be.

    Each file is replaced as a whole, the side file last: a full disk leaves the old ones.

    Returns:
        The path of the side file; :func:`load` takes it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    side_path = folder / f"{profile.name}{SIDE}"
    samples_path = folder / f"{profile.name}{SAMPLES}"
    if profile.samples is None:
        samples_path.unlink(missing_ok=True)
    else:
        write_whole(samples_path, gzip.compress(samples_text(profile.samples).encode(), mtime=0))
    write_whole(folder / f"{profile.name}{GRID}", grid_text(profile).encode())
    write_whole(side_path, side_text(profile).encode())
    return side_path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole, or as it was before.

    Raises:
        OSError: the disk is full or the folder cannot be written; it names the path.
    """
    try:
        _write_and_rename(path, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_and_rename(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        unfinished.chmod(FILE_MODE)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def fingerprint(profile: Profile) -> str:
    """SHA-256 of the content (side file, grid, samples), not of the name."""
    digest = hashlib.sha256(
        (side_text(profile) + grid_text(profile)).encode(errors="surrogatepass")
    )
    if profile.samples is not None:
        digest.update(samples_text(profile.samples).encode())
    return digest.hexdigest()


def find(wanted: str) -> tuple[Path, str]:
    """Folder and name of a profile that is shipped or the user's.

    Raises:
        ProfileError: there is no such profile.
    """
    for folder in SHIPPED:
        if wanted in _shipped_in(folder):
            return folder, wanted
    path = Path(wanted)
    name = path.name
    for suffix in (SAMPLES, GRID, SIDE):
        if name.endswith(suffix):
            name = name.removesuffix(suffix)
            break
    there = [os.path.isfile(path.parent / f"{name}{suffix}") for suffix in (GRID, SIDE)]  # noqa: PTH113 - no name is too long
    if not name or not any(there):
        nearest = difflib.get_close_matches(wanted, names(), n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(nearest)}" if nearest else LISTED
        raise ProfileError(f"{wanted!r} is neither a shipped profile nor a profile's file; {hint}")
    if not all(there):
        here, missing = (GRID, SIDE) if there[0] else (SIDE, GRID)
        raise ProfileError(
            f"{path.parent / name}{here}: a profile is two files, but {name}{missing} is missing"
        )
    return path.parent, name


def _load_samples(path: Path) -> Samples | None:
    if not path.exists():
        return None
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: the file must be gzip of UTF-8 text, but: {error}") from None
    return read_samples(text, str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: the file must be readable UTF-8 text, but: {error}") from None
