"""The review page, driven in a real browser, over what a real agent recorded of a real display."""

from __future__ import annotations

import http.client
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from capture.home import Home
from capture.review.bounds import Bounds
from capture.review.copies import Copies
from codec.model import Row
from tests.integration.page_checks import check_accessibility
from tests.integration.stack import COMMAND, Stack, display, wait_for
from tests.places import free_port
from tests.x11_display import need
from transport.folder import Folder
from transport.fs import RealFiles

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.x11, pytest.mark.broker]

CONFIG = """\
[scope]
allow = ["xterm", "notes"]

[capture]
chunk_age = "1 h"
hold_back = "{hold_back}"

[screens]
effort = "fast"
min_interval = "1 s"

[budget]
month = "1 GB"

[budget.metered]
send = "all"

[broker]
port = {port}

[archive]
public_key = "{folder}/keys/archive.pub"
"""


def chromium() -> str:
    """Return Debian's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        need("chromium")
    assert path is not None
    return path


@dataclass
class Desk:
    """A desk at which somebody works: a stack and windows."""

    stack: Stack
    pages: int = 0
    base: str = ""
    state: Any = None  # of the browser that the shared page was opened in

    @property
    def home(self) -> Home:
        return Home.of(self.stack.environment)

    @property
    def copies(self) -> Copies:
        return Copies(Folder(RealFiles(), self.home.copies), Bounds(2 * 86_400, 500_000_000))

    def configure(self, hold_back: str) -> None:
        self.stack.configure(CONFIG.format(hold_back=hold_back, port=self.stack.port, folder=self.stack.folder))

    def work(self, name: str, title: str, text: str) -> None:
        """Open a terminal with a class and a title, type and click in it, wait for its picture, close the chunk."""
        command = ["xterm", "-class", name, "-name", name, "-title", title, "-geometry", "90x30+60+60", "-e", "cat"]
        window = self.stack.processes.start(title, command, self.stack.environment)

        def recording() -> bool:
            status = self.stack.status()
            return status is not None and status["state"] == "recording"

        wait_for(recording, f"{title} to be recorded")
        self.xdotool("mousemove", "300", "300")
        frames = self.status()["recorded"]["frames"]
        subprocess.run(["xset", "r", "off"], env=self.stack.environment, check=True)  # a slow machine would hold a key
        self.xdotool("type", "--delay", "300", text)  # longer than a second, which stretches are counted in
        for x in range(300, 500, 20):
            self.xdotool("mousemove_relative", "--", "20", "7")
            assert x
        self.xdotool("click", "1")
        wait_for(lambda: self.status()["recorded"]["frames"] > frames, "a picture of it")
        window.terminate()
        window.wait(10)
        wait_for(lambda: not recording(), f"{title} to be gone")
        self.stack.ask("flush")

    def xdotool(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], env=self.stack.environment, check=True, capture_output=True)

    def status(self) -> dict[str, Any]:
        status = self.stack.status()
        assert status is not None
        return status

    def waiting(self) -> int:
        return int(self.status()["chunks"]["waiting"])

    def review(self) -> str:
        """Start `modicum review` and return its link."""
        self.pages += 1
        name = f"review-{self.pages}"
        command = [*COMMAND, "review", "--no-browser", "--config", str(self.stack.config)]
        self.last = self.stack.processes.start(name, command, self.stack.environment)
        found = wait_for(lambda: re.search(r"http://\S+", self.stack.processes.log(name)), "the page's link")
        return found.group(0)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk at which something has left already, and something is held back."""
    chromium()
    folder = tmp_path_factory.mktemp("review")
    with display(folder, size="1280x800") as environment:
        stack = Stack(folder, environment)
        desk = Desk(stack)
        try:
            # What gets the focus when the others are closed: it is not allowed, so nothing is recorded then.
            stack.processes.start("other", ["xterm", "-class", "other", "-name", "other", "-e", "cat"], environment)
            desk.configure("0 s")
            stack.start_broker()
            stack.start_collector()
            stack.start_agent()
            desk.work("xterm", "Letter to Ulm", "dear friends of paper")
            desk.work("notes", "Shopping list", "ink and envelopes")
            wait_for(lambda: desk.waiting() == 0, "everything to have left")
            stack.stop_agent()
            desk.configure("1 h")
            stack.start_agent()
            desk.work("xterm", "Second letter", "kind regards to all")
            desk.work("notes", "Private thoughts", "nobody need read this")
            assert desk.waiting() >= 4
            yield desk
        finally:
            stack.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    with sync_api.sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=chromium(), args=[*root, "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def opened(desk: Desk, browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page in a browser of its own; every complaint of that browser fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(*, own_server: bool = False, **options: Any) -> Any:
        state = None if own_server else desk.state
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options}, storage_state=state)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda told: complaints.append(told.text) if told.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if state is not None:
            page.goto(desk.base)
        else:
            link = desk.review()
            page.goto(link)
            if not own_server:
                desk.state, desk.base = context.storage_state(), link.split("enter")[0]
        page.wait_for_selector("body.ready", timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def scrub(page: Any, ms: int) -> None:
    """Move the time slider as a hand would, and wait for the whole picture."""
    page.evaluate(
        "(ms) => { const s = document.getElementById('scrub'); s.value = ms; s.dispatchEvent(new Event('input')); }", ms
    )


def chunks_of(page: Any) -> list[dict[str, Any]]:
    told = page.evaluate("() => fetch('/api/timeline').then((answer) => answer.json())")
    return list(told["chunks"])


def titled(page: Any, title: str) -> dict[str, Any]:
    """Return the events chunk in which a window had the focus."""
    return next(one for one in chunks_of(page) if any(span[1] == title for span in one.get("spans", ())))


def choose(page: Any, chunk: dict[str, Any]) -> None:
    """Fill in the stretch to delete: whole seconds within one chunk of events."""
    first_s, last_s = -(-chunk["start"] // 1000), chunk["end"] // 1000
    assert first_s < last_s
    for name, s in (("from", first_s), ("to", last_s)):
        value = page.evaluate(
            "(ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60e3).toISOString().slice(0, 19)", s * 1000
        )
        page.fill(f"#{name}", value)


def test_opening_it_shows_what_was_recorded_and_where_it_is(desk: Desk, opened: Callable[..., Any]) -> None:
    page = opened()
    assert page.locator("#pill").inner_text() in {"Recording", "Waiting"}
    page.wait_for_selector("#picture[data-whole=yes]")
    assert page.evaluate("() => [picture.naturalWidth, picture.naturalHeight]") == [1280, 800]
    assert page.locator("#moments b").all_inner_texts() == ["Notes", "Xterm", "Notes", "Xterm"]
    assert page.locator("#moments .title").all_inner_texts()[-1] == "Letter to Ulm"
    states = {titled(page, title)["state"] for title in ("Letter to Ulm", "Shopping list")}
    assert states == {"archived"}
    assert {titled(page, title)["state"] for title in ("Second letter", "Private thoughts")} == {"here"}
    where = page.locator("#where").inner_text()
    assert re.search(r"Held back here\s+4 pieces", where)
    assert re.search(r"Has left\s+4 pieces", where)
    assert page.locator("#plan li").count() == len(desk.status()["plan_reasons"])


def test_scrubbing_shows_the_picture_the_pointer_the_clicks_and_the_keys_of_the_moment(
    opened: Callable[..., Any],
) -> None:
    page = opened()
    chunk = titled(page, "Letter to Ulm")
    events = page.evaluate("(id) => fetch(`/api/events/${id}`).then((answer) => answer.json())", chunk["id"])
    pressed = [
        events["start_ms"] + t
        for t, kind in zip(events["pointer"]["t"], events["pointer"]["kind"], strict=True)
        if kind == 2
    ]
    assert len(pressed) == 1
    assert events["keys"]["down"].count(True) == len("dear friends of paper")
    scrub(page, pressed[0] + 50)
    page.wait_for_selector("#overlay .click.left", state="attached")
    page.wait_for_selector("#overlay .path", state="attached")
    page.wait_for_selector("#overlay .pointer", state="attached")
    circle = page.locator("#overlay .click.left")
    last = events["pointer"]["t"].index(pressed[0] - events["start_ms"])
    at = (int(circle.get_attribute("cx")), int(circle.get_attribute("cy")))
    assert at == (events["pointer"]["x"][last], events["pointer"]["y"][last])
    assert page.locator("#cap-title").inner_text() == "Letter to Ulm"
    assert page.locator("#strip .key-tick").count() > 5
    assert page.locator("[aria-current=true] .title").inner_text() == "Letter to Ulm"
    frame = page.locator("#picture").get_attribute("data-frame")
    page.locator("#moments button", has_text="Second letter").click()
    page.wait_for_function("(before) => picture.dataset.whole === 'yes' && picture.dataset.frame !== before", arg=frame)
    page.locator("#play").click()
    before = page.locator("#clock").inner_text()
    page.wait_for_function("(before) => clock.textContent !== before", arg=before)
    assert page.locator("#play").get_attribute("aria-label") == "Stop playing"
    page.locator("#play").click()
    page.keyboard.press("Tab")


def test_searching_finds_by_title_and_by_application(opened: Callable[..., Any]) -> None:
    page = opened()
    page.fill("#query", "LETTER")
    assert page.locator("#moments .title").all_inner_texts() == ["Second letter", "Letter to Ulm"]
    page.fill("#query", "")
    page.select_option("#app", "notes")
    assert page.locator("#moments .title").all_inner_texts() == ["Private thoughts", "Shopping list"]
    page.fill("#query", "nothing of the kind")
    assert "Nothing fits" in page.locator("#count").inner_text()


def test_pausing_and_going_on(desk: Desk, opened: Callable[..., Any]) -> None:
    page = opened()
    page.select_option("#pause-for", "1800")
    page.click("#pause")
    page.wait_for_selector("#pill.paused")
    assert desk.status()["state"] == "paused"
    assert "30 min" in page.locator("#why").inner_text()
    assert page.evaluate("() => document.activeElement.id") == "resume"
    page.click("#resume")
    page.wait_for_selector("#pill:not(.paused)")
    assert desk.status()["state"] != "paused"


def test_the_budget_and_its_forecast_are_those_of_the_agent(desk: Desk, opened: Callable[..., Any]) -> None:
    page = opened()
    meter = page.get_by_role("meter", name="This billing period")
    budget = desk.status()["budget"]
    assert int(meter.get_attribute("aria-valuemax")) == budget["month_limit"] == 10**9
    assert int(meter.get_attribute("aria-valuenow")) == budget["month_used"] > 0
    shown = page.locator("#forecast").inner_text()
    assert re.match(r"Forecast: [\d.]+ [kMG]?B by \d+ \w+, [\d.]+ % of what it may take\.", shown), shown
    assert "of one core" in page.locator("#cost").inner_text()


def answered(page: Any) -> str:
    """Confirm the dialog, and return the newest answer."""
    before = page.locator("#answers li:not(.none)").count()
    page.click("#confirm button[value=yes]")
    page.wait_for_function(
        "(before) => document.querySelectorAll('#answers li:not(.none)').length > before", arg=before
    )
    return str(page.locator("#answers li").first.inner_text())


def test_what_has_not_left_is_gone_when_it_is_deleted(desk: Desk, opened: Callable[..., Any]) -> None:
    page = opened()
    chunk = titled(page, "Private thoughts")
    kept, waiting = len(desk.copies.entries()), desk.waiting()
    choose(page, chunk)
    preview = page.locator("#preview").inner_text()
    assert "not left this machine" in preview
    page.click("#delete")
    page.click("#confirm button[value=no]")
    assert len(desk.copies.entries()) == kept, "Keep it means keep it"
    page.click("#delete")
    gone = answered(page)
    found = re.search(r"(\d) pieces gone from this machine before leaving it", gone)
    assert found is not None, gone
    count = int(found[1])
    assert count in {2, 3}, "its events, its picture, and the one before where that showed long into it"
    page.wait_for_function("() => !document.getElementById('moments').textContent.includes('Private thoughts')")
    assert len(desk.copies.entries()) == kept - count
    assert desk.waiting() == waiting - count
    assert titled(page, "Second letter")
    assert chunk["id"] not in {one["id"] for one in chunks_of(page)}
    base, cookie = page.evaluate("() => location.origin") + "/", page.context.cookies()[0]
    status, body = asked(base, f"/api/events/{chunk['id']}", cookie=f"{cookie['name']}={cookie['value']}")
    assert status == 404
    assert b"deleted" in body


class Foreign(http.server.BaseHTTPRequestHandler):
    """A page of somebody else's."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


TRIES = """async (base) => {
  const got = {};
  const tried = async (name, work) => { try { got[name] = await work(); } catch { got[name] = "refused"; } };
  const loaded = (tag, set) => new Promise((done) => {
    const node = document.createElement(tag);
    node.onload = () => done("loaded");
    node.onerror = () => done("refused");
    set(node);
    document.body.append(node);
  });
  await tried("read", async () => (await fetch(base + "/api/timeline", { credentials: "include" })).text());
  await tried("blind", async () => (await fetch(base + "/api/timeline", { credentials: "include", mode: "no-cors" })).type);
  await tried("change", async () => (await fetch(base + "/api/pause", {
    method: "POST", credentials: "include", headers: { "content-type": "application/json" }, body: "{}" })).text());
  await tried("form", async () => (await fetch(base + "/api/pause", {
    method: "POST", credentials: "include", mode: "no-cors", headers: { "content-type": "text/plain" }, body: "{}" })).type);
  await tried("picture", () => loaded("img", (node) => { node.src = base + "/icon.svg"; }));
  await tried("script", () => loaded("script", (node) => { node.src = base + "/words.js"; }));
  return got;
}"""


def test_a_foreign_page_in_the_same_browser_gets_nothing(desk: Desk, opened: Callable[..., Any]) -> None:
    page = opened()
    base = page.evaluate("() => location.origin")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        foreign = page.context.new_page()
        # The same host on another port: the browser sends our cookie there, and from there to us.
        foreign.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        got = foreign.evaluate(TRIES, base)
        assert got["read"] == got["change"] == got["picture"] == got["script"] == "refused", got
        assert desk.status()["state"] != "paused"
        foreign.evaluate(
            "(base) => { const f = document.createElement('iframe'); f.src = base; document.body.append(f); }", base
        )
        foreign.wait_for_function("() => document.querySelector('iframe') !== null")
        assert all("Letter" not in frame.content() for frame in foreign.frames)
    finally:
        server.shutdown()
        server.server_close()


def asked(link: str, path: str = "/api/timeline", method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Ask the server itself."""
    host = link.split("/")[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=20)
    named = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.putrequest(method, path, skip_host=True)
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_wrong_token_and_a_rebound_name_get_nothing(desk: Desk, opened: Callable[..., Any]) -> None:
    link = desk.review()
    host = link.split("/")[2]
    for path in ("/", "/main.js", "/api/timeline", "/api/now", "/enter?token=guessed", "/enter", "/../../etc/passwd"):
        status, body = asked(link, path)
        assert status == 403, path
        assert b"<" not in body
    status, body = asked(link, f"/enter?token={link.partition('=')[2]}", Host=f"evil.example:{host.rpartition(':')[2]}")
    assert (status, body) == (421, b"")
    page = opened()
    cookie = page.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    base = page.evaluate("() => location.origin") + "/"
    good = f"{cookie['name']}={cookie['value']}"
    assert asked(base, cookie=good)[0] == 200
    for host in ("evil.example", f"evil.example:{base.split(':')[2][:-1]}", f"localhost:{base.split(':')[2][:-1]}"):
        assert asked(base, cookie=good, Host=host) == (421, b"")
    assert asked(base, "/api/pause", "POST", cookie=good, Origin="https://evil.example") == (403, b"")
    again = page.context.new_page()
    used = again.goto(link.replace(link.split("/")[2], base.split("/")[2]))
    assert used.status == 403


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 1360), ("light", 390), ("dark", 390)], ids=str)
def test_everybody_can_use_it(opened: Callable[..., Any], scheme: str, width: int) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 844})
    check_accessibility(page)


