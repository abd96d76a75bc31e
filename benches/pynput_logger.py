"""Shell: what most scripts that "record the mouse and keyboard" do: pynput's listeners, a JSON line for each event.

A peer for `benches.agent`. No screenshots; times are when Python saw the event.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any


def main(path: Path) -> None:
    """Log into a file until interrupted."""
    from pynput import keyboard, mouse

    with path.open("w", encoding="utf-8", buffering=1) as out:
        lock = threading.Lock()

        def note(kind: str, **fields: Any) -> None:
            with lock:
                out.write(json.dumps({"t": time.time(), "kind": kind, **fields}) + "\n")

        mouse.Listener(
            on_move=lambda x, y: note("move", x=x, y=y),
            on_click=lambda x, y, button, pressed: note("click", x=x, y=y, button=str(button), pressed=pressed),
            on_scroll=lambda x, y, dx, dy: note("scroll", x=x, y=y, dx=dx, dy=dy),
        ).start()
        keyboard.Listener(
            on_press=lambda key: note("press", key=type(key).__name__),
            on_release=lambda key: note("release", key=type(key).__name__),
        ).start()
        note("start")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            note("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
