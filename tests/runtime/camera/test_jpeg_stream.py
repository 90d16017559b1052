"""MJPEG cut apart: however its bytes arrive, whole pictures come out and broken ones are counted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_camera import jpeg, picture

from runtime.camera import jpeg_stream
from runtime.camera.jpeg_decoder import Complaints, decode_jpeg
from runtime.camera.jpeg_stream import JpegStream

GOOD = [jpeg(picture(seed)) for seed in range(3)]
THUMBNAIL = GOOD[1]
# an APP1 segment may hold a whole JPEG of its own, with start and end markers
WITH_THUMBNAIL = GOOD[0][:2] + b"\xff\xe1" + (len(THUMBNAIL) + 2).to_bytes(2, "big") + THUMBNAIL + GOOD[0][2:]


def cut(content: bytes, sizes: list[int]) -> list[bytes | None]:
    """Feed content in pieces of the sizes, over and over."""
    stream, out, at, turn = JpegStream(), [], 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        out += stream.feed(content[at : at + size])
        at, turn = at + size, turn + 1
    return out


@settings(deadline=None)
@given(st.lists(st.integers(20, 3000), min_size=1, max_size=5))
def test_pieces_of_any_size_give_the_same_pictures(sizes: list[int]) -> None:
    assert cut(b"".join(GOOD), sizes) == GOOD


@settings(deadline=None)
@given(st.integers(20, len(GOOD[0]) - 2), st.integers(20, 3000))
def test_a_cut_picture_is_broken_and_the_next_one_whole(length: int, size: int) -> None:
    assert cut(GOOD[0][:length] + GOOD[1], [size]) == [None, GOOD[1]]


@pytest.mark.parametrize("length", range(3, 18))
def test_a_cut_in_the_first_segment_costs_what_that_segment_then_claims_to_hold(length: int) -> None:
    pictures = cut(GOOD[0][:length] + b"".join(GOOD) * 20, [4096])
    assert None in pictures and pictures[-1] == GOOD[2]
    assert all(p is None or p in GOOD for p in pictures)
    lost = 3 * 20 - sum(p is not None for p in pictures)
    assert lost * min(map(len, GOOD)) < 0x10000, "a segment's length has 16 bits"


def test_zeros_between_pictures_are_padding_and_other_bytes_are_damage() -> None:
    assert cut(GOOD[0] + bytes(100) + GOOD[1] + b"noise" + GOOD[2], [512]) == [GOOD[0], GOOD[1], None, GOOD[2]]


def test_a_thumbnail_inside_a_segment_ends_nothing() -> None:
    assert cut(WITH_THUMBNAIL + GOOD[2], [700]) == [WITH_THUMBNAIL, GOOD[2]]


@pytest.mark.parametrize("endless", [b"x" * 100, GOOD[0][:-2], b"\xff\xd8\xff\xe1\xff\xff"])
def test_what_never_ends_is_dropped(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_stream, "MOST_BYTES", 10_000)
    stream = JpegStream()
    broken = sum(p is None for p in stream.feed(endless))
    for _ in range(50):
        broken += sum(p is None for p in stream.feed(b"z" * 1000))
        assert len(stream._bytes) <= 12_000
    assert broken > 0
    assert list(stream.feed(b"\xff\xd9" + GOOD[0] + GOOD[1]))[-1] == GOOD[1]


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(20, 500))
def test_any_bytes_are_taken_without_an_error(content: bytes, size: int) -> None:
    cut(b"\xff\xd8\xff" + content + GOOD[0], [size])


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What libjpeg writes to stderr, for the length of a test."""
    said, kept = os.memfd_create("said"), os.dup(2)
    os.dup2(said, 2)
    yield Complaints()
    os.dup2(kept, 2)
    os.close(said)
    os.close(kept)


def test_a_whole_jpeg_is_decoded(complaints: Complaints) -> None:
    image = decode_jpeg(GOOD[0], complaints)
    assert image is not None and (image == cv2.imdecode(np.frombuffer(GOOD[0], np.uint8), cv2.IMREAD_COLOR)).all()


def test_a_scan_with_bytes_missing_is_damaged_though_the_decoder_fills_them_in(complaints: Complaints) -> None:
    content = jpeg(picture(1, 320, 240))
    spoilt = content[: len(content) // 2] + content[-2:]
    assert decode_jpeg(spoilt, complaints) is None
    assert decode_jpeg(content, complaints) is not None, "a complaint is heard once"


def test_a_picture_that_no_slot_holds_is_not_decoded(complaints: Complaints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.camera.jpeg_decoder.SLOT_BYTES", 64 * 48 * 3 - 1)
    assert decode_jpeg(GOOD[0], complaints) is None
