"""JPEGs one after another (MJPEG), cut apart by their own markers (ITU-T T.81, annex B), broken ones told from whole.

Structure only: segments follow each other, and the end is there before the next picture begins. A JPEG has no checksum:
a flipped bit inside a scan is often legal, and the decoder's own complaint is then the only sign there can be
(`jpeg_decoder.py` listens for it). Knows nothing of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_BYTES = 16 << 20  # of one JPEG; a 12-megapixel one at quality 95 has about 8 MB
_START = b"\xff\xd8\xff"
_NEXT_OR_END = re.compile(rb"\xff[\xd8\xd9]")  # inside a scan 0xFF is always stuffed: another's start, or the end
_NEED_MORE, _BROKEN = 0, -1


class JpegStream:
    """Takes bytes as they come and gives pictures; what lies between two of them counts as one that was broken."""

    def __init__(self) -> None:
        """Start with no bytes."""
        self._bytes = bytearray()
        self._searched = 0  # no end stands before this place

    def feed(self, content: bytes) -> Iterator[bytes | None]:
        """Take the next bytes and yield each JPEG that is whole by now; None for each broken one."""
        self._bytes += content
        while True:
            start = self._bytes.find(_START)
            if start > 0:
                lost = any(self._bytes[:start].strip(b"\x00"))  # drivers pad their buffers with zeros
                self._drop(start)
                if lost:
                    yield None
            elif start < 0:
                if len(self._bytes) > MOST_BYTES:
                    self._drop(len(self._bytes) - 2)  # the next marker may have begun
                    yield None
                return
            scan = _scan_start(self._bytes)
            if scan == _BROKEN:
                self._drop(2)  # the rest, up to the next start, is then one broken picture
                continue
            found = _NEXT_OR_END.search(self._bytes, max(scan, self._searched)) if scan else None
            if found is None:
                self._searched = max(scan, len(self._bytes) - 1) if scan else 0
                if len(self._bytes) <= MOST_BYTES:
                    return
                self._drop(2)
            elif found.group() == b"\xff\xd9":
                picture = bytes(self._bytes[: found.end()])
                self._drop(found.end())
                yield picture
            else:
                self._drop(found.start())
                yield None

    def _drop(self, count: int) -> None:
        del self._bytes[:count]
        self._searched = 0


def _scan_start(content: bytearray) -> int:
    """Walk a JPEG's segments; return where its first scan begins, _NEED_MORE or _BROKEN."""
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return _BROKEN
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in (0x00, 0xD8, 0xD9):
            return _BROKEN
        else:
            length = int.from_bytes(content[at + 2 : at + 4], "big")
            tables = marker < 0xE0  # not an application's own segment, which may hold a small picture
            if length < 2 or (tables and content.find(_START, at, at + length + 4) >= 0):  # one may begin at its end
                return _BROKEN
            at += 2 + length
            if marker == 0xDA:
                return at
    return _NEED_MORE
