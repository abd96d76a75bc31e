"""Shell: the agent's own figures for Prometheus, on this machine's loopback, where the configuration asks for it.

They say how the agent is doing, never what the person does: counts, bytes, the budget, the plan. They are collected when they
are asked for, and served from the event loop: between two scrapes nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError

if TYPE_CHECKING:
    from capture.status import Status

REQUEST_BYTES = 8192
REQUEST_S = 5.0
"""A scrape is one line and some headers; whoever sends more, or dawdles, is not served."""

LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
STATES = ("recording", "waiting", "paused", "suspended")


class Metrics:
    """Serves GET /metrics.

    Args:
        picture: returns the agent's status now. rung: returns the plan's rung.
    """

    def __init__(self, picture: Callable[[], Status], rung: Callable[[], int]) -> None:
        self._picture = picture
        self._rung = rung
        self._server: asyncio.Server | None = None
        self._registry: Any = None

    async def start(self, listen: str) -> None:
        """Begin to serve.

        Args:
            listen: "127.0.0.1:PORT", as the configuration has checked it.

        Raises:
            CaptureError: the library is missing, or the port is taken.
        """
        try:
            import prometheus_client
        except ImportError as error:
            raise CaptureError(
                "metrics.listen needs prometheus-client: install modicum[metrics], or leave it empty"
            ) from error
        self._registry = prometheus_client.CollectorRegistry()
        self._registry.register(self)
        prometheus_client.ProcessCollector(registry=self._registry)
        host, _, port = listen.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=REQUEST_BYTES)
        except OSError as error:
            raise CaptureError(
                f'metrics.listen = "{listen}" cannot be opened ({error.strerror or error}): name another port'
            ) from error

    async def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def collect(self) -> Iterable[Any]:
        """Yield the figures as they are now (prometheus_client calls this at each scrape)."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        now = self._picture()

        def labelled(kind: Any, name: str, means: str, label: str, values: dict[str, float]) -> Any:
            family = kind(name, means, labels=[label])
            for value, number in values.items():
                family.add_metric([value], number)
            return family

        states = {state: float(state == now.state) for state in STATES}
        yield labelled(Gauge, "modicum_agent_state", "1 for the state it is in.", "state", states)
        yield Gauge("modicum_agent_start_time_seconds", "When it began, seconds since 1970.", value=now.since_wall_s)
        yield Gauge("modicum_agent_plan_rung", "How much is recorded, from 0: nothing.", value=self._rung())
        yield labelled(Counter, "modicum_agent_recorded", "Events and screenshots.", "kind", dict(now.recorded))
        yield labelled(
            Counter, "modicum_agent_bytes", "Bytes by stage, from pixels to the wire.", "stage", dict(now.bytes)
        )
        done = {stage: float(now.chunks[stage]) for stage in ("closed", "sent")}
        yield labelled(Counter, "modicum_agent_chunks", "Chunks that were closed, and archived.", "stage", done)
        waiting = {stage: float(now.chunks[stage]) for stage in ("open", "waiting")}
        yield labelled(Gauge, "modicum_agent_chunks_held", "Chunks that are open, or in the spool.", "stage", waiting)
        yield labelled(
            Counter, "modicum_agent_left_out", "What was not recorded, and why.", "reason", dict(now.refused)
        )
        yield Gauge("modicum_agent_spool_bytes", "What the spool takes of the disk.", value=now.spool_bytes)
        yield Gauge("modicum_agent_spool_limit_bytes", "What it may take.", value=now.spool_limit_bytes)
        spans = ("day", "month")
        used = {span: float(now.budget[f"{span}_used"] or 0) for span in spans}
        limits = {span: float(now.budget[f"{span}_limit"]) for span in spans if now.budget[f"{span}_limit"] is not None}
        yield labelled(Gauge, "modicum_agent_budget_used_bytes", "Bytes on the wire, or reserved.", "span", used)
        yield labelled(Gauge, "modicum_agent_budget_limit_bytes", "What is never exceeded.", "span", limits)
        if now.certificate_ends_s is not None:
            yield Gauge(
                "modicum_agent_certificate_end_time_seconds",
                "When the certificate ends that the broker lets it in by, seconds since 1970.",
                value=now.certificate_ends_s,
            )
        yield Gauge("modicum_agent_warnings", "How many warnings `modicum status` shows.", value=len(now.warnings))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
            if _host_of(head) not in LOOPBACK:  # a page in the browser, under a name that leads here
                said, kind, body = "403 Forbidden", "text/plain", b"ask 127.0.0.1\n"
            elif head.startswith((b"GET /metrics ", b"GET /metrics?")):
                said, kind, body = "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
            else:
                said, kind, body = "404 Not Found", "text/plain", b"GET /metrics\n"
            writer.write(
                f"HTTP/1.1 {said}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks like that gets no answer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _host_of(head: bytes) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "host":
            return value.strip().rpartition(":")[0] or value.strip()
    return ""
