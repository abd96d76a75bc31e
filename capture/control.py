"""Shell: the local socket through which the person's own commands reach the running agent.

One request a connection: a line of JSON in, a line of JSON out. The socket lies in the person's own runtime folder
(0700), is 0600, and the peer's user id is checked as well, so that nobody else on the machine can ask or pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from capture.errors import CaptureError, NotRunning

MAX_REQUEST_BYTES = 64 * 1024
"""A request is a command's name and a few words; nothing longer is read."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A status with its reasons is some kilobytes; the limit bounds what a client reads."""

Answer = dict[str, Any]
Command = Callable[[Mapping[str, Any]], Awaitable[Answer]]


def _untold(name: str, user: int, process: int) -> None:
    pass


class ControlServer:
    """Answers the person's commands.

    Args:
        path: where the socket is made; a stale one of a dead agent is replaced, a living one is an error.
        commands: by name; each gets the request's fields and returns the answer's. None: who asks waits for `serve`.
        asked: told of each command before it is done: its name, and the asking process's user and process id.
    """

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Command] | None = None,
        *,
        asked: Callable[[str, int, int], None] = _untold,
    ) -> None:
        self.path = path
        self._asked = asked
        self._commands: Mapping[str, Command] = {}
        self._serving = asyncio.Event()
        self._server: asyncio.Server | None = None
        if commands is not None:
            self.serve(commands)

    def serve(self, commands: Mapping[str, Command]) -> None:
        """Answer by these commands from now on."""
        self._commands = commands
        self._serving.set()

    def hold(self) -> None:
        """Let who asks wait until `serve` is called again."""
        self._serving.clear()

    async def start(self) -> None:
        """Begin to listen; nothing when it already does.

        Raises:
            CaptureError: another agent of this user already runs.
        """
        if self._server is not None:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.exists():
            with contextlib.suppress(NotRunning):
                await asyncio.to_thread(ask, self.path, "ping")
                raise CaptureError(
                    f"an agent already runs (it answers at {self.path}): `modicum stop` ends it, "
                    "`modicum status` shows it"
                )
            self.path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path=str(self.path), limit=MAX_REQUEST_BYTES)
        finally:
            os.umask(mask)

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, writer)
            writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, TimeoutError):
            pass  # the asker went away: nothing to tell it
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        if peer_of(writer.get_extra_info("socket"))[0] not in {os.getuid(), 0}:
            return {"error": "this agent belongs to another user"}
        try:
            async with asyncio.timeout(5):
                request = json.loads(await reader.readline())
            name = request.pop("command")
            if name != "ping":  # "is somebody there?" does not wait
                await self._serving.wait()
            command = self._commands.get(name, _pong) if name == "ping" else self._commands[name]
        except (ValueError, KeyError, AttributeError, TypeError):
            return {"error": f"not a command of this agent; it knows {', '.join(sorted(self._commands))}"}
        self._asked(name, *peer_of(writer.get_extra_info("socket")))
        try:
            return await command(request)
        except CaptureError as error:
            return {"error": str(error)}


async def _pong(request: Mapping[str, Any]) -> Answer:
    return {}


def peer_of(peer: socket.socket) -> tuple[int, int]:
    """Return the user id and the process id at a unix socket's other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid(), 0  # the socket's mode is the only guard there
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, user, _ = struct.unpack("3i", credentials)
    return int(user), int(process)


def ask(path: Path, command: str, *, wait_s: float = 10.0, **fields: Any) -> Answer:
    """Send one command to the agent and return its answer.

    Args:
        path: the agent's socket.
        command: its name.
        wait_s: seconds until the agent counts as not answering.
        fields: the command's own arguments.

    Raises:
        NotRunning: nobody listens there.
        CaptureError: the agent refused, with its reason.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(wait_s)
        try:
            client.connect(str(path))
            client.sendall(json.dumps({"command": command, **fields}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER_BYTES:
                part = client.recv(65_536)
                if not part:
                    break
                answer += part
        except (FileNotFoundError, ConnectionError) as error:
            raise NotRunning(f"no agent runs (nothing answers at {path}): start it with `modicum run`") from error
        except TimeoutError as error:
            raise CaptureError(f"the agent does not answer within {wait_s:.0f} s at {path}") from error
    if not answer:
        raise NotRunning("the agent ended before it answered")
    reply: Answer = json.loads(answer)
    if "error" in reply:
        raise CaptureError(reply["error"])
    return reply
