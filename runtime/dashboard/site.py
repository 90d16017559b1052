"""The pages: what each address answers. The only importer of `starlette`.

Read-only but for login and logout; `guard.py` judged host, origin and size before. No address carries a token.
"""

from __future__ import annotations

import asyncio
import html
import mimetypes
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.dashboard.access import SESSION_SECONDS, TRY_SECONDS, Access
from runtime.dashboard.board import TICK_SECONDS, Board
from runtime.dashboard.channel import PREVIEW, PREVIEW_BYTES, take
from runtime.dashboard.guard import App, Guard
from runtime.dashboard.settings import DashboardConfig

PAGE = Path(__file__).resolve().parent / "page"
FILES = ("dashboard.css", "dashboard.js", "charts.js")
VIEWERS = 16  # who are told of changes, at once
BODY_SECONDS = 5.0


class Site:
    """Answers browsers from a board; `app` is what a server serves."""

    def __init__(self, board: Board, access: Access, config: DashboardConfig, notice: str, folder: Path,
                 is_closing: Callable[[], bool]):
        """Read the page's files; a stream that goes on for ever ends once `is_closing`."""
        self._board, self._access, self._folder, self._is_closing = board, access, folder, is_closing
        self._secure = bool(config.certificate or config.behind_tunnel)
        # __Host-: browsers then send it to this host alone, encrypted alone (RFC 6265bis)
        self._cookie = "__Host-mien" if self._secure else "mien"
        self._files = {name: (PAGE / name).read_bytes() for name in FILES}
        self._index = _filled("index.html", notice=notice, hidden="" if access.is_needed else "hidden")
        self._viewers = 0
        routes = [Route("/", self._show_index), Route("/login", self._show_login),
                  Route("/login", self._log_in, methods=["POST"]), Route("/logout", self._log_out, methods=["POST"]),
                  Route("/live", self._live), Route("/state.json", self._state), Route("/preview.jpg", self._preview),
                  Route("/page/{name}", self._file), Route("/favicon.ico", self._no_icon)]
        self.app: App = Guard(Starlette(routes=routes), config.names)

    async def _show_index(self, request: Request) -> Response:
        if not self._may_see(request):
            return RedirectResponse("/login", 303)
        return Response(self._index, media_type="text/html")

    async def _show_login(self, request: Request) -> Response:
        if self._may_see(request):
            return RedirectResponse("/", 303)
        return _login_page()

    async def _log_in(self, request: Request) -> Response:
        if not self._access.may_try():
            answer = _login_page(429, f"Too many attempts; wait {TRY_SECONDS:.0f} seconds.")
            answer.headers["Retry-After"] = f"{TRY_SECONDS:.0f}"
            return answer
        body = await asyncio.wait_for(request.body(), BODY_SECONDS)
        try:
            given = parse_qs(body.decode("ascii"), max_num_fields=4).get("token", [""])[0]
        except ValueError:
            given = ""
        if not self._access.is_token(given.strip()):
            return _login_page(401, "That is not this device's token.")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._cookie, self._access.begin_session(), max_age=int(SESSION_SECONDS), path="/",
                          secure=self._secure, httponly=True, samesite="strict")
        return answer

    async def _log_out(self, request: Request) -> Response:
        self._access.end_session(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="strict")
        return answer

    async def _live(self, request: Request) -> Response:
        if not self._may_see(request):
            return Response(status_code=401)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._viewers >= VIEWERS:
            return Response("too many viewers\n", 503, {"Retry-After": "30"})
        return StreamingResponse(self._changes(request), media_type="text/event-stream")

    async def _changes(self, request: Request) -> AsyncIterator[bytes]:
        """Yield each message that is new since the last look, as server-sent events."""
        self._viewers += 1
        try:
            shown: dict[str, int] = {}
            while not self._is_closing() and self._may_see(request):
                for kind, (version, content) in self._board.messages.items():
                    if shown.get(kind) != version:
                        shown[kind] = version
                        yield b"event: %s\ndata: %s\n\n" % (kind.encode(), content)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._viewers -= 1

    async def _state(self, request: Request) -> Response:
        if not self._may_see(request):
            return Response(status_code=401)
        parts = [b'"%s":%s' % (kind.encode(), content) for kind, (_, content) in self._board.messages.items()]
        return Response(b"{" + b",".join(parts) + b"}\n", media_type="application/json")

    async def _preview(self, request: Request) -> Response:
        if not self._may_see(request):
            return Response(status_code=401)
        picture = take(self._folder / PREVIEW, PREVIEW_BYTES)
        return Response(picture, media_type="image/jpeg") if picture else Response(status_code=404)

    async def _file(self, request: Request) -> Response:
        content = self._files.get(request.path_params["name"])
        if content is None:
            return Response(status_code=404)
        return Response(content, media_type=mimetypes.guess_type(request.path_params["name"])[0])

    async def _no_icon(self, request: Request) -> Response:
        return Response(status_code=204)

    def _may_see(self, request: Request) -> bool:
        if not self._access.is_needed or self._access.is_session(request.cookies.get(self._cookie, "")):
            return True
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._access.is_token(given.strip())


def _login_page(status: int = 200, trouble: str = "") -> Response:
    return Response(_filled("login.html", trouble=trouble), status, media_type="text/html")


def _filled(name: str, **values: str) -> str:
    """Return a page with its {{names}} replaced, escaped for HTML."""
    text = (PAGE / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", html.escape(value))
    return text
