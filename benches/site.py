"""Shell: the web pages that the virtual desktop's browser shows, served on 127.0.0.1, and what the pages saw.

Each page reports where its buttons, links and lists stand on the screen and what was done to them (a click, a choice in a
list, how far it was scrolled). So the scripted person knows where to point, and a bench has the application's own account
of what happened to compare a recording with.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

PAGES = Path(__file__).resolve().parent / "pages"
MAX_REPORT_BYTES = 256 * 1024

Report = dict[str, Any]


class Site:
    """Serves the pages until `stop`.

    Attributes:
        url: of the first page.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._layout: Report = {}
        self._listeners: list[Callable[[Report], None]] = []
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="site", daemon=True)
        self._thread.start()
        self.url = self.page("mail")

    def page(self, name: str) -> str:
        """Return a page's address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}.html"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def layout(self) -> Report:
        """Return the latest report of the page in front: `page`, `view` (box), `at_end`, `targets` (name to box).

        Boxes are (x, y, width, height) in pixels of the root. Empty before the first report.
        """
        with self._lock:
            return dict(self._layout)

    def listen(self, listener: Callable[[Report], None]) -> None:
        """Call `listener` with each thing that a page saw (from a server thread)."""
        with self._lock:
            self._listeners.append(listener)

    def receive(self, report: Report) -> None:
        """Take a page's report."""
        with self._lock:
            if report.get("what") == "layout":
                self._layout = report
                return
            listeners = list(self._listeners)
        for listener in listeners:
            listener(report)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        super().__init__(address, _Handler)
        self.site = site


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    TYPES: ClassVar[dict[str, str]] = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

    def do_GET(self) -> None:
        path = PAGES / self.path.split("?")[0].lstrip("/")
        if path.parent != PAGES or not path.is_file() or path.suffix not in self.TYPES:
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", f"{self.TYPES[path.suffix]}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length", 0)), MAX_REPORT_BYTES)
        report = json.loads(self.rfile.read(length))
        report["received_ms"] = time.monotonic_ns() // 1_000_000
        self.server.site.receive(report)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the bench's own output is what counts."""
