"""Shell: how the virtual desktop looks: themes, window places, and the files that its person works on."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PERSON = "sam"
BACKGROUND = 0x3B5566
PANEL_PX = 32
TASK_PX = 266
"""From one button of the task bar to the next."""

TITLE_BAR_PX = 24

CLASSES: dict[str, tuple[str, ...]] = {
    "browser": ("Sams-office",),
    "editor": ("Mousepad",),
    "terminal": ("XTerm",),
}
"""WM_CLASS's class of each application."""

Box = tuple[int, int, int, int]

OPENBOX_NAMESPACE = "http://openbox.org/3.4/rc"


def places(size: tuple[int, int]) -> dict[str, Box]:
    """Return where each window's content stands (x, y, width, height), overlapping as people leave them."""
    width, height = size
    free = height - PANEL_PX - TITLE_BAR_PX

    def box(x: float, y: float, w: float, h: float) -> Box:
        return round(x * width), round(y * free) + TITLE_BAR_PX, round(w * width), round(h * free)

    return {
        "browser": box(0.016, 0.015, 0.66, 0.93),
        "editor": box(0.53, 0.045, 0.45, 0.56),
        "terminal": box(0.56, 0.60, 0.40, 0.36),
    }


def commands(home: Path, url: str, size: tuple[int, int]) -> dict[str, list[list[str]]]:
    """Return for each application the command lines to try, best first."""
    x, y, width, height = places(size)["browser"]
    flags = [
        f"--user-data-dir={home / '.config/browser'}",
        f"--window-position={x},{y - TITLE_BAR_PX}",
        f"--window-size={width},{height}",
        # It shows this desktop's own pages and reaches nothing else: one application with a class of its own, not a browser
        # that is judged by its site (there is no accessibility bus here that would tell it).
        f"--class={CLASSES['browser'][0]}",
        "--no-first-run",
        "--no-default-browser-check",
        "--password-store=basic",
        # It talks to the bench's own pages and to nobody else.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-domain-reliability",
        "--disable-extensions",
        "--disable-sync",
        "--disable-quic",
        "--no-pings",
        "--disable-features=Translate,OptimizationHints,MediaRouter,AutofillServerCommunication",
        "--disable-gpu",
        "--disable-dev-shm-usage",  # /dev/shm is 64 MB in containers
        "--no-sandbox",  # root may not have one, nor may containers; it opens our own pages only
        "--test-type",  # no bar that warns of the line above
        url,
    ]
    programs = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return {
        "browser": [[program, *flags] for program in programs],
        "editor": [["mousepad", "--disable-server", str(home / "work/notes.txt")]],
        "terminal": [
            [
                *["xterm", "-fa", "DejaVu Sans Mono", "-fs", "11", "-bg", "#1d2b33", "-fg", "#e8e6df"],
                *["-sb", "-rightbar", "-sl", "5000", "-title", "Terminal"],
                *["-e", "bash", "--rcfile", str(home / ".bashrc"), "-i"],
            ]
        ],
    }


def furnish(home: Path, size: tuple[int, int]) -> None:
    """Make the person's home folder: settings and work files."""
    for folder in (
        "work",
        ".config/openbox",
        ".config/tint2",
        ".config/gtk-3.0",
        ".config/glib-2.0/settings",
        ".config/browser/Default",
    ):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / ".config/openbox/rc.xml").write_bytes(_openbox(size))
    (home / ".config/tint2/tint2rc").write_text(TINT2)
    (home / ".config/gtk-3.0/settings.ini").write_text(GTK)
    (home / ".config/glib-2.0/settings/keyfile").write_text(EDITOR)
    # The window manager draws the browser's frame, as it does every other's; no questions at its start.
    preferences = {
        "browser": {"custom_chrome_frame": False, "has_seen_welcome_page": True},
        "credentials_enable_service": False,
        "profile": {"password_manager_enabled": False, "exit_type": "Normal"},
        "autofill": {"profile_enabled": False, "credit_card_enabled": False},
    }
    (home / ".config/browser/Default/Preferences").write_text(json.dumps(preferences))
    (home / ".bashrc").write_text(BASHRC)
    (home / "work/notes.txt").write_text(NOTES)
    (home / "work/tasks.md").write_text(TASKS)
    # The same log each time, so that runs compare.
    rng = random.Random(7)
    (home / "work/server.log").write_text("\n".join(_log_line(rng, i) for i in range(400)) + "\n")
    (home / "work/orders.csv").write_text(
        "order,customer,items,total\n"
        + "\n".join(
            f"{4100 + i},{rng.choice(CUSTOMERS)},{rng.randint(1, 9)},{rng.uniform(9, 480):.2f}" for i in range(120)
        )
        + "\n"
    )


