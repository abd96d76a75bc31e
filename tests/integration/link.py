"""A link between two network namespaces whose weather the tests make: delay, loss, a rate, partitions. It counts every byte.

Each namespace has one interface, a TUN; a thread carries packets from one to the other. Nothing else connects them, so what the
home's interface sent and received is all that a person's internet contract would see of the processes in it. Wants root and
/dev/net/tun (`why_not` says what is missing), not netem, which many kernels lack. Namespaces have no names: they end with the
test's process, whatever happens to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import math
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

MTU_BYTES = 1500
HOME, AWAY = "10.77.0.1", "10.77.0.2"
INTERFACE = "link0"
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000

T = TypeVar("T")


def why_not() -> str | None:
    """Say why no link can be made here; None: it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun (modprobe tun, or start the container with --device /dev/net/tun)"
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    try:
        os.close(_in_thread(_new_namespace))
    except OSError as error:
        return f"no network namespace can be made here: {error.strerror}"
    return None


@dataclass
class Weather:
    """What the link does to packets; may be changed while it carries.

    Attributes:
        delay_s: each way. loss_ratio: of packets, each way, independent. rate_bytes_s: each way (infinite = none).
        queue_s: packets that would wait longer for the rate are dropped, as in a router. parted: nothing passes.
    """

    delay_s: float = 0.025
    loss_ratio: float = 0.0
    rate_bytes_s: float = math.inf
    queue_s: float = 0.5
    parted: bool = False


@dataclass
class Way:
    """One direction. source, target: TUN devices. sent_bytes: entered it. arrived_bytes: left it."""

    source: int
    target: int
    sent_bytes: int = 0
    arrived_bytes: int = 0
    lost_packets: int = 0
    busy_until: float = 0.0
    on_the_way: deque[tuple[float, bytes]] = field(default_factory=deque)


class Link:
    """See the module. `with Link(seed) as link:` then start processes by `link.at_home(command)` and `link.away(command)`."""

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self._rng = random.Random(seed)
        self._namespaces: list[int] = []
        self._tuns: list[int] = []
        self._wake, self._waker = os.pipe()
        try:
            for address, peer in ((HOME, AWAY), (AWAY, HOME)):
                self._namespaces.append(_in_thread(_new_namespace))
                self._tuns.append(_inside(self._namespaces[-1], _make_tun))
                for command in (
                    ["address", "add", address, "peer", peer, "dev", INTERFACE],
                    ["link", "set", INTERFACE, "mtu", str(MTU_BYTES), "up"],
                    ["link", "set", "lo", "up"],
                ):
                    subprocess.run(self._in(self._namespaces[-1], ["ip", *command]), check=True)
        except BaseException:
            self._close()
            raise
        home, away = self._tuns
        self.up, self.down = Way(home, away), Way(away, home)
        self._thread = threading.Thread(target=self._carry, name="link", daemon=True)
        self._thread.start()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._waker, b"x")
        self._thread.join()
        self._close()

    def at_home(self, command: list[str]) -> list[str]:
        """Return the command that runs `command` on the person's side; it keeps its process id."""
        return self._in(self._namespaces[0], command)

    def away(self, command: list[str]) -> list[str]:
        """Return the command that runs `command` on the other side."""
        return self._in(self._namespaces[1], command)

    def bytes_at_home(self) -> int:
        """Return all bytes that the home's interface sent and received, IP headers included."""
        return self.up.sent_bytes + self.down.arrived_bytes

    def bytes_by_the_kernel(self) -> int:
        """Return the same as the kernel's own counters of the interface say it."""

        def read() -> int:
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
                name, _, numbers = line.partition(":")
                if name.strip() == INTERFACE:
                    fields = numbers.split()
                    return int(fields[0]) + int(fields[8])
            raise AssertionError(f"{INTERFACE} is gone")

        return _inside(self._namespaces[0], read)

    @contextlib.contextmanager
    def parted(self) -> Iterator[None]:
        """Let nothing pass for the length of a `with` block."""
        self.weather.parted = True
        try:
            yield
        finally:
            self.weather.parted = False

    def _in(self, namespace: int, command: list[str]) -> list[str]:
        program = shutil.which("nsenter") or "nsenter"
        return [program, f"--net=/proc/{os.getpid()}/fd/{namespace}", "--", *command]

    def _carry(self) -> None:
        ways = {way.source: way for way in (self.up, self.down)}
        with contextlib.closing(select.epoll()) as poll:
            for descriptor in (self._wake, *ways):
                poll.register(descriptor, select.EPOLLIN)
            while True:
                due = min((way.on_the_way[0][0] for way in ways.values() if way.on_the_way), default=None)
                wait_s = -1 if due is None else max(0.0, due - time.monotonic())
                for descriptor, _ in poll.poll(wait_s):
                    if descriptor == self._wake:
                        return
                    self._take(ways[descriptor])
                for way in ways.values():
                    self._deliver(way)

    def _take(self, way: Way) -> None:
        weather = self.weather
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = os.read(way.source, MTU_BYTES + 64)
                way.sent_bytes += len(packet)
                now = time.monotonic()
                leaves = max(now, way.busy_until) + len(packet) / weather.rate_bytes_s
                lost = weather.parted or self._rng.random() < weather.loss_ratio
                if lost or leaves - now > weather.queue_s + len(packet) / weather.rate_bytes_s:
                    way.lost_packets += 1
                    continue
                way.busy_until = leaves
                way.on_the_way.append((leaves + weather.delay_s, packet))

    def _deliver(self, way: Way) -> None:
        now = time.monotonic()
        while way.on_the_way and way.on_the_way[0][0] <= now:
            _, packet = way.on_the_way.popleft()
            if not self.weather.parted:
                os.write(way.target, packet)
                way.arrived_bytes += len(packet)

    def _close(self) -> None:
        for descriptor in (*self._tuns, *self._namespaces, self._wake, self._waker):
            os.close(descriptor)


def _in_thread(work: Callable[[], T]) -> T:
    """Run something in a thread of its own: a namespace is a thread's, and ends with it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _new_namespace() -> int:
    """Make a network namespace without IPv6, whose router solicitations would be bytes of nobody's; return its descriptor."""
    _call("unshare", CLONE_NEWNET)
    for scope in ("all", "default"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _inside(namespace: int, work: Callable[[], T]) -> T:
    def run() -> T:
        _call("setns", namespace, CLONE_NEWNET)
        return work()

    return _in_thread(run)


def _make_tun() -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", INTERFACE.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor
