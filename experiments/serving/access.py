"""Under which name and with which token a server is reached."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

TOKEN = "BATCHWRIGHT_TOKEN"  # noqa: S105 - the name of the variable
SHORTEST_TOKEN = 16


def model_name(name: str) -> str:
    """A name that can stand in a path.

    Raises:
        ScenarioError: it cannot.
    """
    from experiments.runs import folder_name
    from experiments.sentences import ScenarioError

    if folder_name(name) != name:
        raise ScenarioError(
            f"--name = {name!r} must be letters, digits, dots, dashes and underscores, as "
            f"{folder_name(name)}"
        )
    return name


def token_for(host: str, file: Path | None) -> str | None:
    """The token that requests have to carry; None: none.

    Raises:
        ScenarioError: it is too short, or missing where others can reach the server.
    """
    from experiments.sentences import ScenarioError

    given = os.environ.get(TOKEN) if file is None else file.read_text().strip()
    where = TOKEN if file is None else str(file)
    if given is not None and not (len(given) >= SHORTEST_TOKEN and given.isascii()
                                  and given.isprintable() and " " not in given):  # fmt: skip
        raise ScenarioError(
            f"the token in {where} must be at least {SHORTEST_TOKEN} printable characters of "
            "ASCII without spaces (openssl rand -hex 32 makes one)"
        )
    if given is None and not is_loopback(host):
        raise ScenarioError(
            f"--host {host} can be reached from other machines: give a token with --token-file "
            f"FILE or in {TOKEN}, or leave --host out"
        )
    return given


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