def _log_line(rng: random.Random, i: int) -> str:
    path = rng.choice(
        ["/orders", "/orders/4127", "/customers", "/stock", "/login", "/static/app.css", "/report?week=12"]
    )
    status = rng.choices([200, 200, 200, 304, 404, 500], weights=[30, 30, 30, 6, 3, 1])[0]
    method = rng.choice(["GET", "GET", "POST"])
    return (
        f"2026-03-{1 + i // 40:02d} 09:{i % 60:02d}:{i * 7 % 60:02d} {method} {path} {status} {rng.randint(2, 380)} ms"
    )


def _openbox(size: tuple[int, int]) -> bytes:
    """Return openbox's own default settings with our theme, fonts and window places."""
    ElementTree.register_namespace("", OPENBOX_NAMESPACE)
    tree = ElementTree.parse("/etc/xdg/openbox/rc.xml")  # noqa: S314 - the system's own file
    root = tree.getroot()

    def tag(name: str) -> str:
        return f"{{{OPENBOX_NAMESPACE}}}{name}"

    for name in root.iter(tag("name")):
        if name.text in {"sans", "Clearlooks"}:
            name.text = "DejaVu Sans" if name.text == "sans" else "Clearlooks"
    for number in root.iter(tag("number")):
        number.text = "1"  # one desktop
    rules = root.find(tag("applications"))
    if rules is None:
        rules = ElementTree.SubElement(root, tag("applications"))
    rules.clear()
    for role, (x, y, width, height) in places(size).items():
        for app in CLASSES[role]:
            rule = ElementTree.SubElement(rules, tag("application"), {"class": app, "type": "normal"})
            position = ElementTree.SubElement(rule, tag("position"), {"force": "yes"})
            ElementTree.SubElement(position, tag("x")).text = str(x)
            ElementTree.SubElement(position, tag("y")).text = str(y - TITLE_BAR_PX)
            extent = ElementTree.SubElement(rule, tag("size"))
            ElementTree.SubElement(extent, tag("width")).text = str(width)
            ElementTree.SubElement(extent, tag("height")).text = str(height)
    text: bytes = ElementTree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return text


CUSTOMERS = (
    "Alder & Sons",
    "Birch Ltd",
    "Cedar Works",
    "Elm Street Bakery",
    "Hazel Books",
    "Maple Motors",
    "Willow Care",
)

GTK = """\
[Settings]
gtk-theme-name=Adwaita
gtk-icon-theme-name=Adwaita
gtk-font-name=DejaVu Sans 10
gtk-cursor-blink=true
gtk-enable-animations=true
"""

EDITOR = """\
[org/xfce/mousepad/preferences/view]
word-wrap=true
"""

BASHRC = r"""
PS1='\[\e[1;32m\]sam@desk\[\e[0m\]:\[\e[1;34m\]\w\[\e[0m\]\$ '
PROMPT_COMMAND='printf "\033]0;sam@desk: %s\007" "${PWD/#$HOME/\~}"'
HISTFILE=/dev/null
alias ls='ls --color=auto'
alias grep='grep --color=auto'
cd ~/work
"""

TINT2 = """\
background_id = 1
rounded = 0
border_width = 0
background_color = #24333d 100
border_color = #24333d 0

rounded = 3
border_width = 0
background_color = #35495a 100
border_color = #35495a 0

rounded = 3
border_width = 0
background_color = #4f7391 100
border_color = #4f7391 0

panel_items = TC
panel_size = 100% 32
panel_margin = 0 0
panel_padding = 6 3 6
panel_background_id = 1
panel_position = bottom center horizontal
panel_layer = top
strut_policy = follow_size
font_shadow = 0
wm_menu = 1

taskbar_mode = single_desktop
taskbar_padding = 0 0 6
taskbar_name = 0

task_text = 1
task_icon = 1
task_centered = 0
task_maximum_size = 260 30
task_padding = 8 3 6
task_font = DejaVu Sans 9
task_font_color = #e8edf1 100
task_active_font_color = #ffffff 100
task_background_id = 2
task_active_background_id = 3
urgent_nb_of_blink = 0
mouse_left = toggle_iconify
mouse_middle = none
mouse_right = none

time1_format = %H:%M
time1_font = DejaVu Sans Bold 10
clock_font_color = #e8edf1 100
clock_padding = 10 0
"""

NOTES = """\
Week 12 - notes

Orders from Hazel Books came in late again. Ask Robin whether the new
courier has a pickup before noon, otherwise we move them to Thursday.

Stock
  - paper 80 g: 14 boxes left, order at 10
  - envelopes C5: fine until May
  - toner: one spare, the grey printer needs it soon

Report for Monday
  1. totals by customer
  2. which orders were late, and why
  3. what we promise for April
"""

TASKS = """\
# This week

- [x] send the invoice for order 4127
- [x] reply to Cedar Works
- [ ] check the delivery dates of the March orders
- [ ] prepare the report for Monday
- [ ] renew the courier's contract
"""
