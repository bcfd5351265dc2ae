"""Questions over HTTP, and what is said where there is no answer."""

from __future__ import annotations

import gzip
import json
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from experiments.addresses import without_password
from experiments.sentences import ScenarioError

PATIENCE_S = 60.0
TOKEN = "BATCHWRIGHT_TOKEN"  # noqa: S105 - the name of the variable
UNAUTHORIZED, FORBIDDEN = 401, 403


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    @property
    def content(self) -> Any:
        """Its JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def error(self) -> str:
        """What it says is wrong."""
        content = self.content
        said = content.get("error") if isinstance(content, dict) else None
        return str(said)[:300] if said else f"HTTP status {self.status}"


class Asked(NamedTuple):
    """Where questions go."""

    url: str
    """Without a slash at its end."""
    token: str | None = None

    @property
    def shown(self) -> str:
        """For people: without a password."""
        return without_password(self.url)

    def ask(self, path: str, content: Any = None, method: str | None = None) -> Answer:
        """One question.

        Args:
            path: behind the address.
            content: sent as JSON.
            method: GET, or POST where something is sent, unless it is said.

        Raises:
            ScenarioError: nobody answers there, or a token is missing.
        """
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(  # noqa: S310 - http or https, see asked()
            self.url + path, data, {"Accept-Encoding": "gzip"}, method=method
        )
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:  # noqa: S310
                body = reply.read()
                if reply.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                return Answer(reply.status, body)
        except urllib.error.HTTPError as error:
            if error.code in (UNAUTHORIZED, FORBIDDEN):
                raise ScenarioError(self._no_entry()) from None
            return Answer(error.code, error.read())
        except (OSError, HTTPException, ValueError, EOFError) as error:
            why = getattr(error, "reason", None) or error
            said = getattr(why, "strerror", None) or str(why) or type(why).__name__
            raise ScenarioError(f"{self.shown} cannot be reached: {said}") from None

    def _no_entry(self) -> str:
        if self.token is None:
            return (
                f"{self.shown} wants a token: give it with --token-file FILE, or in the variable "
                f"{TOKEN}"
            )
        return f"{self.shown} does not take the token that it was given (--token-file, {TOKEN})"


def is_url(text: str) -> bool:
    """Whether something is meant as an address."""
    return "://" in text


def asked(option: str, url: str, token: str | None = None) -> Asked:
    """An address that can be asked.

    Raises:
        ScenarioError: it is none of HTTP.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise ScenarioError(
            f"{option} {without_password(url)} must be an address as http://127.0.0.1:8000"
        )
    return Asked(url.rstrip("/"), token)


def token_of(file: Path | None) -> str | None:
    """The token that servers want: of a file, or of the variable; None: none.

    Raises:
        ScenarioError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ScenarioError(f"--token-file {file} cannot be read: {why}") from None


__all__ = ["Answer", "Asked", "asked", "is_url", "token_of"]
