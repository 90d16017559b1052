"""What a sender sends, and one that falls silent: a real pipe."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest
from bundles import Release

from runtime.errors import BadInput
from runtime.slots.sent_bytes import SentBytes
from runtime.slots.slots import Slots

SILENCE = 0.05  # s


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_was_sent_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    os.close(writing)
    assert io.BufferedReader(SentBytes(reading)).read() == b"abc"
    os.close(reading)


def test_a_silent_sender_is_given_up_and_leaves_no_slot_and_no_lock(
    slots: Slots, release: Release, pipe: tuple[int, int]
) -> None:
    reading, writing = pipe  # which stays open, as that of a line that broke without a word
    os.write(writing, release.path.read_bytes()[:1500])
    with pytest.raises(BadInput, match="silence"):
        slots.receive(io.BufferedReader(SentBytes(reading, SILENCE)))
    assert not list(slots.folder.iterdir())
    with slots.alone():
        pass
