"""Databases that keep studies: a file in the run's folder, or a server that several machines share.

1. A file (SQLite) belongs to one process at a time; a second one is refused.
2. On a server a trial counts as left when its machine has not been heard of for ``LEFT_AFTER_S``.
3. Whatever a database has to say becomes one sentence, without a password.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from sqlalchemy import column, event, select, table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from experiments.addresses import without_password
from experiments.sentences import RunFailed, ScenarioError

from .mirror import Mirrored

HEARTBEAT_S, LEFT_AFTER_S = 30, 120
"""How often a machine is heard of, and when its trials count as left."""

CONNECT_S = 10
"""How long a server may take to answer."""

OPENINGS = 5
"""Machines that begin at once may all create the tables; who loses finds them there."""

DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError, sqlite3.Error)

FULL = "disk is full"
"""What SQLite says of a disk without room: database or disk is full."""

PACKAGES = {"psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}
"""What to install for a driver, where the two have different names."""


@dataclass(frozen=True)
class Database:
    """An open database, or memory."""

    storage: BaseStorage
    server: RDBStorage | None = None
    """Where several machines may share it."""

    @property
    def shared(self) -> bool:
        """Whether other machines may work on the same studies."""
        return self.server is not None

    def beat(self, trials: Sequence[int]) -> None:
        """Say that this machine still runs trials."""
        if self.server is not None:
            for trial in trials:
                self.server.record_heartbeat(trial)

    @contextmanager
    def beating(self, trials: Sequence[int]) -> Iterator[None]:
        """Say so every ``HEARTBEAT_S`` while something else is being done."""
        server, stop = self.server, Event()
        if server is None:
            yield
            return

        def beat() -> None:
            with suppress(*DATABASE_ERRORS):  # who waits for the trials will meet it too
                while not stop.wait(HEARTBEAT_S):
                    self.beat(trials)
            server.remove_session()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def begin_to_listen(self, trials: Sequence[int]) -> None:
        """Time trials whose machine ended before it was heard of at all: from now on."""
        if self.server is None or not trials:
            return
        beats = table("trial_heartbeats", column("trial_id"))
        query = select(beats.c.trial_id).where(beats.c.trial_id.in_(trials))
        with self.server.engine.connect() as connection:
            heard = set(connection.execute(query).scalars())
        self.beat([trial for trial in trials if trial not in heard])


@contextmanager
def database_at(url: str | None) -> Iterator[Database]:
    """Open a database, with its tables; without an address keep to memory.

    Raises:
        ScenarioError: it cannot be opened.
        RunFailed: it fails later.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None:
        yield Database(InMemoryStorage())
        return
    address = _address(url)
    is_file = address.get_backend_name() == "sqlite"
    with _owned(address):
        storage = _opened(address, is_file=is_file)
        try:
            if is_file:
                yield Database(_mirrored(storage, address))
            else:
                yield Database(get_storage(storage), storage)
        except (*DATABASE_ERRORS, UnicodeDecodeError) as error:
            raise _failed(address, error) from error
        finally:
            storage.remove_session()
            storage.engine.dispose()


def sqlite_url(path: Path) -> str:
    """The address of a file, whatever signs are in its name."""
    address = URL.create("sqlite", database=str(path.resolve()))
    return address.render_as_string(hide_password=False)


def _address(url: str) -> URL:
    """An address with its driver.

    Raises:
        ScenarioError: it is none.
    """
    try:
        address = make_url(url)
        if address.drivername in ("postgres", "postgresql"):
            only_old = find_spec("psycopg") is None and find_spec("psycopg2") is not None
            address = address.set(drivername=f"postgresql+psycopg{'2' if only_old else ''}")
        address.get_dialect()
    except (ArgumentError, ValueError) as error:
        raise ScenarioError(
            f"--storage {without_password(url)} must be a database address, as "
            "postgresql://user@host/name or sqlite:///file.db; signs like @ : / in a password are "
            "written %40 %3A %2F"
        ) from error
    return address


