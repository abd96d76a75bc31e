"""Pure: what the demo shows at its end, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benches.compare import Comparison
from benches.stack import Cost
from capture.status import Status, human_bytes

GROUPS = {
    "pointer positions": ("move", "drag"),
    "button presses": ("press-left", "press-middle", "press-right"),
    "button releases": ("release-left", "release-middle", "release-right"),
    "wheel clicks": ("wheel-up", "wheel-down", "wheel-left", "wheel-right"),
    "key presses": ("key-press",),
    "key releases": ("key-release",),
    "application changes": ("focus",),
    "screenshots": ("frame",),
}


INDENT = 7
"""The width of the clock before the live line."""

MAY_MISS_RATIO = 0.01
"""Of the person's moves, some happen while no allowed application has the focus (a click in the task bar): left out on purpose."""


def live(clock: str, status: Status) -> Group:
    """Return the agent's present state as a line of figures above the plan and its reasons, for a display that is rewritten in place."""
    counts, sizes, budget = status.recorded, status.bytes, status.budget
    limit = budget.get("day_limit")
    left = "no budget" if limit is None else f"{human_bytes(max(0, limit - budget.get('day_used', 0)))} left"
    head = Text.assemble(
        (f"{clock:>5}  ", "bold cyan"),
        (f"{status.state}  ", "bold green" if status.state == "recording" else "bold yellow"),
        f"{counts.get('pointer', 0) + counts.get('keys', 0):,} events, {counts.get('frames', 0)} screenshots; "
        f"{human_bytes(sizes.get('sealed', 0))} sealed, {human_bytes(sizes.get('wire', 0))} on the wire, {left}",
    )
    reasons = [Text(f"because {reason}", "dim") for reason in status.plan_reasons]
    return Group(head, Padding(Group(Text(status.plan), *reasons), (0, 0, 0, INDENT)))


def recorded(report: Mapping[str, Any], done: Mapping[str, int] | None) -> Table:
    """Return what the archive holds, by kind.

    Args:
        report: of `modicum archive verify`.
        done: the truth's counts of what the scripted person did; None when a real one was there.
    """
    by_kind: dict[str, int] = dict(report["by_kind"])
    did = _did(done) if done is not None else {}
    table = _table("Recorded, as read back from the archive")
    table.add_column("what")
    table.add_column("in the archive", justify="right")
    if did:
        table.add_column("the person did", justify="right")
    for name, kinds in GROUPS.items():
        count = sum(by_kind.pop(kind, 0) for kind in kinds)
        table.add_row(name, f"{count:,}", *([f"{did[name]:,}" if name in did else ""] if did else []))
    for kind, count in sorted(by_kind.items()):
        table.add_row(f"({kind})", f"{count:,}", *([""] if did else []))
    return table


def _did(done: Mapping[str, int]) -> dict[str, int]:
    keys = done.get("key", 0)
    return {
        "pointer positions": done.get("move", 0),
        "button presses": done.get("press", 0),
        "button releases": done.get("release", 0),
        "wheel clicks": done.get("wheel", 0),
        "key presses": keys // 2,
        "key releases": keys // 2,
    }


def sizes(last: Status, report: Mapping[str, Any], recorded_s: float, cost: Cost) -> Table:
    """Return the bytes at each stage, and what the agent took.

    Args:
        last: the agent's last status. report: as above. recorded_s: how long it recorded. cost: what that took.
    """
    table = _table("Bytes at each stage")
    table.add_column("stage")
    table.add_column("bytes", justify="right")
    table.add_column("of raw", justify="right")
    table.add_column("")
    raw = last.bytes.get("raw", 0)
    stages = {
        "raw": (raw, "events as records, screenshots as pixels"),
        "encoded": (last.bytes.get("encoded", 0), "events as delta columns, screenshots as video"),
        "sealed": (last.bytes.get("sealed", 0), "for the archive's key, signed by the device"),
        "wire": (last.bytes.get("wire", 0), "counted with MQTT, TCP and IP, both ways"),
        "archived": (report["bytes"], "what the collector stored"),
    }
    for stage, (count, means) in stages.items():
        share = f"{count / raw:.3%}" if raw else ""
        table.add_row(stage, f"{count:,}", share, means)
    limit = last.budget.get("day_limit")
    if limit is not None:
        used = last.budget.get("day_used", 0)
        table.add_row(
            "budget",
            f"{used:,}",
            "",
            f"used or reserved of {human_bytes(limit)} a day, {human_bytes(limit - used)} left",
        )
    cpu_share = cost.cpu_s / recorded_s if recorded_s else 0.0
    table.caption = (
        f"The agent took {cpu_share:.1%} of a core, {cost.wakeups / max(recorded_s, 1):.1f} wake-ups/s, "
        f"{human_bytes(cost.rss_bytes)} of memory."
    )
    return table


def verification(console: Console, report: Mapping[str, Any], last: Status, compared: Comparison | None) -> bool:
    """Print what the verification found; return whether everything is right.

    Args:
        console: to print on. report, last: as above. compared: with what the scripted person did; None: a real one was there.
    """
    checks = {
        f"{report['chunks']} chunks in the archive, every one decoded, hashes and signatures right": (
            report["chunks"] > 0 and not report["problems"],
            report["problems"],
        ),
        "ids without gaps": (not report["holes"], report["holes"]),
        f"all {last.chunks.get('closed', 0)} chunks that the agent closed are there": (
            report["chunks"] >= last.chunks.get("closed", 0) > 0,
            [],
        ),
    }
    if compared is not None:
        text = (
            f"{compared.found:,} of the {compared.done:,} moves, clicks and keys of the person are there, in order, places exact "
            f"(times within {compared.late_ms:.0f} ms, 99 % within {compared.worst_ms:.0f} ms)"
        )
        missing = compared.done - compared.found
        checks[text] = (
            missing <= compared.done * MAY_MISS_RATIO and not compared.extra,
            [f"{missing} are missing, {compared.extra} are there that were not done"]
            if missing or compared.extra
            else [],
        )
    console.print("\nVerification", style="bold")
    for text, (right, problems) in checks.items():
        mark = "[green]  right  [/green]" if right else "[red]  WRONG  [/red]"
        console.print(f"{mark}{text}")
        for problem in problems:
            console.print(f"         {problem}", markup=False)
    return all(right for right, _ in checks.values())


def files(console: Console, exported: Path, folder: Path) -> None:
    """Print where the files are that one can open."""
    console.print("\nExported from the archive", style="bold")
    for path in sorted(exported.iterdir()):
        console.print(f"  {path}  ({human_bytes(path.stat().st_size)})", markup=False, soft_wrap=True)
    console.print(f"\nEverything of this demo is in {folder}", markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False, caption_justify="left"
    )