def test_a_keyboard_alone_is_enough_to_delete_or_not(desk: Desk, opened: Callable[..., Any]) -> None:
    page = opened()
    kept = len(desk.copies.entries())
    page.locator("#delete").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm[open]")
    assert page.evaluate("() => document.activeElement.textContent") == "Keep it", "the harmless answer has the focus"
    page.keyboard.press("Escape")
    page.wait_for_selector("#confirm:not([open])", state="attached")
    assert len(desk.copies.entries()) == kept
    page.locator("#scrub").focus()
    before = page.locator("#scrub").get_attribute("aria-valuetext")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("(before) => scrub.getAttribute('aria-valuetext') !== before", arg=before)


def test_what_has_left_is_deleted_here_and_the_archive_s_answer_is_shown(
    desk: Desk, opened: Callable[..., Any]
) -> None:
    page = opened()
    chunk = titled(page, "Letter to Ulm")
    kept, archived = len(desk.copies.entries()), desk.stack.archived()
    assert chunk["state"] == "archived"
    page.locator("#moments button", has_text="Letter to Ulm").click()
    page.click("#delete-here")
    assert "the archive is told" in page.locator("#confirm-text").inner_text()
    told = answered(page)
    assert "had left: your copies are gone, and the order to erase" in told
    page.wait_for_function("() => !document.getElementById('moments').textContent.includes('Letter to Ulm')")
    gone = kept - len(desk.copies.entries())
    assert gone > 0
    assert chunk["id"] not in {one["id"] for one in chunks_of(page)}
    page.wait_for_selector("#answers .done", timeout=60_000)
    said = page.locator("#answers .done").first.inner_text()
    assert re.search(rf"Order \d+ to the archive, to erase {gone} pieces?, signed .*: the archive has erased", said), (
        said
    )
    left = desk.stack.archived()
    assert len(left) == len(archived) - gone
    assert int(chunk["id"].split("-")[1]) not in {int(path.stem) for path in left}


