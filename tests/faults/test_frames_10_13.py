"""Rows 10–13 of the fault catalogue: what arrives from a camera that works, and is not what it should be."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_camera import QUICK, FifoCamera, Record, Watched, jpeg, note, picture

from runtime.machine import peak_memory


@pytest.fixture
def seen(fifo: FifoCamera) -> Iterator[Watched]:
    watched = Watched(fifo.uri)
    watched.until(lambda: watched.frames, fifo.send)
    watched.until(lambda: watched.step() is None)  # nothing is on its way any more
    watched.frames.clear()
    yield watched
    watched.source.close()


def one_by_one(seen: Watched, send: Callable[[], object]) -> None:
    """Send one picture and wait until the capture process has dealt with it."""
    before = seen.source.counts()
    send()
    seen.until(lambda: seen.source.counts()["frames"] + seen.source.damaged > before["frames"] + before["damaged"])


def with_size(content: bytes, width: int, height: int) -> bytes:
    """Return a JPEG whose start of frame claims another size."""
    at = content.index(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def test_10_truncated_jpeg(fifo: FifoCamera, seen: Watched, record_property: Record) -> None:
    good, cut = jpeg(picture(1)), jpeg(picture(2))
    expected = cv2.imdecode(np.frombuffer(good, np.uint8), cv2.IMREAD_COLOR)
    lengths = range(3, len(cut) - 2, max(1, len(cut) // 25))
    damaged = seen.source.damaged
    for length in lengths:
        one_by_one(seen, lambda length=length: fifo.send(cut[:length] + good))  # type: ignore[misc]
    seen.until(lambda: seen.source.damaged == damaged + len(lengths))
    assert seen.frames and all((f.image == expected).all() for f in seen.frames)
    assert seen.heard("damaged")
    note(record_property, "truncated MJPEG", f"{len(lengths)} pictures cut at as many places, a whole one behind each",
         f"{len(lengths)} counted as damaged, only whole ones scored")


def test_10_bit_flips_in_jpeg(fifo: FifoCamera, seen: Watched, record_property: Record) -> None:
    content = jpeg(cv2.GaussianBlur(picture(3, 160, 120), (5, 5), 0))
    whole = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    random = np.random.default_rng(0)
    before = seen.source.counts()
    flips = 100
    for _ in range(flips):
        spoilt = bytearray(content)
        spoilt[int(random.integers(len(spoilt)))] ^= 1 << int(random.integers(8))
        one_by_one(seen, lambda spoilt=spoilt: fifo.send(bytes(spoilt)))  # type: ignore[misc]
    counts = seen.source.counts()
    refused = counts["damaged"] - before["damaged"]
    off = [float(np.abs(f.image.astype(int) - whole).mean()) for f in seen.frames if f.image.shape == whole.shape]
    assert refused > 10 and counts["outages"] == 0
    note(record_property, "bit-flipped MJPEG", f"one bit in each of {flips} pictures",
         f"{refused} refused by structure or by the decoder's complaint; the others are legal JPEGs (which have no "
         f"checksum), nine in ten less than {np.quantile(off, 0.9):.1f} grey levels off on average, one {max(off):.1f}")


def test_11_size_changes(fifo: FifoCamera, seen: Watched, record_property: Record) -> None:
    for number in range(3):
        one_by_one(seen, lambda number=number: fifo.send(jpeg(picture(number, 96, 72))))  # type: ignore[misc]
    assert seen.heard("size-changed")[0].facts == {"from": "64×48", "to": "96×72"}
    assert [f.image.shape for f in seen.frames] == [(72, 96, 3)] * 2, "the first of another size is not scored"
    assert seen.source.size == (96, 72)
    note(record_property, "size changes", "64×48, then 96×72", "said, first one dropped, the new size taken")


def test_11_channels_change(fifo: FifoCamera, seen: Watched, record_property: Record) -> None:
    grey = picture(5)[..., 0]
    one_by_one(seen, lambda: fifo.send(jpeg(grey)))
    assert [f.image.shape for f in seen.frames] == [(48, 64, 3)]
    note(record_property, "channels change", "colour JPEGs, then a grey one", "decoded to BGR like the others")


@pytest.mark.parametrize(("width", "height"), [(65500, 65500), (0, 48), (64, 0), (60000, 300)])
def test_12_absurd_dimensions(
    width: int, height: int, fifo: FifoCamera, seen: Watched, record_property: Record
) -> None:
    status = Path(f"/proc/{seen.process()}/status")
    before = peak_memory(status)
    damaged = seen.source.damaged
    for number in range(3):
        one_by_one(seen, lambda number=number: fifo.send(  # type: ignore[misc]
            with_size(jpeg(picture(number)), width, height)))
    assert seen.source.damaged == damaged + 3 and not seen.frames
    grown = peak_memory(status) - before
    assert grown < 8 << 20
    one_by_one(seen, fifo.send)
    assert len(seen.frames) == 1
    note(record_property, f"dimensions {width}×{height}", "a forged start of frame",
         f"refused before allocation (memory grew by {grown >> 10} KiB), the next picture scored")


def test_13_burst(record_property: Record) -> None:
    seen = Watched("synthetic://?live=1&size=64x48&fps=200")
    try:
        seen.until(lambda: seen.frames)
        counts, yielded, ages = seen.source.counts(), len(seen.frames), []
        for _ in range(15):
            time.sleep(0.1)  # a reader of ten frames a second
            asked = time.monotonic()
            frame = seen.step()
            ages += [time.monotonic() - asked] if frame else []
        after = seen.source.counts()
    finally:
        seen.source.close()
    passed = {k: after[k] - counts[k] for k in ("frames", "dropped", "torn")}
    assert passed["dropped"] > 5 * len(ages)
    assert passed["frames"] == passed["dropped"] + passed["torn"] + len(seen.frames) - yielded, "none is lost uncounted"
    rate = passed["frames"] / (seen.frames[-1].seconds - seen.frames[yielded - 1].seconds)
    assert rate == pytest.approx(200, rel=0.5), "the newest was taken each time, not the oldest that waited"
    note(record_property, "burst", "200 frames a second for a reader of ten",
         f"the newest taken, {passed['dropped']} of {passed['frames']} counted as dropped, nothing queued")


def test_13_starvation(fifo: FifoCamera, record_property: Record) -> None:
    seen = Watched(fifo.uri, replace(QUICK, stall_seconds=5))
    try:
        seen.until(lambda: seen.frames, fifo.send)
        for _ in range(3):
            stop = time.monotonic() + 1
            seen.until(lambda stop=stop: time.monotonic() > stop)  # type: ignore[misc]
            before = len(seen.frames)
            seen.until(lambda before=before: len(seen.frames) > before, fifo.send)  # type: ignore[misc]
        assert not seen.heard("offline")
        assert seen.longest_silence < 0.5
    finally:
        seen.source.close()
    note(record_property, "starvation", "a frame a second", f"an answer at least every {seen.longest_silence:.2f} s, "
         "no outage")
