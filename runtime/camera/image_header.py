"""Read an image's dimensions, and whether it was cut short, from its bytes: a decoder would allocate first.

PNG (https://www.w3.org/TR/png-3/), JPEG (ITU-T T.81, annex B) and Windows BMP. Knows nothing of pixels. OpenCV 4.14
decodes a JPEG that lost its second half to a grey lower half without a word, so the end marker is looked for here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Header:
    """An image's width and height in pixels, and whether its end is there."""

    width: int
    height: int
    whole: bool


def read_header(content: bytes) -> Header | None:
    """Return the header of a PNG, JPEG or BMP; None for anything else."""
    try:
        if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR":
            width, height = struct.unpack(">II", content[16:24])
            return Header(width, height, b"IEND" in content[24:])
        if content[:2] == b"\xff\xd8":
            return _jpeg(content)
        if content[:2] == b"BM":
            width, height, _, bits = struct.unpack("<iiHH", content[18:30])
            row = (abs(width) * bits + 31) // 32 * 4
            first = int.from_bytes(content[10:14], "little")
            packed = int.from_bytes(content[30:34], "little") != 0  # run lengths or bit fields: the size is not known
            return Header(abs(width), abs(height), packed or len(content) >= first + row * abs(height))
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(content: bytes) -> Header | None:
    """Walk the segments up to the first scan; inside a scan 0xFF is always stuffed, so FFD9 there is the end."""
    at, size = 2, None
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA:
            return Header(*size, whole=content.find(b"\xff\xd9", at) > 0) if size else None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            size = (width, height)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
