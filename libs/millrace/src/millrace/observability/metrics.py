"""`/metrics` for Prometheus and `/health` for people and probes, over plain HTTP on a thread of its own."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from millrace.observability.health import Health


class MetricsServer:
    """Answers `GET /metrics` and `GET /health` until closed.

    `/health` is 200 where every dependency is there and 503 otherwise, with `{"ok": ..., "parts": {name: {"ok": ..., "reason": ...}}}`.
    """

    def __init__(self, address: str, registry: CollectorRegistry, health: Health) -> None:
        """Bind `host:port` (port 0: any free one). Raises OSError if it is taken."""
        host, _, port = address.rpartition(":")
        pages: dict[str, Callable[[], _Page]] = {
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/health": lambda: _health_page(health),
        }
        self._server = ThreadingHTTPServer((host, int(port)), _handler_for(pages))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_Page = tuple[int, str, bytes]


def _health_page(health: Health) -> _Page:
    parts = health.snapshot()
    ok = all(part.ok for part in parts.values())
    body = {"ok": ok, "parts": {name: {"ok": part.ok, "reason": part.reason} for name, part in sorted(parts.items())}}
    return 200 if ok else 503, "application/json", json.dumps(body).encode()


def _handler_for(pages: dict[str, Callable[[], _Page]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, content_type, body = page() if page else (404, "text/plain", b"not here\n")
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in http.server
            """Log nothing: scrapes come every few seconds."""

    return Handler
