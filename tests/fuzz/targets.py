"""What is given hostile bytes: a configuration, a camera's JPEG, a request to the status server, an events file.

Each target takes one input and returns what became of it, in a word. Whatever else it raises is a traceback that a user
would see. They work in a folder of their own, and write nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import cv2
import numpy as np
import yaml

from runtime.camera.jpeg_decoder import Complaints, decode_jpeg
from runtime.camera.ring import SLOT_BYTES
from runtime.errors import BadConfig, BadInput
from runtime.sinks.event_files import EventFile, EventFiles
from runtime.sinks.status_server import REASONS, Page, StatusServer
from runtime.stream_config import StreamConfig, load_config

ROOT = Path(__file__).resolve().parents[2]


class Target(ABC):
    """One reader of hostile bytes, opened in a folder."""

    seeds: Sequence[bytes]
    words: Sequence[bytes]

    def __init__(self, folder: Path):
        self.folder = folder

    @abstractmethod
    def take(self, content: bytes) -> str:
        """Read one input; raises AssertionError where what came of it is wrong."""

    def close(self) -> None:  # noqa: B027 - most have nothing open
        """Let go of what is open."""


class Config(Target):
    """stream.yaml: a configuration, or one line that names the file."""

    words = (b"&a ", b"*a", b"<<: *a", b"!!python/object/apply:os.mkdir ['struck']", b"!!binary ", b".nan", b"-.inf",
             b"1e999", b"0o17", b"1:30", b"? ", b"- ", b"{" * 30, b"[" * 3000, b"\t", b"\0", b"\xff\xfe",
             b"\xed\xa0\x80", b"|\n ", b">-\n", b"%YAML 9.9\n---\n", b"...\n---\n", b'"\\x00"', b"9" * 5000,
             b"source: '0'\n", b"until: 2026-12-24T18:00:00+01:00", b"../../../", b"'", b'"', b"#", "é\u2028".encode())

    def __init__(self, folder: Path):
        super().__init__(folder)
        text = (ROOT / "stream.yaml").read_text(encoding="utf-8")
        values = yaml.safe_load(text)
        sections = [{"source": "0", key: value} for key, value in values.items() if isinstance(value, dict)]
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        self.seeds = [yaml.safe_dump(part).encode() for part in (*sections, plain)] + [text[:3000].encode()]

    def take(self, content: bytes) -> str:
        path = self.folder / "stream.yaml"
        path.write_bytes(content)
        try:
            config = load_config(path)
        except BadConfig as error:
            assert "\n" not in str(error) and "stream.yaml" in str(error), f"not one line that names the file: {error}"
            return "refused"
        assert isinstance(config, StreamConfig)
        return "accepted"


class Jpeg(Target):
    """A picture that a camera sent: a frame that fits the ring, or none."""

    words = (b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4\0\x03", b"\xff\xdb\0\x02",
             b"\xff\xdd\0\x04\0\1", b"\xff\xd0", b"\xff\xff", b"\xff\0", b"\xff\xe1\xff\xff", b"\xff\xfe\0\0",
             b"\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n", b"BM")

    def __init__(self, folder: Path):
        super().__init__(folder)
        slope = np.linspace(30, 220, 64)[None, :, None] + np.zeros((48, 1, 3))
        image = (slope + np.random.default_rng(0).normal(0, 6, slope.shape)).clip(0, 255).astype(np.uint8)
        ways: list[list[int]] = [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
                                 [cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, 30]]
        self.seeds = [cv2.imencode(".jpg", part, way)[1].tobytes() for part in (image, image[..., 0]) for way in ways]
        self._complaints = Complaints()  # on this process's stderr, which is a file

    def take(self, content: bytes) -> str:
        image = decode_jpeg(content, self._complaints)
        if image is None:
            return "refused"
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and 0 < image.nbytes <= SLOT_BYTES
        return "accepted"


class Http(Target):
    """A request to the status server, whole or not: an answer with a known status, or none."""

    words = (b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"HTTP/1.1", b"HTTP/9.9", b"Host: a.example\r\n",
             b"Host: 127.0.0.1\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n",
             b"Upgrade: websocket\r\n", b"../" * 40, b"%00%2e%2e", b"/metrics", b"GET", b"POST",
             b"A" * 9000, b"\xff" * 30, b"[::1]", b"://")
    seeds = (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HEAD /metrics HTTP/1.0\r\nHost: [::1]:80\r\n\r\n",
             b"GET /readyz?x=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: Prometheus/3\r\n\r\n")

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._raised: list[str] = []
        threading.excepthook = lambda told: self._raised.append(repr(told.exc_value))
        self._server = StatusServer("127.0.0.1", 0, {
            "/livez": lambda: Page(200, b"alive\n"), "/metrics": lambda: Page(200, b"x 1\n" * 100),
            "/readyz": lambda: Page(503, b"no\n")})

    def take(self, content: bytes) -> str:
        answer = b""
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=10) as connection, \
                contextlib.suppress(ConnectionError):  # refused before all was sent
            connection.sendall(content)
            with contextlib.suppress(OSError):  # closed by the other end meanwhile
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                answer += more
        assert not self._raised, self._raised
        if not answer:
            return "closed"
        version, status = answer.split(b" ", 2)[:2]
        assert version == b"HTTP/1.1" and int(status) in REASONS and int(status) != 500, answer[:100]
        return "answered" if int(status) in (200, 503) else "refused"

    def close(self) -> None:
        self._server.close()


class Events(Target):
    """An events file after a power cut: another file's is refused; else its head stays and the next line is whole."""

    words = (b'{"seq":', b'{"seq":7}\n', b'{"seq":true}\n', b'{"seq":1e999}\n', b'{"seq":-1}\n', b'{"seq":null}\n',
             b"\n", b"\n\n\n", b"\0" * 600, b"\r\n", b"[" * 5000, b"9" * 5000, b'"', b"}", b"\xff\xfe", b'{"seq":99}',
             b"\\u0000")
    seeds = (b"".join(json.dumps({"seq": n, "event": "faces", "time": "2026-11-22T14:00:00.000Z", "frame": n},
                                 separators=(",", ":")).encode() + b"\n" for n in range(5)),
             b'{"seq":0,"event":"start"}\n', b'{"seq":4}\n{"seq":5,"ev', b"", b"\0" * 64)

    def take(self, content: bytes) -> str:
        path = self.folder / "events.jsonl"
        path.write_bytes(content)
        try:
            file = EventFile(path, EventFiles(rotate_mb=0, rotate_hours=0, fsync="never"))
        except BadInput as error:
            assert "\n" not in str(error) and path.read_bytes() == content, "a file that is not ours was touched"
            return "refused"
        line = json.dumps({"seq": file.next_sequence}, separators=(",", ":")).encode() + b"\n"
        file.append(line, file.next_sequence)
        file.close()
        kept = path.read_bytes().removesuffix(line)
        assert len(kept) + len(line) == path.stat().st_size, "the next line is not whole"
        assert content.startswith(kept) and (not kept or kept.endswith(b"\n")), "more than a torn tail was cut"
        return "went on" if kept else "began anew"


TARGETS: dict[str, type[Target]] = {"yaml": Config, "jpeg": Jpeg, "http": Http, "events": Events}


class Broken(Target):
    """What a fuzzer must notice: every tenth input fails in one way."""

    seeds, words = (b"seed",), (b"word",)
    inputs = 0

    def take(self, content: bytes) -> str:
        self.inputs += 1
        if self.inputs % 10 == 0:
            self.fail()
        return "taken"

    def fail(self) -> None:
        raise KeyError("a traceback")


class Hangs(Broken):
    """Never comes back."""

    def fail(self) -> None:
        threading.Event().wait()


class Dies(Broken):
    """Takes its process along."""

    def fail(self) -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)


class Writes(Broken):
    """Writes beside its folder."""

    def fail(self) -> None:
        with TemporaryFile(dir=self.folder.parent):
            pass


BROKEN: dict[str, type[Target]] = {"raises": Broken, "hangs": Hangs, "dies": Dies, "writes": Writes}
