"""Run the scripted desktop: `python -m benches.workload --seconds 60 --truth truth.jsonl --record desktop.mkv`.

The same desktop and person as in `make demo`, for looking at, for measuring a recorder on (its environment is printed),
and for making test recordings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path

from benches.desktop import DesktopError, VirtualDesktop
from benches.film import Film
from benches.person import ACTIVITIES, Person
from benches.truth import Truth


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benches.workload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the person works (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="what they do and how they move (default 1)")
    parser.add_argument("--size", default="1920x1080", help="of the desktop (default 1920x1080)")
    parser.add_argument("--display", type=int, help="display number (default: a free one)")
    parser.add_argument(
        "--activities", default=",".join(ACTIVITIES), help=f"a choice of {', '.join(ACTIVITIES)} (default: all)"
    )
    parser.add_argument("--truth", type=Path, help="write what was done, as JSON lines")
    parser.add_argument("--record", type=Path, help="film the desktop, lossless, into this file (.mkv)")
    parser.add_argument("--fps", type=float, default=5, help="pictures a second of --record (default 5)")
    options = parser.parse_args(arguments)
    activities = tuple(options.activities.split(","))
    if unknown := set(activities) - set(ACTIVITIES):
        parser.error(f"unknown activity {', '.join(sorted(unknown))}; there are {', '.join(ACTIVITIES)}")
    width, _, height = options.size.partition("x")
    try:
        size = int(width), int(height)
    except ValueError:
        parser.error(f"--size {options.size}: write WIDTHxHEIGHT, for example 1920x1080")

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            desktop = stack.enter_context(VirtualDesktop(size, display=options.display))
            truth = stack.enter_context(Truth(options.truth))
            print(
                json.dumps({"display": desktop.name, "authority": str(desktop.authority), "apps": list(desktop.apps)})
            )
            sys.stdout.flush()
            if options.record is not None:
                stack.enter_context(Film(desktop, options.record, fps=options.fps))
            person = Person(desktop, options.seed, truth)
            stack.callback(person.close)
            print(json.dumps(person.work(options.seconds, activities)))
    except DesktopError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
