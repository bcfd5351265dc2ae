"""A server of the Open Inference Protocol in a thread, which answers as a test says."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKENS = {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}


class V2:
    """What it has, and what came."""

    def __init__(self, inputs=(TOKENS,), statuses=(), extensions=(), token=None):
        self.inputs, self.statuses, self.token = list(inputs), list(statuses), token
        self.extensions = list(extensions)
        self.came = []
        self.lock = threading.Lock()

    def answer(self, method, path, headers, body):
        """Status and content."""
        if self.token is not None and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"error": "no token"}
        if path == "/v2/health/live":
            return 200, {}
        if path == "/v2":
            return 200, {"name": "triton", "extensions": self.extensions}
        if path == "/v2/models/m":
            return 200, {"name": "m", "inputs": self.inputs, "outputs": []}
        if path == "/v2/models/m/infer" and method == "POST":
            with self.lock:
                self.came.append((dict(headers), body))
                place = len(self.came) - 1
            status = self.statuses[place % len(self.statuses)] if self.statuses else 200
            return status, {"outputs": []} if status == 200 else {"error": f"no {place}"}
        return 404, {"error": "unknown model"}


@contextmanager
def listening(v2=None):
    """Its address, and itself."""
    v2 = v2 or V2()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = v2.answer(self.command, self.path, self.headers, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - as the standard library calls it

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # connections are opened all at once

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", v2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
