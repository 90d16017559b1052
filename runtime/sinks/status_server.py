"""A small HTTP server in a thread: GET of a few pages, one answer a connection, everything bounded.

Knows nothing of what the pages say. No pictures, no state, nothing to change; a slow or hostile reader costs one of
eight threads for five seconds, and inference nothing. This machine's own readers have eight more, so that no stranger
keeps an update's look at /readyz from its answer.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}  # accept fails at once, and will again
EXHAUSTED_SECONDS = 0.2  # until it is tried again
MAX_HEADER = 8192  # bytes of a whole request; Prometheus sends some 300
MAX_SECONDS = 5.0  # for a request to arrive and its answer to leave
MAX_CONNECTIONS = 8  # of this machine's, and as many of all others'
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
           503: "Service Unavailable"}


@dataclass(frozen=True)
class Page:
    """What a path answers."""

    status: int
    content: bytes
    kind: str = "text/plain; charset=utf-8"


class StatusServer:
    """Serves pages by path on one address until closed."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]):
        """Bind and begin. Raises OSError where the address is taken or not ours. Port 0 picks a free one."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = type("_Server", (_Server,), {"address_family": family})
        self._server: _Server = kind((host, port), _Answer)
        self._server.pages = pages
        self.port: int = self._server.server_address[1]
        # names resolved by somebody else's DNS could lead a visitor's browser here (DNS rebinding)
        self._server.only_addresses = ipaddress.ip_address(self._server.server_address[0]).is_loopback
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True, name="status")
        self._thread.start()

    def close(self) -> None:
        """Stop listening; answers in work may end on their own."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads, block_on_close, allow_reuse_address, request_queue_size = True, False, True, 2 * MAX_CONNECTIONS
    pages: Mapping[str, Callable[[], Page]]
    only_addresses: bool

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]):
        self._free = {ours: threading.BoundedSemaphore(MAX_CONNECTIONS) for ours in (True, False)}
        self._taken: dict[socket.socket, threading.BoundedSemaphore] = {}  # whose place a connection has
        self._exhausted = False  # and that was said
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept one reader; where no descriptor is left, its connection still waits: do not ask at once, for ever."""
        try:
            accepted: tuple[socket.socket, tuple[str, int]] = super().get_request()
        except OSError as error:
            if error.errno in EXHAUSTED:
                if not self._exhausted:
                    log.warning("expected to answer on port %d, found: %s; readers wait", self.server_address[1],
                                error.strerror)
                self._exhausted = True
                time.sleep(EXHAUSTED_SECONDS)
            raise
        self._exhausted = False
        return accepted

    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:  # type: ignore[override]
        place = self._free[self._is_ours(client_address)]
        if not place.acquire(blocking=False):  # one too many is closed at once
            return False
        self._taken[request] = place
        return True

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread is left; it would have given its place back
            self._taken.pop(request).release()
            raise

    def process_request_thread(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._taken.pop(request).release()

    def _is_ours(self, client_address: tuple[str, int]) -> bool:
        """Is it this machine that asks: from loopback, also as IPv6 maps IPv4, or from the address that is served?"""
        found = ipaddress.ip_address(client_address[0])
        return client_address[0] == self.server_address[0] or (getattr(found, "ipv4_mapped", None) or found).is_loopback

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that went away is no news."""


class _Answer(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self._deadline = time.monotonic() + MAX_SECONDS
        head = self._read()
        page = self._page(head) if isinstance(head, bytes) else head
        line = f"HTTP/1.1 {page.status} {REASONS[page.status]}\r\n"
        fields = {"Content-Type": page.kind, "Content-Length": len(page.content), "Connection": "close",
                  "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        content = b"" if isinstance(head, bytes) and head.startswith(b"HEAD ") else page.content
        answer = line + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        self.request.settimeout(max(0.1, self._deadline - time.monotonic()))
        self.request.sendall(answer.encode() + content)

    def _read(self) -> bytes | Page:
        """Return the request's head, or the refusal of one that is too long or too slow."""
        head = b""
        while b"\r\n\r\n" not in head:
            left = self._deadline - time.monotonic()
            if left <= 0:
                return _refusal(408)
            self.request.settimeout(left)
            try:
                more = self.request.recv(MAX_HEADER + 1 - len(head))
            except TimeoutError:
                return _refusal(408)
            if not more:
                return _refusal(400)
            head += more
            if len(head) > MAX_HEADER:
                return _refusal(431)
        return head

    def _page(self, head: bytes) -> Page:
        first, *fields = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _refusal(400)
        if words[0] not in ("GET", "HEAD"):
            return _refusal(405)
        hosts = [value.strip() for name, _, value in (f.partition(":") for f in fields) if name.lower() == "host"]
        if self.server.only_addresses and not (len(hosts) == 1 and is_address(hosts[0])):
            return _refusal(403)
        page = self.server.pages.get(words[1].partition("?")[0])
        try:
            return page() if page else _refusal(404)
        except Exception:  # whatever a page does wrong is no reason for a traceback in the kiosk's journal
            return _refusal(500)


def _refusal(status: int) -> Page:
    return Page(status, f"{REASONS[status]}\n".encode())


def host_name(host: str) -> str:
    """Return a Host field without its port, and an IPv6 address without its brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host


def is_address(host: str) -> bool:
    """Is a Host field localhost or a bare address, with or without a port?"""
    name = host_name(host)
    try:
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
