"""The heap keeps what every frame takes anew, and gives back what an encoder took for a moment."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from capture import memory

def anonymous_kib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

if sys.argv[1] == "small":
    assert memory.keep_small()

def work(_):
    blocks = [b"x" * 900_000 for _ in range(40)]  # mapped at first; the first one that is freed raises glibc's threshold
    del blocks
    blocks = [b"x" * 900_000 for _ in range(40)]
    kept = b"x" * 500_000  # lies above what is freed: the end of the heap cannot shrink below it
    del blocks
    return kept

threads = [ThreadPoolExecutor(1) for _ in range(4)]
before = anonymous_kib()
kept = [thread.submit(work, None).result() for thread in threads]
if sys.argv[1] == "small":
    memory.give_back()
print(anonymous_kib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_threads_took_for_a_moment_is_given_back() -> None:
    grown = {
        mode: int(
            subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True).stdout
        )
        for mode in ("small", "default")
    }
    assert grown["small"] < 8_000, grown
    assert grown["default"] > 4 * grown["small"], "without it there is nothing to mend: this test shows nothing"


FRAMES = """
import resource
from concurrent.futures import ThreadPoolExecutor
from capture import memory

assert memory.keep_small()

def frame():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    worked_out = [bytearray(600_000) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

thread = ThreadPoolExecutor(1)
first, *later = [thread.submit(frame).result() for _ in range(6)]
print(first, max(later))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_is_worked_out_from_a_frame_takes_no_fresh_pages() -> None:
    said = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=True).stdout
    first, later = map(int, said.split())
    assert first > 500, "it has more pages than that: what is counted is something else"
    assert later < 100


SETTLED = """
import gc
import weakref
from capture import memory

class Agent:
    def __init__(self):
        self.part = self

agents = [Agent(), Agent()]
ended = [weakref.ref(agent) for agent in agents]
memory.settle()
frozen = gc.get_freeze_count()
del agents
gc.collect()
there = [agent() is not None for agent in ended]
memory.settle()
print(frozen > 1000, there, [agent() is not None for agent in ended])
"""


def test_what_is_there_is_looked_through_no_more_until_the_next_agent_of_the_process() -> None:
    said = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "True [True, True] [False, False]"
