"""The server that is asked: where it is, which model it has, and what ours says of itself.

The Open Inference Protocol (KServe v2) knows ``/v2`` and ``/v2/models/NAME``; ``batchwright serve``
beside that its policy at ``/policy`` and its queue's size in ``/metrics``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from experiments.sentences import ScenarioError
from policies.contract import NEVER

PATIENCE_S = 10.0
OURS = "batchwright"
BINARY = ("binary_tensor_data", "binary_tensor_data_extension")
"""What servers call the extension; the second is an older word for it."""
CAPACITY = re.compile(rb"^batchwright_queue_capacity (\S+)$", re.MULTILINE)
SERVERS = re.compile(rb'^batchwright_device_busy_seconds_total\{server="', re.MULTILINE)


class Reply(NamedTuple):
    """An answer of HTTP."""

    status: int
    content: bytes

    @property
    def says(self) -> str:
        """The sentence of a refusal, on one line."""
        try:
            found = json.loads(self.content)
            text = found["error"] if isinstance(found, dict) else self.content.decode()
        except (ValueError, KeyError):
            text = self.content[:200].decode(errors="replace")
        return " ".join(str(text).split()) or "nothing"


class Endpoint(NamedTuple):
    """Where requests go."""

    host: str
    port: int
    prefix: str
    """Of every path, without a slash at its end."""
    token: str | None = None

    @property
    def url(self) -> str:
        """As it was given."""
        return f"http://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """Host and port, as they stand in the head of a request."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:  # fmt: skip
        """One request, on a connection of its own.

        Raises:
            ScenarioError: nobody answers.
        """
        connection = HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        try:
            given = {**self.headers, **(headers or {})}
            connection.request(method, self.prefix + path, body, given)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read())
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ScenarioError(f"{self.url} cannot be reached: {why}") from None
        finally:
            connection.close()


class Input(NamedTuple):
    """A tensor that a model takes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1 where any number may stand."""


class Model(NamedTuple):
    """What is served."""

    name: str
    inputs: tuple[Input, ...]
    binary: bool
    """Whether the server takes tensors as bytes."""
    ours: bool
    """Whether it is ``batchwright serve``."""


class Told(NamedTuple):
    """What our server says of itself."""

    table: Mapping[str, Any]
    """Its policy, as a scenario writes it."""
    capacity: int
    """Requests that may wait."""
    servers: int


def endpoint_of(url: str, token: str | None = None) -> Endpoint:
    """An address taken apart.

    Raises:
        ScenarioError: it is none, or not of HTTP.
    """
    text = url if "://" in url else f"http://{url}"
    parts = urlsplit(text)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme == "https":
        raise ScenarioError(
            f"{url}: load speaks HTTP without TLS; give the address behind the proxy that ends TLS"
        )
    if parts.scheme != "http" or not parts.hostname or not port or parts.query:
        raise ScenarioError(f"{url} must be the address of a server, as http://127.0.0.1:8000")
    return Endpoint(parts.hostname, port, parts.path.rstrip("/"), token)


def model_of(endpoint: Endpoint, name: str) -> Model:
    """What a server says of its model.

    Raises:
        ScenarioError: it cannot be reached, or has no such model.
    """
    server = endpoint.ask("/v2")
    if server.status == 401:
        raise ScenarioError(
            f"{endpoint.url} wants a token: give it with --token-file FILE or in BATCHWRIGHT_TOKEN"
        )
    about = _object(server) if server.status == 200 else {}
    reply = endpoint.ask(f"/v2/models/{name}")
    if reply.status != 200:
        raise ScenarioError(
            f"{endpoint.url} has no model {name!r}: it answers {reply.status}, {reply.says} "
            "(give its name with --model)"
        )
    found = _object(reply)
    inputs = tuple(_input(one) for one in found.get("inputs") or ())
    if not inputs:
        raise ScenarioError(f"{endpoint.url}/v2/models/{name} says nothing of inputs")
    extensions = about.get("extensions") or ()
    binary = any(name in extensions for name in BINARY)
    return Model(name, inputs, binary, about.get("name") == OURS)


def told_by(endpoint: Endpoint) -> Told:
    """Policy and queue of our server.

    Raises:
        ScenarioError: it does not say.
    """
    policy = _object(endpoint._replace(prefix="").ask("/policy")).get("policy")
    page = endpoint._replace(prefix="").ask("/metrics").content
    capacity = CAPACITY.search(page)
    if not isinstance(policy, dict) or capacity is None:
        raise ScenarioError(f"{endpoint.url} does not say which policy it has")
    waiting = float(capacity[1])
    most = NEVER if waiting >= NEVER else int(waiting)
    return Told(policy, most, len(SERVERS.findall(page)))


def _object(reply: Reply) -> dict[str, Any]:
    """An object of JSON; an empty one where it is none."""
    try:
        found = json.loads(reply.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _input(said: Any) -> Input:
    """One of a model's inputs."""
    try:
        shape = tuple(int(size) for size in said["shape"])
        return Input(str(said["name"]), str(said["datatype"]), shape)
    except (TypeError, KeyError, ValueError):
        raise ScenarioError(f"the server describes an input as {said!r}, which is none") from None


__all__ = ["Endpoint", "Input", "Model", "Reply", "Told", "endpoint_of", "model_of", "told_by"]
