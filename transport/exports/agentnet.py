"""Shell: actions as AgentNet trajectories: `trajectories.jsonl`, and the frame before each step as PNG in `images/`.

The layout of OpenCUA 1d70f20 (data/cot-generate/README.md): one line a trajectory, `{"task_id", "instruction", "traj":
[{"index", "image", "value": {"code"}}]}`, with pyautogui code whose positions are shares of the picture. Loses: which keys
were typed (modicum never has them: `write(message='')`, with the classes beside it as "typed"), times below a step,
after-frames, and steps without a before-frame, which are counted. What AgentNet has no place for stands under "modicum".
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codec.actions import ActionKind
from codec.errors import CodecError
from transport.exports.pictures import to_png
from transport.exports.plain import to_plain
from transport.exports.terms import terms_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from codec.actions import Action

PAUSE_MS = 5 * 60_000
"""After such a pause another trajectory begins: nobody wrote down where a task ends."""
MAX_STEPS = 500
"""Of one trajectory; it is held in memory until it is written."""

CONTEXT = frozenset({ActionKind.FOCUS, ActionKind.SITE, ActionKind.DIALOG, ActionKind.CLIPBOARD, ActionKind.PASTE})
"""What the computer showed or kept, which is no step of a person."""
BUTTONS = {1: "click", 2: "middleClick", 3: "rightClick"}
DRAG_BUTTONS = {1: "left", 2: "middle", 3: "right"}


@dataclass(slots=True)
class _Trajectory:
    actions: list[Action] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)


def write_agentnet(folder: Path, actions: Iterable[Action], *, purpose: str) -> Counter[str]:
    """Write trajectories.

    Args:
        folder: exists and holds none yet. actions: in order of device and time, read once. purpose: what they are for.

    Returns:
        Counts: "trajectories", "steps", and what was left out, by reason.
    """
    counts: Counter[str] = Counter()
    (folder / "images").mkdir(mode=0o700)
    with os.fdopen(
        os.open(folder / "trajectories.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as lines:
        for number, trajectory in enumerate(_trajectories(folder, actions, counts)):
            first = trajectory.actions[0]
            line = {
                "task_id": f"{first.origin.device}-{first.origin.epoch:08x}-{number}",
                "instruction": "",
                "traj": trajectory.steps,
                "modicum": terms_of(trajectory.actions, purpose).to_answer(),
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            counts["trajectories"] += 1
            counts["steps"] += len(trajectory.steps)
    return counts


def _trajectories(folder: Path, actions: Iterable[Action], counts: Counter[str]) -> Iterator[_Trajectory]:
    current = _Trajectory()
    for action in actions:
        if action.kind in CONTEXT:
            continue
        if current.actions and _is_another(current.actions[-1], action, len(current.steps)):
            yield current
            current = _Trajectory()
        if action.kind is ActionKind.SELECT and action.cause in {"click", "key"}:
            # The click or key that chose it is a step already: say what it chose.
            if current.steps:
                current.steps[-1]["value"]["modicum"]["select"] = to_plain(action)
            continue
        pixels = _before(action, counts)
        if pixels is None:
            continue
        height_px, width_px = pixels.shape[:2]
        code = to_code(action, width_px, height_px)
        if code is None:
            counts[f"{action.kind} without a place or a button that pyautogui knows"] += 1
            continue
        image = f"{action.origin.device}-{action.origin.epoch:08x}-{counts['images']:06d}.png"
        with os.fdopen(os.open(folder / "images" / image, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(to_png(pixels))
        counts["images"] += 1
        value: dict[str, Any] = {"code": code, "modicum": to_plain(action)}
        if action.kind is ActionKind.TYPE:
            value["typed"] = dict(action.keys)
        current.actions.append(action)
        current.steps.append({"index": len(current.steps), "image": image, "value": value})
    if current.actions:
        yield current


def _is_another(last: Action, action: Action, steps: int) -> bool:
    same = (last.origin.device, last.origin.epoch) == (action.origin.device, action.origin.epoch)
    return not same or action.t_ms - last.end_ms > PAUSE_MS or steps >= MAX_STEPS


def _before(action: Action, counts: Counter[str]) -> npt.NDArray[np.uint8] | None:
    if action.before is None:
        counts["steps without a screenshot before them"] += 1
        return None
    try:
        return action.before.pixels()
    except (LookupError, CodecError):
        counts["steps whose screenshot the archive no longer has"] += 1
        return None


def to_code(action: Action, width_px: int, height_px: int) -> str | None:
    """Return an action as pyautogui code with positions as shares of the picture; None: it has no such form.

    Args:
        action: see there. width_px, height_px: of the picture before it.
    """

    def at(x: int, y: int) -> str:
        return f"x={_share(x, width_px)}, y={_share(y, height_px)}"

    if action.kind is ActionKind.TYPE:
        return "pyautogui.write(message='')"
    if action.kind is ActionKind.SHORTCUT:
        return f"pyautogui.hotkey({[key.strip().lower() for key in action.name.split('+')]!r})" if action.name else None
    if action.x is None or action.y is None:
        return None
    place = at(action.x, action.y)
    if action.kind is ActionKind.DOUBLE_CLICK:
        return f"pyautogui.doubleClick({place})" if action.button == 1 else None
    if action.kind is ActionKind.SCROLL:
        right, down = action.scroll
        turns = [f"pyautogui.scroll({-down})"] * bool(down) + [f"pyautogui.hscroll({right})"] * bool(right)
        return "\n".join([f"pyautogui.moveTo({place})", *turns]) if turns else None
    if action.kind is ActionKind.DRAG:
        button = DRAG_BUTTONS.get(action.button or 0)
        if button is None or action.to is None:
            return None
        return f"pyautogui.moveTo({place})\npyautogui.dragTo({at(*action.to)}, button='{button}')"
    if action.kind in {ActionKind.CLICK, ActionKind.SELECT}:
        name = BUTTONS.get(action.button or 1)
        return f"pyautogui.{name}({place})" if name else None
    return None


def _share(position: int, size_px: int) -> float:
    return round(min(1.0, max(0.0, position / size_px)), 4)
