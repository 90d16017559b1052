"""What every request passes before the page sees it, and every answer before it leaves. Pure ASGI; knows no page.

Refuses other hosts' names (DNS rebinding), foreign origins, changes other than login and logout, bodies, upgrades. An
answer that fails is 500 and one line in the journal: nobody's request is worth a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from runtime.sinks.status_server import host_name, is_address

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY = 1024  # bytes; a login takes 150
CHANGES = ("/login", "/logout")
HEADERS = {
    # everything is a file of this page's own; nothing is inline, nobody frames it
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # no-referrer would make browsers send `Origin: null` with the login: https://fetch.spec.whatwg.org/#origin-header
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Stands before an ASGI application; `names` are host names beside localhost and bare addresses."""

    def __init__(self, app: App, names: Sequence[str] = ()):
        """Guard an application."""
        self._app, self._names = app, {"localhost", *names}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # no WebSocket is served
            return
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(k, v) for k, v in message["headers"] if k.decode("latin-1").lower() not in HEADERS]
                message["headers"] = own + [(k.encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        status = self._refusal(scope)
        if status:
            await _refuse(send_guarded, status)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            log.warning("a request for the dashboard failed: %s: %s", type(error).__name__, str(error)[:200])
            if not begun:
                await _refuse(send_guarded, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _refusal(self, scope: Message) -> HTTPStatus | None:
        """Return why a request is not passed on, None where it is."""
        fields: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = fields.get("host", [])
        if len(hosts) != 1 or "upgrade" in fields:
            return HTTPStatus.BAD_REQUEST
        if not (is_address(hosts[0]) or host_name(hosts[0]).lower() in self._names):
            return HTTPStatus.FORBIDDEN
        if scope["method"] in ("GET", "HEAD"):
            has_body = "transfer-encoding" in fields or fields.get("content-length", ["0"]) != ["0"]
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if has_body else None
        if scope["method"] != "POST" or scope["path"] not in CHANGES:
            return HTTPStatus.METHOD_NOT_ALLOWED
        # the scheme may differ behind a tunnel that encrypts; host and port may not
        origins = [origin.partition("://")[2] for origin in fields.get("origin", [])]
        if origins != [hosts[0]] or fields.get("sec-fetch-site", ["same-origin"]) != ["same-origin"]:
            return HTTPStatus.FORBIDDEN
        length = fields.get("content-length", [])
        if len(length) != 1 or not length[0].isdecimal():
            return HTTPStatus.LENGTH_REQUIRED
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if int(length[0]) > MAX_BODY else None


async def _refuse(send: Send, status: HTTPStatus) -> None:
    text = f"{status.phrase}\n".encode()
    await send({"type": "http.response.start", "status": int(status), "headers": [
        (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode()),
        (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": text})
