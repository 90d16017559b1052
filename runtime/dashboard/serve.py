"""Serve the page until SIGTERM, with a limit on everything that a stranger may hold. The only importer of `uvicorn`.

A connection has ten seconds for a request and ten to take what was written; 48 may be open. Knows no page.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.dashboard.access import Access, read_token
from runtime.dashboard.board import TICK_SECONDS, Board
from runtime.dashboard.channel import channel_folder
from runtime.dashboard.guard import App
from runtime.dashboard.settings import DashboardConfig, is_loopback
from runtime.dashboard.site import Site
from runtime.errors import BadInput, Unavailable
from runtime.stream_config import StreamConfig
from runtime.supervision.systemd import Notifier

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 48  # 16 viewers, each with a few requests beside
MAX_HEADER = 8192  # bytes of a request's head; a browser's is under 1,000
REQUEST_SECONDS = 10.0  # for a whole request to arrive
STUCK_SECONDS = 10.0  # without a byte taken by a reader that has a full buffer waiting
HANDSHAKE_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 5
GRACE_SECONDS = 2
BEHIND_INFERENCE = 10  # nice: the stream beside us comes first


def serve(config: StreamConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Serve a stream's page until SIGTERM or SIGINT.

    Raises BadInput for a token file or certificate that is not one, Unavailable where the address cannot be had.
    """
    page = config.dashboard
    if not page.port:
        raise BadInput("expected dashboard.port above 0, found 0, which serves nobody; 8765 for instance, and restart "
                       "or SIGHUP the stream too")
    access = Access(read_token(page.token_file) if page.token_file else None)
    folder = channel_folder(page.folder, environment)
    board = Board(folder, config.events)
    # what it says of strangers' mistakes would fill a journal; what matters is logged by the guard
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    site = Site(board, access, page, config.notice, folder, is_closing=lambda: server.should_exit)
    server = uvicorn.Server(_settings(site.app, page))
    with _bound(page) as listening:
        with suppress(OSError):
            os.nice(BEHIND_INFERENCE)
        scheme = "https" if page.certificate else "http"
        log.warning("the dashboard is at %s://%s:%d/", scheme, "localhost" if is_loopback(page.host) else page.host,
                    page.port)
        _run(server, board, listening)


def _settings(app: App, page: DashboardConfig) -> uvicorn.Config:
    settings = uvicorn.Config(
        app, http=_Connection, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False,
        server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=MAX_CONNECTIONS, h11_max_incomplete_event_size=MAX_HEADER,
        ssl_certfile=page.certificate, ssl_keyfile=page.key)
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"expected a PEM certificate and its key, found {page.certificate} and {page.key}: {error}; "
                       "check both files") from error
    return settings


def _bound(page: DashboardConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
    try:
        return socket.create_server((page.host, page.port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise Unavailable(f"expected to serve the dashboard on {page.host}:{page.port}, found: {error.strerror}; free "
                          "the port, or choose another dashboard.port") from error


def _run(server: uvicorn.Server, board: Board, listening: socket.socket) -> None:
    """Run until a signal; the signals' old handlers are back afterwards."""
    async def everything() -> None:
        await asyncio.gather(server.serve(sockets=[listening]), _keep(server, board))

    notifier = Notifier()
    # uvicorn raises the signal again once it has ended: an end that was asked for is none to die of
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    loop = _Loop()
    try:
        notifier.ready("serving the dashboard")
        loop.run_until_complete(everything())
    finally:
        notifier.stopping()
        notifier.close()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        for number, handler in before.items():
            signal.signal(number, handler)


async def _keep(server: uvicorn.Server, board: Board) -> None:
    """Keep the board new; a look that fails is told, and the next one tried."""
    loading = asyncio.get_running_loop().run_in_executor(None, board.load)
    while not server.should_exit:
        try:
            board.tick()
        except Exception as error:  # the page goes on: whatever was written there is not ours
            log.warning("the dashboard could not read the stream's files: %s: %s", type(error).__name__, error)
        await asyncio.sleep(TICK_SECONDS)
    board.stop()
    await loading


class _Loop(asyncio.SelectorEventLoop):
    async def create_server(self, *args: Any, **keys: Any) -> asyncio.Server:
        if keys.get("ssl"):  # the default of a minute is a long time to hold a connection for nothing
            keys["ssl_handshake_timeout"] = HANDSHAKE_SECONDS
        return await super().create_server(*args, **keys)


class _Connection(H11Protocol):
    """uvicorn's connection, with an end to whatever a client may draw out."""

    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception:  # nothing that is sent to us is worth a traceback
            self.transport.abort()
        self._judge()

    def on_response_complete(self) -> None:
        self._expect_request()
        super().on_response_complete()
        self._judge()  # the next request may have come already

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck:
            self._stuck.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._late, self._stuck):
            if timer:
                timer.cancel()

    def _expect_request(self) -> None:
        if self._late:
            self._late.cancel()
        # also the end of an answer that is never taken: abort drops what waits
        self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _judge(self) -> None:
        """A whole request came and is being answered: it is not late."""
        if self._late and self.cycle and not self.cycle.more_body and not self.cycle.response_complete:
            self._late.cancel()
