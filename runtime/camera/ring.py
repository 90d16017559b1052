"""Frames from the capture process to its parent, through memory that both map: newest wins, torn copies are seen.

The memory is an anonymous file (memfd_create(2)): it has no name, so nothing stays in /dev/shm whoever is killed, and
it is sealed, so that a child cannot shrink it under its parent. Each slot has a sequence lock: the writer puts the
frame's number in front before its first byte and behind after its last; a reader who finds another has a torn copy.
Numbers travel by a socket as well, and its system calls order memory between processors. Knows nothing of pictures.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

SLOTS = 4  # one being written, one announced, two for a reader who is slow at copying
SLOT_BYTES = 4096 * 3072 * 3  # 12.6 megapixels in BGR: the largest mode of Jetson's usual sensors (IMX477: 4032×3040)
HEADER_BYTES = mmap.PAGESIZE
RING_BYTES = HEADER_BYTES + SLOTS * SLOT_BYTES  # virtual: a page costs memory once it is written


def create_ring() -> int:
    """Return the descriptor of a new ring's memory; it lasts as long as somebody holds or maps it."""
    handle = os.memfd_create("mien-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(handle, RING_BYTES)
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(handle)
        raise
    return handle


class Ring:
    """Slots for frames, numbered from 1; frame n lies in slot n % SLOTS. One writer, one reader."""

    def __init__(self, handle: int):
        """Map a ring's memory; the descriptor may be closed afterwards."""
        memory: np.ndarray = np.frombuffer(mmap.mmap(handle, RING_BYTES), np.uint8)
        self._front, self._back = memory[: SLOTS * 16].view(np.uint64).reshape(2, SLOTS)
        self._slots = memory[HEADER_BYTES:].reshape(SLOTS, SLOT_BYTES)

    def begin(self, number: int) -> np.ndarray:
        """Return the slot (SLOT_BYTES,) uint8 that frame `number` is to be written into."""
        self._front[number % SLOTS] = number
        slot: np.ndarray = self._slots[number % SLOTS]
        return slot

    def end(self, number: int) -> None:
        """Say that frame `number` is whole."""
        self._back[number % SLOTS] = number

    def copy(self, number: int, width: int, height: int) -> np.ndarray | None:
        """Return a copy of frame `number`, (height, width, 3) BGR uint8; None where it was overwritten meanwhile."""
        slot = number % SLOTS
        if int(self._back[slot]) != number:
            return None
        image: np.ndarray = self._slots[slot, : width * height * 3].reshape(height, width, 3).copy()
        return image if int(self._front[slot]) == number else None
