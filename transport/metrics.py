"""Shell: a collector's figures for Prometheus, on an address of the operator's choice (loopback, usually).

No label names a device, so that the number of series stays the same for a hundred devices or a hundred thousand; nobody's
working hours can be read from it. Needs `prometheus-client` (extra `collector`), which is imported when it is asked for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from transport.errors import TransportError

if TYPE_CHECKING:
    from transport.collector import Collector, CollectorEvent

OUTCOMES = ("archived", "duplicate", "refused", "failed", "erased")
WINDOWS_S = {"5m": 300, "1h": 3_600, "24h": 86_400, "7d": 7 * 86_400}
DEVICES_IN_MEMORY = 200_000
"""Devices whose last chunk is remembered; the longest silent are forgotten first."""
BATCH_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_MESSAGES = (1, 2, 4, 8, 16, 32, 64, 128)
CHUNK_BYTES = tuple(4**power for power in range(5, 13))  # 1 KiB … 16 MiB


class CollectorMetrics:
    """Gathers what a collector does, and serves it.

    Args:
        clock_s: monotonic seconds.

    Raises:
        TransportError: the library is missing.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise TransportError("--metrics needs prometheus-client: pip install 'modicum[collector]'") from error
        self._clock_s = clock_s
        self._collector: Collector | None = None
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._bytes = 0
        self._connected = False
        self.registry = prometheus_client.CollectorRegistry()
        self.registry.register(self)
        prometheus_client.ProcessCollector(registry=self.registry)

        def histogram(name: str, means: str, buckets: tuple[float, ...]) -> Any:
            return prometheus_client.Histogram(name, means, buckets=buckets, registry=self.registry)

        self._batch_s = histogram(
            "modicum_collector_batch_seconds", "From taking a batch up to having it verified and stored.", BATCH_S
        )
        self._stored_s = histogram(
            "modicum_archive_store_seconds", "What the disk takes for a batch: files, fsync, folders.", BATCH_S
        )
        self._batch_messages = histogram("modicum_collector_batch_messages", "Messages in a batch.", BATCH_MESSAGES)
        self._chunk_bytes = histogram("modicum_collector_chunk_bytes", "Sizes of archived chunks.", CHUNK_BYTES)

    def watch(self, collector: Collector) -> None:
        """Begin to count what a collector does, beside its own observer. To be called before it runs."""
        self._collector = collector
        told = collector.on_event

        def see(event: CollectorEvent) -> None:
            self.note(event)
            told(event)

        collector.on_event = see
        collector.on_batch = self.batch

    def note(self, event: CollectorEvent) -> None:
        """Count an event."""
        if event.kind == "archived":
            self._bytes += event.size_bytes
            self._chunk_bytes.observe(event.size_bytes)
        elif event.kind in ("connected", "disconnected"):
            self._connected = event.kind == "connected"
        if event.kind in ("archived", "duplicate", "erased"):
            self._seen[event.device] = self._clock_s()
            self._seen.move_to_end(event.device)
            if len(self._seen) > DEVICES_IN_MEMORY:
                self._seen.popitem(last=False)

    def batch(self, messages: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_messages.observe(messages)
        self._batch_s.observe(seconds)

    def stored(self, seconds: float) -> None:
        """Count what the disk took; for `FolderStore`."""
        self._stored_s.observe(seconds)

    def serve(self, listen: str) -> Callable[[], None]:
        """Serve GET /metrics in a thread of its own, until the returned function is called.

        Args:
            listen: "HOST:PORT".

        Raises:
            TransportError: it is no address, or cannot be opened.
        """
        from prometheus_client import start_http_server

        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal():
            raise TransportError(f"--metrics {listen!r} is no address: write 127.0.0.1:9108")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), self.registry)
        except (OSError, OverflowError) as error:
            raise TransportError(f"--metrics {listen} cannot be opened ({error}): name another port") from error

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end

    def collect(self) -> Iterable[Any]:
        """Yield the figures as they are now (prometheus_client calls this at each scrape, in its thread)."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        counters = dict(self._collector.counters) if self._collector is not None else {}
        messages = Counter("modicum_collector_messages", "Messages by what became of them.", labels=["outcome"])
        for outcome in OUTCOMES:
            messages.add_metric([outcome], counters.get(outcome, 0))
        yield messages
        refused = Counter("modicum_collector_refused", "Refused messages by reason.", labels=["reason"])
        for name, count in counters.items():
            if name.startswith("refused-"):
                refused.add_metric([name.removeprefix("refused-")], count)
        yield refused
        yield Counter("modicum_collector_archived_bytes", "Bytes of archived chunks.", value=self._bytes)
        yield Counter("modicum_collector_answers", "Answers to devices.", value=counters.get("answers", 0))
        yield Counter("modicum_collector_quarantined", "Payloads kept aside.", value=counters.get("quarantined", 0))
        yield Gauge("modicum_collector_connected", "Whether the broker answers.", value=float(self._connected))
        queued = self._collector.queued if self._collector is not None else 0
        yield Gauge("modicum_collector_queued_messages", "Messages in memory that are not taken up yet.", value=queued)
        devices = Gauge(
            "modicum_collector_devices", "Devices of which something came within the time.", labels=["within"]
        )
        now_s, seen = self._clock_s(), list(self._seen.values())
        for label, window_s in WINDOWS_S.items():
            devices.add_metric([label], sum(now_s - last_s <= window_s for last_s in seen))
        yield devices
