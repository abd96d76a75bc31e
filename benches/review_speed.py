"""How fast the review page's server answers, and what memory it takes, over the copies of two full working days.

    python -m benches.review_speed

192 chunks of events (5 min of a moving hand and typing) and 64 of screenshots (15 min at 1080p), made from a few that are
really encoded; the server is a process of its own, asked over HTTP as a browser does.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benches.painted import paint
from benches.stack import ROOT
from capture.home import Home
from capture.review.bounds import Bounds
from capture.review.copies import Copies
from codec.chunk import Body, encode_body, seal_chunk
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents, Row
from codec.screen import Effort, ScreenEncoder
from transport.folder import Folder
from transport.fs import RealFiles

EVENT_CHUNKS, SCREEN_CHUNKS = 192, 64
EVENTS, FRAMES = 6000, 240
FILMS = 12
"""More of them take no more memory: what is kept is bounded, and full by then."""
MIN = 60_000
APPS = ("code", "libreoffice-calc", "chromium", "thunderbird", "org.gnome.texteditor")


@dataclass(frozen=True, slots=True)
class Made:
    """A chunk as the packer makes one."""

    chunk_id: ChunkId
    chunk: bytes
    value: int
    body: bytes


def main() -> int:
    """Make the copies, start the server, ask, print."""
    with tempfile.TemporaryDirectory(prefix="modicum-speed-") as folder:
        home = Home(Path(folder) / "state", Path(folder) / "run")
        home.prepare()
        config = Path(folder) / "config.toml"
        config.write_text('[review]\nkeep = "3 days"\n')
        began = time.perf_counter()
        size_bytes = _make(home)
        print(
            f"{EVENT_CHUNKS + SCREEN_CHUNKS} copies, {size_bytes / 1e6:.0f} MB, made in {time.perf_counter() - began:.0f} s"
        )
        environment = {**os.environ, "MODICUM_HOME": folder, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "capture.cli", "review", "--no-browser", "--config", str(config)]
        server = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            link = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
            _measure(link, server.pid)
        finally:
            server.terminate()
            server.wait(20)
    return 0


def _make(home: Home) -> int:
    copies = Copies(Folder(RealFiles(), home.copies), Bounds(3 * 86_400, 10**9))
    key, signer, rng = home.own_key(), home.signing_key(), np.random.default_rng(1)
    now_ms = time.time_ns() // 1_000_000
    encoder = ScreenEncoder(effort=Effort.FAST)
    for number, frame in enumerate(paint(frames=FRAMES)):
        encoder.add(Frame(number * 15 * MIN // FRAMES, frame.pixels))
    section = encoder.finish()
    steps = rng.integers(-6, 7, (EVENTS, 2)).cumsum(axis=0)
    pointer = PointerEvents(
        np.sort(rng.integers(0, 5 * MIN, EVENTS)).astype(np.int64),
        np.where(rng.random(EVENTS) < 0.01, 2, 0).astype(np.uint8),
        (960 + steps[:, 0]).astype(np.int32),
        (540 + steps[:, 1]).astype(np.int32),
    )
    for seq in range(EVENT_CHUNKS + SCREEN_CHUNKS):
        is_screen = seq % 4 == 3
        start_ms = now_ms - 2 * 86_400_000 + 2 * MIN + seq // 4 * 15 * MIN // 1 + (seq % 4) * 5 * MIN * (not is_screen)
        meta = Meta(0, start_ms * 1_000_000, 15 * MIN if is_screen else 5 * MIN)
        rows = [
            Row(at * 10_000, "focus", {"app": str(rng.choice(APPS)), "title": f"Document {rng.integers(200)} - Office"})
            for at in range(30)
        ]
        body = encode_body(
            Body(meta, PointerEvents.empty(), KeyEvents.empty(), [], section)
            if is_screen
            else Body(meta, pointer, KeyEvents.empty(), rows)
        )
        chunk_id = ChunkId("bench-device", 1, seq)
        value = 0 if is_screen else 200
        chunk = seal_chunk(chunk_id, body, recipient=key.public, signer=signer, expires_s=0, value=value)
        copies.keep(Made(chunk_id, chunk, value, body), key.public, signer)
    return sum(copy.size_bytes for copy in copies.entries())


def _measure(link: str, pid: int) -> None:
    address = re.match(r"http://([\d.]+):(\d+)", link)
    assert address is not None
    connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=120)
    connection.request("GET", link.partition(address[0])[2])
    entered = connection.getresponse()
    entered.read()
    cookie = (entered.getheader("set-cookie") or "").split(";")[0]

    def get(path: str) -> bytes:
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, (path, answer.status, content[:200])
        return content

    idle_mb = _rss_mb(pid)
    print(f"{'answer':50} {'median ms':>10} {'slowest ms':>11}")
    began = time.perf_counter()
    get("/api/timeline")
    first_ms = (time.perf_counter() - began) * 1000
    print(f"{'the timeline, for the first time':50} {first_ms:10.1f} {first_ms:11.1f}")
    screens = [f"00000001-{seq}" for seq in range(3, EVENT_CHUNKS + SCREEN_CHUNKS, 4)]
    frames = len(json.loads(get("/api/shots/00000001-255"))["shots"])
    order = np.random.default_rng(2).permutation(frames).tolist()
    rows: list[tuple[str, Callable[[], object], int]] = [
        ("the timeline, again", lambda: get("/api/timeline"), 5),
        ("a chunk's events", lambda: get("/api/events/00000001-0"), 5),
        (f"the list of a chunk's {frames} frames", lambda: get(f"/api/shots/{screens.pop()}"), 3),
        ("a small picture", lambda: get(f"/thumb/00000001-255/{order[0]}.png"), 5),
        ("a picture, the next", _counting(lambda n: get(f"/picture/00000001-255/{n}.png")), 60),
        ("a picture, any", _counting(lambda n: get(f"/picture/00000001-251/{order[n]}.png")), 60),
        ("a picture seen before", lambda: get("/picture/00000001-251/" + str(order[59]) + ".png"), 5),
    ]
    for name, ask, times in rows:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            ask()
            taken.append((time.perf_counter() - began) * 1000)
        print(f"{name:50} {statistics.median(taken):10.1f} {max(taken):11.1f}")
    for one in screens[:FILMS]:
        count = len(json.loads(get(f"/api/shots/{one}"))["shots"])
        get(f"/picture/{one}/{count // 4}.png")
    peak_mb = _rss_mb(pid, "VmHWM")
    print(
        f"memory: {idle_mb:.0f} MB at the start, {_rss_mb(pid):.0f} MB after {FILMS} more films were looked into, at most {peak_mb:.0f} MB"
    )


def _counting(ask: Callable[[int], object]) -> Callable[[], object]:
    numbers = iter(range(1 << 20))
    return lambda: ask(next(numbers))


def _rss_mb(pid: int, field: str = "VmRSS") -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


if __name__ == "__main__":
    sys.exit(main())
