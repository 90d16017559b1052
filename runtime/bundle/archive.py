"""A tar of which every byte is decided by names, sizes and contents: POSIX ustar, and nothing that ustar leaves open.

The reader does not interpret a header: it makes the only one that may stand there, and compares. Links, devices, other
names, other owners and hidden headers are all one case, *not that one*. `tar -tf` reads the file as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from runtime.errors import BadInput

BLOCK = 512
CHUNK = 1 << 20
KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder",
         b"6": "a pipe", b"x": "a hidden header", b"g": "a hidden header", b"L": "a hidden header"}


def header_of(name: str, size: int) -> bytes:
    """Return the header of a file: mode 0644, owner 0, time 0.

    https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html, "ustar Interchange Format".
    """
    block = b"".join((
        name.encode("ascii").ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size,
        b"%011o\0" % 0, b" " * 8, b"0", bytes(100), b"ustar\0" b"00", bytes(64), b"0000000\0", b"0000000\0",
        bytes(155), bytes(12)))
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]  # the sum is taken with blanks in its own place


def padding(size: int) -> bytes:
    """Return the zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)


class StrictReader:
    """Reads members from a stream, in the order in which they are asked for. Raises BadInput for any other byte."""

    def __init__(self, stream: BinaryIO):
        """Read from the start of a stream that need not seek."""
        self._stream = stream

    def small_member(self, name: str, most: int) -> bytes:
        """Return a member whose size only the archive knows, up to `most` bytes."""
        block = self._take(BLOCK, name)
        try:
            size = int(block[124:135], 8)
        except ValueError:
            size = -1
        if not 0 <= size <= most:
            raise BadInput(f"expected {name} of at most {most} bytes in the bundle, found {_described(block)}")
        self._compare(block, name, size)
        return b"".join(self._content(name, size))

    def member(self, name: str, size: int) -> Iterator[bytes]:
        """Yield a member's content; its size is known beforehand."""
        self._compare(self._take(BLOCK, name), name, size)
        yield from self._content(name, size)

    def end(self) -> None:
        """Read the end of the archive, and that of the stream."""
        if self._take(len(END), "its end") != END or self._stream.read(1):
            raise BadInput("expected the end of the bundle, found more; a member that the manifest does not name?")

    def _compare(self, block: bytes, name: str, size: int) -> None:
        if block != header_of(name, size):
            raise BadInput(f"expected the file {name} of {size} bytes in the bundle, found {_described(block)}")

    def _content(self, name: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, CHUNK):
            yield self._take(min(CHUNK, size - start), name)
        zeros = padding(size)
        if self._take(len(zeros), name) != zeros:
            raise BadInput(f"expected zeros behind {name} in the bundle, found something else")

    def _take(self, count: int, name: str) -> bytes:
        parts = []
        left = count
        while left and (part := self._stream.read(left)):  # a pipe gives what it has
            parts.append(part)
            left -= len(part)
        if left:
            raise BadInput(f"expected {name} in the bundle, found that it ends there; send or copy it again")
        return b"".join(parts)


def _described(block: bytes) -> str:
    name = block[:100].rstrip(b"\0").decode(errors="replace")
    if not any(block):
        return "its end"
    return f"{KINDS.get(block[156:157], 'another header')} named {name!r}"
