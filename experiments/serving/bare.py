"""The bare HTTP stack under a server: it reads a body and answers as many bytes as a server does.

What it reaches is what a server could reach at most: ``python -m experiments.serving.bare``.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvicorn

from .open_inference import Inference, Served, written
from .replies import JSON, Send
from .running import HTTP, listen
from .web import Receive, Scope

BODY, _ = written("m", "all", Inference(128), Served(4, 128, 0, 1_234_567, 2_345_678))
HEADERS = [(b"content-type", JSON), (b"content-length", str(len(BODY)).encode())]


async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
    """The same to everybody."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def main() -> None:
    """Serve until a signal comes; one JSON object says where."""
    config = uvicorn.Config(answer, **HTTP)
    listening = listen("127.0.0.1", 0)
    listening.listen()
    host, port = listening.getsockname()[:2]
    sys.stdout.write(json.dumps({"host": host, "port": port}) + "\n")
    sys.stdout.flush()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve([listening]))


if __name__ == "__main__":
    main()