def _opened(address: URL, *, is_file: bool) -> RDBStorage:
    """The database with its tables.

    Raises:
        ScenarioError: it cannot be opened.
        RunFailed: there is no room for it.
    """
    beats: dict[str, Any] = {"heartbeat_interval": HEARTBEAT_S, "grace_period": LEFT_AFTER_S}
    beats = {} if is_file else beats
    url = address.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for left in reversed(range(OPENINGS)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # heartbeats are called experimental
                storage = RDBStorage(url, _engine(address), **beats)
            if _file_of(address) is not None:
                event.listen(storage.engine, "connect", _write_ahead)
                storage.engine.dispose()
                storage.engine.connect().close()
        except (*DATABASE_ERRORS, ImportError, RuntimeError, UnicodeDecodeError) as error:
            if left and isinstance(error, ProgrammingError | IntegrityError):
                continue
            if FULL in _reason(error):
                raise _failed(address, error) from error
            raise ScenarioError(_why_not(address, error)) from error
        else:
            return storage
    raise AssertionError("the last opening raises")


def _mirrored(storage: RDBStorage, address: URL) -> Mirrored:
    """A file's studies in memory.

    Raises:
        ScenarioError: something in the file is no study.
    """
    try:
        return Mirrored(storage)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ScenarioError(
            f"{_called(address)} is damaged: {error}; begin a new one, without --resume"
        ) from error


def _file_of(address: URL) -> Path | None:
    """The file of an SQLite database; None for a server and for memory."""
    name = address.database
    if address.get_backend_name() != "sqlite" or not name or name == ":memory:":
        return None
    return Path(name)


def _engine(address: URL) -> dict[str, Any]:
    """A server may have been started anew since it was last spoken to, or not be there at all."""
    if address.get_backend_name() == "sqlite":
        return {}
    if address.get_backend_name() != "postgresql" or "connect_timeout" in address.query:
        return {"pool_pre_ping": True}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_S}}


def _write_ahead(connection: Any, _record: Any) -> None:
    """Let SQLite append to a log instead of flushing the disk 20 times a trial.

    What was committed survives the end of the process, however sudden; only a power cut can take
    the last trials with it.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def _owned(address: URL) -> Iterator[None]:
    """Keep other processes from a file; the lock ends with the process, however it ends."""
    path = _file_of(address)
    if path is None:
        yield
        return
    import fcntl

    try:
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise ScenarioError(f"{_called(address)} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ScenarioError(
                f"{_called(address)} is being worked on by another process: wait until it has "
                "ended; machines share a study in postgresql://user@host/name"
            ) from error
        except OSError as error:  # a file system without locks
            raise ScenarioError(f"{_called(address)} cannot be used: {error.strerror}") from error
        yield


def _failed(address: URL, error: BaseException) -> RunFailed:
    """A database that fails while it is worked with."""
    reason = _reason(error)
    room = "make room: " if FULL in reason else ""
    return RunFailed(
        f"{_called(address)} fails: {reason}; {room}what was told is kept, and --resume goes on "
        "with it"
    )


def _called(address: URL) -> str:
    """What a database is called in a sentence."""
    if address.get_backend_name() == "sqlite":
        return f"the study in {address.database}"
    return f"--storage {without_password(address.render_as_string(hide_password=True))}"


def _why_not(address: URL, error: Exception) -> str:
    """Why a database cannot be opened."""
    cause = error.__cause__
    if isinstance(error, ImportError) and isinstance(cause, ModuleNotFoundError) and cause.name:
        package = PACKAGES.get(cause.name, cause.name)
        return f"{_called(address)} needs the package {cause.name}: pip install '{package}'"
    return f"{_called(address)} cannot be used: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """The driver's own words: its first line, and the second where that is only announced."""
    innermost: BaseException | None = error
    while innermost is not None and not hasattr(innermost, "orig"):
        innermost = innermost.__cause__
    found = getattr(innermost, "orig", None) or error.__cause__ or error
    lines = [" ".join(line.split()) for line in str(found).strip().splitlines()] or [repr(found)]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return without_password(first).rstrip(".")
