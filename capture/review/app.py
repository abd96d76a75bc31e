"""Shell: what the review page's server answers: the page itself, and as JSON or pictures what it shows and does.

Copies are opened and pictures decoded in one owned thread, one after the other, so that memory stays bounded however
fast somebody scrubs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from importlib import resources
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from capture.errors import CaptureError
from capture.review.holdings import Holder, Holdings, Id
from capture.review.library import Item, Library
from codec.errors import CodecError

Result = TypeVar("Result")
Endpoint = Callable[[Request], Awaitable[Response]]

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,10})")
MAX_DELETED = 4000


class ReviewApp:
    """The page's backend.

    Args:
        library: the copies. holder: the agent or the spool. thread: one owned thread, for the library.
        kept: what `[review]` keeps: keep_s, limit_bytes. close: ends the server.
    """

    def __init__(
        self,
        library: Library,
        holder: Holder,
        thread: Executor,
        *,
        kept: Mapping[str, float],
        close: Callable[[], None],
    ) -> None:
        self._library = library
        self._holder = holder
        self._thread = thread
        self._kept = kept
        self._close = close
        self._files = _static()

    def starlette(self) -> Starlette:
        """Return the ASGI application. It trusts whoever asks: put a Guard before it."""
        return Starlette(
            routes=[
                Route("/api/now", self._told(self.now)),
                Route("/api/timeline", self._told(self.timeline)),
                Route("/api/events/{id}", self._told(self.events)),
                Route("/api/shots/{id}", self._told(self.shots)),
                Route("/thumb/{id}/{number:int}.png", self._told(self.thumb)),
                Route("/picture/{id}/{number:int}.png", self._told(self.picture)),
                Route("/api/pause", self._told(self.pause), methods=["POST"]),
                Route("/api/resume", self._told(self.resume), methods=["POST"]),
                Route("/api/flush", self._told(self.flush), methods=["POST"]),
                Route("/api/delete", self._told(self.delete), methods=["POST"]),
                Route("/api/close", self._told(self.close), methods=["POST"]),
                Route("/{name:path}", self._told(self.file)),
            ]
        )

    def _told(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with its errors as answers that a person can read."""

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except KeyError as error:
                return _problem(404, f"{error.args[0]}: it may have been deleted")
            except CodecError as error:
                return _problem(422, f"this copy is damaged: {error}")
            except CaptureError as error:
                return _problem(409, str(error))
            except OSError as error:
                return _problem(500, f"the disk says: {error.strerror or error}")

        return answer

    async def _run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments))

    # -- what is shown

    async def file(self, request: Request) -> Response:
        """Return a part of the page."""
        found = self._files.get(request.path_params["name"] or "index.html")
        if found is None:
            raise HTTPException(404)
        content, media_type = found
        return Response(content, media_type=media_type)

    async def now(self, request: Request) -> Response:
        """Return the agent's state, the budget, and what waits."""
        holdings = await self._holder.look()
        sizes = [size for _, size in holdings.waiting.values()]
        return JSONResponse(
            {
                "agent": holdings.agent,
                "cost": holdings.cost,
                "open_ms": holdings.open_ms,
                "waiting": {"known": holdings.known, "chunks": len(sizes), "bytes": sum(sizes)},
                "erasures": holdings.erasures,
                "kept": self._kept,
                "version": await self._run(self._version, holdings),
            }
        )

    def _version(self, holdings: Holdings) -> str:
        """Return a text that changes when the timeline does."""
        items = self._library.items()
        newest_ms = max((item.copy.closed_wall_ms for item in items), default=0)
        answered = sum(bool(order["answer"]) for order in holdings.erasures)
        return f"{len(items)}-{newest_ms}-{len(holdings.waiting)}-{len(holdings.erasures)}-{answered}"

    async def timeline(self, request: Request) -> Response:
        """Return all chunks in short, with where each is."""
        holdings = await self._holder.look(states=True)
        items = await self._run(self._library.timeline)
        return JSONResponse({"chunks": [_shown(item, holdings) for item in items], "version": self._version(holdings)})

    async def events(self, request: Request) -> Response:
        """Return a chunk's pointer and keys."""
        return JSONResponse(await self._run(self._library.events, _id(request)))

    async def shots(self, request: Request) -> Response:
        """Return when each frame of a chunk was taken, and its size."""
        start_ms, shots = await self._run(self._library.shots, _id(request))
        return JSONResponse(
            {"shots": [[start_ms + shot.t_ms, shot.width_px, shot.height_px, shot.screen] for shot in shots]}
        )

    async def thumb(self, request: Request) -> Response:
        """Return a small picture."""
        content = await self._run(self._library.thumb, _id(request), request.path_params["number"])
        return Response(content, media_type="image/png")

    async def picture(self, request: Request) -> Response:
        """Return a picture."""
        content = await self._run(self._library.picture, _id(request), request.path_params["number"])
        return Response(content, media_type="image/png")

    # -- what is done

    async def pause(self, request: Request) -> Response:
        """Pause for `seconds`, or without limit."""
        return JSONResponse(await self._holder.ask("pause", seconds=(await _fields(request)).get("seconds")))

    async def resume(self, request: Request) -> Response:
        """Go on."""
        return JSONResponse(await self._holder.ask("resume"))

    async def flush(self, request: Request) -> Response:
        """Close what is open, so that it shows."""
        return JSONResponse(await self._holder.ask("flush"))

    async def delete(self, request: Request) -> Response:
        """Delete chunks (`ids`), and what is open now (`open`)."""
        fields = await _fields(request)
        given = fields.get("ids")
        if not isinstance(given, list) or len(given) > MAX_DELETED or not all(isinstance(one, str) for one in given):
            raise CaptureError(f"name at most {MAX_DELETED} chunks")
        ids = {_parsed(one) for one in given}
        answer = await self._holder.delete(ids, open_too=fields.get("open") is True)
        await self._run(self._library.items)
        return JSONResponse(answer)

    async def close(self, request: Request) -> Response:
        """End the server."""
        self._close()
        return JSONResponse({})


