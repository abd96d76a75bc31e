"""Fuzz a target, or all in turn: `python -m tests.fuzz.run NAME|all [--seconds N] [--corpus DIR]`.

With atheris (`pip install atheris`, CPython on Linux) the coverage of the codec guides it; without, inputs are mutated
blindly. A finding is written beside the corpus, is printed, and makes the exit code other than 0.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None and "--replay" not in sys.argv:
    with atheris.instrument_imports(include=["codec"]):
        from tests.fuzz.targets import TARGETS, Bounded, Target
else:
    from tests.fuzz.targets import TARGETS, Bounded, Target

INSTRUMENTED_SLOWNESS = 4
"""By how much, at most, atheris' instrumentation slows the codec."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["all", *TARGETS])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="kept from run to run; default: a temporary folder")
    parser.add_argument("--replay", type=Path, help="run this one input, within the same bounds")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    args = parser.parse_args()
    if args.name == "all":
        for name in TARGETS:  # a process each: libFuzzer ends its own
            print(f"== {name}", flush=True)
            subprocess.run([sys.executable, "-m", "tests.fuzz.run", name, *sys.argv[2:]], check=True)
        return
    target = TARGETS[args.name]
    if args.replay:
        Bounded(target)(args.replay.read_bytes())
        return
    with tempfile.TemporaryDirectory() as scratch:
        corpus = (args.corpus or Path(scratch)) / args.name
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in target.seeds():
            (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
        if atheris is not None:
            guided(target, corpus, args.seconds, args.seed)
        else:
            blind(target, corpus, args.seconds, args.seed)


def guided(target: Target, corpus: Path, seconds: int, seed: int) -> None:
    """Let libFuzzer run; it ends the process itself."""
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={target.max_len_bytes}",
            f"-artifact_prefix={corpus.parent / corpus.name}.finding-",
            f"-seed={seed}",
            "-timeout=20",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            "-verbosity=0",
        ],
        Bounded(target, slowness=INSTRUMENTED_SLOWNESS),
    )
    atheris.Fuzz()


def blind(target: Target, corpus: Path, seconds: int, seed: int) -> None:
    """Mutate the seeds without guidance, for interpreters that have no atheris."""
    rng = random.Random(seed or None)
    inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
    bounded = Bounded(target)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(rng.choice(inputs), rng)[: target.max_len_bytes]
        try:
            bounded(data)
        except BaseException:
            finding = corpus.parent / f"{corpus.name}.finding-{hashlib.sha256(data).hexdigest()[:16]}"
            finding.write_bytes(data)
            print(f"{target}: {data.hex()}\nwritten to {finding}")
            raise
        count += 1
    print(f"stat::number_of_executed_units: {count}")


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0 if changed:
                changed[place % len(changed)] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[place % len(changed)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                changed[place:place] = rng.randbytes(rng.randint(1, 8))
            case 3:
                del changed[place : place + rng.randint(1, 8)]
            case _:
                changed[place:] = changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


if __name__ == "__main__":
    main()
