"""Pure: what is known of windows, and which of them are on the screen, in their true order.

Guarantees: the order is the server's own (children of the root window), not the window manager's opinion of it. What
cannot be told is told as unknown (an empty app, owner 0) and never guessed: the policy hides what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TITLE_CHARACTERS = 1024
"""Longer titles are cut: some browsers put whole data: URLs there."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor's place on the display, px."""

    name: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Window:
    """A window as the policy and the recorder see it.

    Attributes:
        id: the X id of the application's window (not of its frame).
        app: WM_CLASS's class in lower case ("firefox-esr", "xterm"), its instance where it has no class; "" = unknown.
        title: at most TITLE_CHARACTERS.
        pid: as the application says; 0 = it doesn't.
        x, y, width, height: the outer rectangle on the root window (with the frame, which shows the title), px.
        override_redirect: a menu, tooltip or the like, which no window manager frames.
        owner: the id of the window it belongs to (a menu's application); 0 = none or unknown.
        opaque: False when what lies below may shine through (alpha, opacity, a shape).
    """

    id: int
    app: str
    title: str
    pid: int
    x: int
    y: int
    width: int
    height: int
    override_redirect: bool = False
    owner: int = 0
    opaque: bool = True


@dataclass(frozen=True, slots=True)
class Traits:
    """What a window's properties say of it: as in Window; `transient_for` and `leader` are window ids, 0 = none."""

    app: str = ""
    title: str = ""
    pid: int = 0
    transient_for: int = 0
    leader: int = 0
    translucent: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """A visible child of the root window: frame, unframed window or menu.

    Attributes:
        id: its X id. x, y, width, height: the outer rectangle with its border, px.
        override_redirect: see Window.
        client: the application's window inside it; its own id where there is no frame; 0 = not found.
        opaque: False for alpha and shapes.
    """

    id: int
    x: int
    y: int
    width: int
    height: int
    override_redirect: bool
    client: int
    opaque: bool = True


def app_of(wm_class: bytes) -> str:
    """Return the app of a WM_CLASS property (instance NUL class NUL), "" when there is none."""
    parts = [part for part in wm_class.decode("utf-8", "replace").split("\0") if part]
    return parts[-1].lower() if parts else ""


def title_of(net_wm_name: bytes, wm_name: bytes) -> str:
    """Return a title of _NET_WM_NAME (UTF-8), or else of WM_NAME (Latin-1)."""
    title = net_wm_name.decode("utf-8", "replace") if net_wm_name else wm_name.decode("latin-1")
    return title.rstrip("\0")[:TITLE_CHARACTERS]


def stack(
    children: Sequence[Child], traits: Mapping[int, Traits], client_mask: int, screen_px: tuple[int, int]
) -> list[Window]:
    """Return the visible windows, bottom to top.

    Args:
        children: visible children of the root window, bottom to top.
        traits: by window id, of each client and each child without one.
        client_mask: the bits of an X id that tell which connection made it (~resource_id_mask): a menu without any
            property still belongs to the application whose connection made it.
        screen_px: the display's width and height; what lies outside is not visible.
    """
    clients = [child.client or child.id for child in children if not child.override_redirect]
    framed = set(clients)
    # Of several windows of one application the topmost: what pops up belongs to the one in use.
    by_connection = {client & client_mask: client for client in clients}
    by_pid = {traits[client].pid: client for client in clients if client in traits and traits[client].pid}

    windows = []
    for child in children:
        if not _overlaps(child, screen_px):
            continue
        own = child.client or child.id
        said = traits.get(own, Traits())
        owner = said.transient_for if said.transient_for in framed else 0
        if child.override_redirect and not owner:
            owner = by_connection.get(child.id & client_mask, 0)
            if not owner and said.leader in framed:
                owner = said.leader
            if not owner and said.pid:
                owner = by_pid.get(said.pid, 0)
        windows.append(
            Window(
                id=own,
                app=said.app,
                title=said.title,
                pid=said.pid,
                x=child.x,
                y=child.y,
                width=child.width,
                height=child.height,
                override_redirect=child.override_redirect,
                owner=owner,
                opaque=child.opaque and not (said.translucent or traits.get(child.id, said).translucent),
            )
        )
    return windows


def _overlaps(child: Child, screen_px: tuple[int, int]) -> bool:
    width, height = screen_px
    return child.x < width and child.y < height and child.x + child.width > 0 and child.y + child.height > 0
