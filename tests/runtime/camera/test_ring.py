"""The ring: frames come through whole, a torn copy is seen, the memory has no name and cannot be shrunk."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.camera.ring import RING_BYTES, SLOTS, Ring, create_ring


@pytest.fixture
def ends() -> Iterator[tuple[Ring, Ring]]:
    """Two mappings of one memory, as parent and child have."""
    handle = create_ring()
    yield Ring(handle), Ring(handle)
    os.close(handle)


def write(ring: Ring, number: int, image: np.ndarray) -> None:
    ring.begin(number)[: image.size] = image.reshape(-1)
    ring.end(number)


def test_a_frame_comes_through(ends: tuple[Ring, Ring]) -> None:
    writer, reader = ends
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    write(writer, 1, image)
    copy = reader.copy(1, 64, 48)
    assert copy is not None and (copy == image).all()
    writer.begin(1 + SLOTS)[:] = 0
    assert (copy == image).all(), "the reader's is a copy"


def test_a_frame_that_is_being_written_is_not_read(ends: tuple[Ring, Ring]) -> None:
    writer, reader = ends
    writer.begin(1)
    assert reader.copy(1, 64, 48) is None


def test_a_frame_overwritten_before_the_copy_is_torn(ends: tuple[Ring, Ring]) -> None:
    writer, reader = ends
    write(writer, 1, np.zeros((48, 64, 3), np.uint8))
    write(writer, 1 + SLOTS, np.ones((48, 64, 3), np.uint8))
    assert reader.copy(1, 64, 48) is None


def test_a_frame_overwritten_during_the_copy_is_torn(ends: tuple[Ring, Ring], monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = ends
    write(writer, 1, np.zeros((48, 64, 3), np.uint8))

    class Slots:
        """The writer laps the reader in the middle of its copy."""

        def __init__(self, slots: np.ndarray) -> None:
            self.slots = slots

        def __getitem__(self, key: tuple[int, slice]) -> np.ndarray:
            writer.begin(1 + SLOTS)
            found: np.ndarray = self.slots[key]
            return found
    monkeypatch.setattr(reader, "_slots", Slots(reader._slots))
    assert reader.copy(1, 64, 48) is None


@settings(deadline=None)
@given(st.integers(1, 3 * SLOTS), st.integers(1, 3 * SLOTS))
def test_only_the_last_slots_are_there(written: int, asked: int) -> None:
    handle = create_ring()
    writer, reader = Ring(handle), Ring(handle)
    os.close(handle)
    for number in range(1, written + 1):
        write(writer, number, np.full((2, 2, 3), number, np.uint8))
    copy = reader.copy(asked, 2, 2)
    if written - SLOTS < asked <= written:
        assert copy is not None and (copy == asked).all()
    else:
        assert copy is None


def test_the_memory_has_no_name_and_keeps_its_size() -> None:
    before = set(Path("/dev/shm").iterdir())
    handle = create_ring()
    try:
        assert set(Path("/dev/shm").iterdir()) == before
        with pytest.raises(PermissionError):
            os.ftruncate(handle, 4096)  # the other process would die of SIGBUS
        with pytest.raises(PermissionError):
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        facts = os.fstat(handle)
        assert facts.st_size == RING_BYTES and facts.st_blocks == 0, "pages cost memory once they are written"
    finally:
        os.close(handle)
