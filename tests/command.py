"""The command `modicum` within the tests' process, for what only prepares a test: a start of Python takes longer than that does."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from unittest import mock

import typer

from capture import cli


@functools.cache
def _program() -> Callable[[], None]:
    """Return the command with all that it knows, made once: `main` adds to it and builds it anew each time it is called."""
    with mock.patch.object(sys, "argv", ["modicum"]):
        cli._mount_transport()
        cli._mount_trust()
    return typer.main.get_command(cli.app)


def run_here(
    words: Sequence[str], environment: Mapping[str, str], *, check: bool = True, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command of modicum to its end, in this process: a start of Python takes longer than most of them do.

    Args:
        words: the command. environment: all of it. check: it has to succeed. stdin: what it reads.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.multiple(cli, app=_program(), _mount_transport=lambda: None, _mount_trust=lambda: None),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["modicum", *words]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    done = subprocess.CompletedProcess([*words], code, out.getvalue(), err.getvalue())
    assert not check or code == 0, f"modicum {' '.join(words)}: {done.stdout}\n{done.stderr}"
    return done
