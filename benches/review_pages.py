"""The pictures of the review page in docs/images: a real recording of a virtual desktop, looked at in a real browser.

    python -m benches.review_pages [--seconds 150] [--out docs/images]

Needs the extras review and dev (Playwright) and Debian's Chromium; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from benches.desktop import VirtualDesktop
from benches.person import Person
from benches.stack import ROOT, Stack
from benches.truth import Truth

VIEWS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1360, "height": 940}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1360, "height": 940}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
MAX_BYTES = 200_000
COLOURS = 256


def main() -> int:
    """Record, look, save."""
    parser = argparse.ArgumentParser(prog="python -m benches.review_pages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=150, help="how long to record (default 150)")
    parser.add_argument("--seed", type=int, default=3, help="what the scripted person does (default 3)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="the folder for the pictures")
    parser.add_argument("--full", action="store_true", help="the whole length of the page")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="modicum-pages-")))
        desktop = closing.enter_context(VirtualDesktop())
        stack = closing.enter_context(Stack(folder, desktop.environment))
        stack.configure(sorted({window.app for window in desktop.display.windows() if window.app != "Tint2"}))
        config = stack.config.read_text(encoding="utf-8")
        config = config.replace('"10 s"', '"15 s"').replace('hold_back = "0 s"', 'hold_back = "1 min"')
        stack.config.write_text(config, encoding="utf-8")
        stack.accept_notice()
        stack.start()
        _work(desktop, folder, options.seconds, options.seed)
        stack.flush()
        with _review(stack) as link:
            _look(link, options.out, full=options.full)
    return 0


def _work(desktop: VirtualDesktop, folder: Path, seconds: float, seed: int) -> None:
    with Truth(folder / "truth.jsonl") as truth:
        person = Person(desktop, seed, truth)
        try:
            person.work(seconds)
        finally:
            person.close()


@contextlib.contextmanager
def _review(stack: Stack) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "capture.cli", "review", "--no-browser", "--config", str(stack.config)],
        env=stack.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        found = None
        for line in process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                break
        watchdog.cancel()
        assert found is not None, "modicum review gave no link"
        yield found[0]
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(20)


def _look(link: str, out: Path, *, full: bool) -> None:
    with sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=_chromium(), args=root)
        first = browser.new_context()
        first.new_page().goto(link)
        cookies: Any = first.storage_state()
        home = link.split("/enter")[0]
        for name, view in VIEWS.items():
            context = browser.new_context(**view, storage_state=cookies)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(home)
            page.wait_for_selector("body.ready")
            _settle(page)
            path = out / f"review-{name}.png"
            path.write_bytes(_small(page.screenshot(full_page=full or name == "phone")))
            print(f"{path}: {path.stat().st_size:,} bytes")
            assert path.stat().st_size < MAX_BYTES
        browser.close()


def _settle(page: Any) -> None:
    """Go to a click in the browser, so that a picture with something on it shows."""
    page.evaluate("""async () => {
      const { chunks: all } = await (await fetch("/api/timeline")).json();
      const films = await Promise.all(all.filter((one) => one.screens).map(async (one) => (await (await fetch(`/api/shots/${one.id}`)).json()).shots));
      const taken = films.flat().map(([at]) => at);
      for (const one of all.filter((one) => !one.screens && !one.damaged).reverse()) {
        const events = await (await fetch(`/api/events/${one.id}`)).json();
        const at = events.pointer.t.findLast((t, n) => events.pointer.kind[n] === 2 &&
          one.spans.some(([, title, from, to]) => title.endsWith("Chromium") && from < events.start_ms + t - 2000 && to > events.start_ms + t + 900) &&
          taken.some((at) => events.start_ms + t - at > 0 && events.start_ms + t - at < 2500));
        if (at === undefined) continue;
        const scrub = document.getElementById("scrub");
        scrub.value = events.start_ms + at + 300;
        scrub.dispatchEvent(new Event("input"));
        return;
      }
    }""")
    page.wait_for_selector("#picture[data-whole=yes]")
    time.sleep(0.5)


def _small(png: bytes) -> bytes:
    """Return the picture in a palette: it is for a page of documentation."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _chromium() -> str:
    import shutil

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, "there is no Chromium: deploy/packages demo installs it"
    return found


if __name__ == "__main__":
    sys.exit(main())