def test_after_a_kill_it_shows_and_deletes_and_the_next_agent_says_so(desk: Desk, opened: Callable[..., Any]) -> None:
    kept = [copy.name for copy in desk.copies.entries()]
    assert kept
    desk.stack.kill(desk.stack.agent)
    assert [copy.name for copy in desk.copies.entries()] == kept, "copies outlive a power cut of the agent"
    page = opened(own_server=True)
    assert not any(one["damaged"] for one in chunks_of(page))
    assert page.locator("#pill").inner_text() == "Not running"
    page.wait_for_selector("#picture[data-whole=yes]")
    page.select_option("#delete-app", "xterm")
    assert "not left this machine" in page.locator("#preview").inner_text()
    page.click("#delete")
    assert "gone from this machine" in answered(page)
    page.wait_for_function("() => !document.getElementById('moments').textContent.includes('Second letter')")
    desk.stack.start_agent()
    desk.stack.ask("flush")
    page.wait_for_selector("#pill:not(.off)")
    rows = partial(_gap_rows, desk)
    wait_for(lambda: any("forgotten" in row.fields.values() for row in rows()), "a gap row for what was deleted")
    page.click("#close")
    page.wait_for_selector("main.closed")
    assert desk.last.wait(20) == 0


def _gap_rows(desk: Desk) -> list[Row]:
    from codec.chunk import decode_body, open_chunk

    key = desk.home.own_key()
    bodies = [decode_body(open_chunk(desk.copies.read(copy), key)[1]) for copy in desk.copies.entries()]
    return [row for body in bodies for row in body.rows if row.kind == "gap"]
