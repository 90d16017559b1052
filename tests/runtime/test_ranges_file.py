"""`ranges.hist`: what is written comes back; anything else is refused in one line and in bounded memory."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import BadInput
from runtime.histogram import BINS, Histogram
from runtime.ranges_file import (
    MAGIC,
    ActivationRanges,
    decode_ranges,
    encode_ranges,
    merge_ranges,
    read_ranges,
    write_ranges,
)

GRAPH = "a" * 64
# a value below 2^-137 of the range may count as a zero
FLOATS = st.floats(-2.0**90, 2.0**90, width=32).map(lambda value: value if abs(value) >= 2.0**-40 else 0.0)
VALUES = st.lists(FLOATS, min_size=4, max_size=40).map(lambda v: v[: len(v) // 4 * 4])


def ranges_of(values: list[float], images: int = 2, graph: str = GRAPH) -> ActivationRanges:
    histograms = {}
    for name, factor in (("conv/relu", 1.0), ("zero", 0.0)):
        histograms[name] = Histogram()
        histograms[name].add(np.array(values, dtype=np.float32) * np.float32(factor))
    return ActivationRanges(graph, images, histograms)


def sealed(header: dict, counts: bytes) -> bytes:
    """Return a file with this header and these packed counts, and a hash that fits."""
    text = json.dumps(header).encode()
    body = MAGIC + struct.pack("<I", len(text)) + text + counts
    return body + hashlib.sha256(body).digest()


def opened(content: bytes) -> tuple[dict, bytes]:
    """Return header and packed counts of a file."""
    start = len(MAGIC) + 4
    end = start + struct.unpack("<I", content[len(MAGIC) : start])[0]
    return json.loads(content[start:end]), content[end:-32]


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_what_is_written_comes_back(values: list[float]) -> None:
    ranges = ranges_of(values)
    back = decode_ranges(encode_ranges(ranges))
    assert encode_ranges(back) == encode_ranges(ranges)
    assert (back.graph_sha256, back.images, list(back.histograms)) == (GRAPH, 2, ["conv/relu", "zero"])
    for name, histogram in ranges.histograms.items():
        assert (back.histograms[name].counts == histogram.counts).all()
        assert back.histograms[name].largest == histogram.largest


@settings(deadline=None, max_examples=30)
@given(VALUES, VALUES)
def test_files_merge_as_if_one_pass_had_seen_all(first: list[float], second: list[float]) -> None:
    merged = merge_ranges([decode_ranges(encode_ranges(ranges_of(v))) for v in (first, second)])
    together = ranges_of(first + second, 4)
    assert merged.images == 4
    for name, histogram in together.histograms.items():
        assert (merged.histograms[name].counts == histogram.counts).all()
        assert merged.histograms[name].percentile(0.9) == histogram.percentile(0.9)


def test_histograms_of_another_graph_do_not_merge() -> None:
    with pytest.raises(BadInput, match="histograms of one graph"):
        merge_ranges([ranges_of([1.0, 2.0]), ranges_of([1.0, 2.0], graph="b" * 64)])


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one file"):
        merge_ranges([])


def test_merging_leaves_what_was_merged_as_it_was() -> None:
    first = ranges_of([1.0, 2.0])
    before = encode_ranges(first)
    merge_ranges([first, ranges_of([64.0, 2.0])])
    assert encode_ranges(first) == before


def test_a_file_is_read_back(tmp_path: Path) -> None:
    write_ranges(tmp_path / "ranges.hist", ranges_of([1.0, 2.0]))
    assert read_ranges(tmp_path / "ranges.hist").images == 2


def test_a_file_is_small(tmp_path: Path) -> None:
    histogram = Histogram()
    histogram.add(np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32))
    assert len(encode_ranges(ActivationRanges(GRAPH, 2, {"x": histogram}))) < BINS * 8 / 4


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**9), st.integers(1, 255))
def test_a_flipped_byte_is_refused(where: int, flip: int) -> None:
    content = bytearray(encode_ranges(ranges_of([1.0, 2.0])))
    content[where % len(content)] ^= flip
    with pytest.raises(ValueError, match="another kind of file|bytes that do not fit"):
        decode_ranges(bytes(content))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**9))
def test_a_file_cut_short_is_refused(length: int) -> None:
    content = encode_ranges(ranges_of([1.0, 2.0]))
    with pytest.raises(ValueError):
        decode_ranges(content[: length % len(content)])


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_refused_not_crashed_on(noise: bytes) -> None:
    body = MAGIC + struct.pack("<I", len(noise) // 2) + noise
    with pytest.raises(ValueError):
        decode_ranges(body + hashlib.sha256(body).digest())


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    header, _ = opened(encode_ranges(ranges_of([1.0, 2.0])))
    bomb = zlib.compress(bytes(32 << 20), 1)
    content = sealed(header, bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more or fewer counts"):
            decode_ranges(content)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_more_tensors_than_bounded_are_refused() -> None:
    header, counts = opened(encode_ranges(ranges_of([1.0, 2.0])))
    with pytest.raises(ValueError, match="more than 1024"):
        decode_ranges(sealed(header | {"tensors": header["tensors"] * 600}, counts))


@pytest.mark.parametrize(("key", "value", "found"), [
    ("version", 2, "another version"), ("bins", 8, "unknown header"), ("images", 0, "no images"),
    ("images", 2.0, "no images"), ("images", 3, "do not fit 3 images"), ("graph_sha256", "x", "hash"),
    ("images_sha256", None, "hash"), ("tensors", [], "no tensors"), ("tensors", {"a": 1}, "no tensors"),
    ("extra", 1, "unknown header")])
def test_a_header_of_another_kind_is_refused(key: str, value: object, found: str) -> None:
    header, counts = opened(encode_ranges(ranges_of([1.0, 2.0])))
    with pytest.raises(ValueError, match=found):
        decode_ranges(sealed(header | {key: value}, counts))


@pytest.mark.parametrize(("key", "value", "found"), [
    ("exponent", 2.0, "range"), ("exponent", 999, "range"), ("exponent", None, "without a range"),
    ("exponent", True, "range"), ("exponent", 1, "beyond its range"), ("zeros", -1, "zeros"),
    ("zeros", 1 << 60, "zeros"), ("zeros", 1, "do not fit"), ("minimum", float("nan"), "not finite"),
    ("maximum", float("inf"), "not finite"), ("maximum", 0.5, "moments"), ("squares", -1.0, "moments"),
    ("maximum", 3.0, "beyond its range"), ("name", "", "name"), ("name", "a\nb", "name"), ("name", "x" * 2000, "name"),
    ("name", "zero", "twice"), ("more", 1, "tensor entry")])
def test_a_tensor_that_contradicts_itself_is_refused(key: str, value: object, found: str) -> None:
    header, counts = opened(encode_ranges(ranges_of([1.0, 2.0])))
    header["tensors"][0][key] = value
    with pytest.raises(ValueError, match=found):
        decode_ranges(sealed(header, counts))


def test_counts_that_would_overflow_are_refused() -> None:
    header, _ = opened(encode_ranges(ranges_of([1.0, 2.0])))
    counts = np.full((2, BINS), 1 << 62, dtype="<u8")
    with pytest.raises(ValueError, match="beyond sense"):
        decode_ranges(sealed(header, zlib.compress(counts.tobytes())))


def test_a_deeply_nested_header_is_refused() -> None:
    text = b"[" * 100_000
    body = MAGIC + struct.pack("<I", len(text)) + text
    with pytest.raises(ValueError, match="not JSON"):
        decode_ranges(body + hashlib.sha256(body).digest())


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"mien-histograms\n"])
def test_another_file_is_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.hist").write_bytes(content)
    with pytest.raises(BadInput, match=r"other\.hist, found another kind of file; export them again") as caught:
        read_ranges(tmp_path / "other.hist")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere.hist"):
        read_ranges(tmp_path / "nowhere.hist")