def _shown(item: Item, holdings: Holdings) -> dict[str, Any]:
    one, waits = item.outline, holdings.waiting.get(item.id)
    shown: dict[str, Any] = {
        "id": _named(item.id),
        "start": item.start_ms,
        "end": item.end_ms,
        "bytes": item.copy.size_bytes,
        "state": holdings.place_of(item.id),
        "ready": waits[0] if waits else None,
        "damaged": one is None,
    }
    if one is not None:
        shown |= {
            "screens": one.has_screens,
            "spans": [[span.app, span.title, span.start_ms, span.end_ms] for span in one.spans],
            "missing": [[gap.cause, gap.start_ms, gap.end_ms] for gap in one.missing],
            "acts": [[act.t_ms, act.kind, act.fields] for act in one.acts],
        }
    return shown


def _named(one: Id) -> str:
    return f"{one[0]:08x}-{one[1]}"


def _parsed(name: str) -> Id:
    found = _ID.fullmatch(name)
    if found is None:
        raise KeyError(f"{name[:40]!r} is no chunk's name")
    return int(found[1], 16), int(found[2])


def _id(request: Request) -> Id:
    return _parsed(request.path_params["id"])


async def _fields(request: Request) -> dict[str, Any]:
    try:
        fields = await request.json()
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise CaptureError("that is no JSON object")
    return fields


def _problem(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


def _static() -> dict[str, tuple[bytes, str]]:
    """Return the page's files by name: read once, so that no path of a request ever reaches the file system."""
    found = {}
    for file in (resources.files("capture.review") / "static").iterdir():
        media_type = TYPES.get("." + file.name.rpartition(".")[2])
        if media_type is not None:
            found[file.name] = (file.read_bytes(), media_type)
    return found
