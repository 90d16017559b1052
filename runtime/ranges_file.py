"""`ranges.hist`: the activation histograms of one graph, all that recalibration needs; no face is in it.

Layout: 16 bytes of magic, the header's length (uint32), the header (JSON), the counts (uint64, tensor by tensor, in
zlib), and the SHA-256 of all before. Little-endian. Reading is strict and bounded: a file may come from anywhere. Knows
nothing of how histograms are taken or what is chosen by them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.durable import write_bytes
from runtime.errors import BadInput
from runtime.histogram import BINS, MAX_EXPONENT, MIN_EXPONENT, Histogram

MAGIC = b"mien-histograms\n"
VERSION = 1
MAX_TENSORS = 1024  # VGG19 has 19; bounds what a file may unpack to: 32 MB
MAX_BYTES = 64 << 20
MAX_COUNT = 1 << 56  # values of one tensor: 4 × 10^11 faces of VGG16's largest; sums of 1,024 files stay in int64
MAX_NAME = 1024
_KEYS = {"version", "graph_sha256", "images", "images_sha256", "bins", "tensors"}
_TENSOR_KEYS = {"name", "exponent", "zeros", "minimum", "maximum", "sum", "squares"}


@dataclass(frozen=True)
class ActivationRanges:
    """What the tensors of one graph held over `images` faces; `images_sha256`: hash of their list, '' without one."""

    graph_sha256: str
    images: int
    histograms: dict[str, Histogram]
    images_sha256: str = ""


def merge_ranges(several: Sequence[ActivationRanges]) -> ActivationRanges:
    """Add up histograms of one graph, as if one pass had seen all the faces. Raises BadInput for different graphs."""
    if not several:
        raise BadInput("expected at least one file of histograms, found none")
    first = several[0]
    for other in several[1:]:
        if other.graph_sha256 != first.graph_sha256 or set(other.histograms) != set(first.histograms):
            raise BadInput(f"expected histograms of one graph ({first.graph_sha256[:12]}), found some of another "
                           f"({other.graph_sha256[:12]}); take them again with this model's fp32.onnx")
    merged = {name: histogram.copy() for name, histogram in first.histograms.items()}
    for other in several[1:]:
        for name, histogram in other.histograms.items():
            merged[name].merge(histogram)
    same_list = first.images_sha256 if len(several) == 1 else ""
    return ActivationRanges(first.graph_sha256, sum(r.images for r in several), merged, same_list)


def write_ranges(path: Path, ranges: ActivationRanges) -> None:
    """Write a whole file or leave the old one."""
    write_bytes(path, encode_ranges(ranges))


def encode_ranges(ranges: ActivationRanges) -> bytes:
    """Return the file's bytes; equal ranges give equal bytes."""
    tensors = [{"name": name, "exponent": h.exponent, "zeros": h.zeros, "minimum": h.minimum, "maximum": h.maximum,
                "sum": h.sum, "squares": h.squares} for name, h in ranges.histograms.items()]
    header = json.dumps({"version": VERSION, "graph_sha256": ranges.graph_sha256, "images": ranges.images,
                         "images_sha256": ranges.images_sha256, "bins": BINS, "tensors": tensors},
                        allow_nan=False).encode()
    counts = b"".join(h.counts.astype("<u8").tobytes() for h in ranges.histograms.values())
    content = MAGIC + struct.pack("<I", len(header)) + header + zlib.compress(counts, 6)
    return content + hashlib.sha256(content).digest()


def read_ranges(path: Path) -> ActivationRanges:
    """Read a file. Raises BadInput, in one line, for anything but what `write_ranges` writes."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"expected a file of histograms, found {path}: {error.strerror}; check the path") from error
    try:
        return decode_ranges(content)
    except ValueError as error:
        raise BadInput(f"expected whole histograms of version {VERSION} in {path}, found {error}; "
                       "export them again") from error


def decode_ranges(content: bytes) -> ActivationRanges:
    """Return what the bytes say. Raises ValueError, saying what was found, where no `encode_ranges` made them."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    if not content.startswith(MAGIC) or len(content) < len(MAGIC) + 4 + 32:
        raise ValueError("another kind of file")
    body, digest = content[:-32], content[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("bytes that do not fit their hash")
    start = len(MAGIC) + 4
    end = start + struct.unpack("<I", body[len(MAGIC) : start])[0]
    try:
        header = json.loads(body[start:end].decode())
    except (RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("a header that is not JSON") from error
    _require(isinstance(header, dict) and header.get("version") == VERSION, "another version")
    _require(set(header) == _KEYS and header["bins"] == BINS, "an unknown header")
    _require(_is_hash(header["graph_sha256"]) and (header["images_sha256"] == "" or _is_hash(header["images_sha256"])),
             "something else than a hash")
    _require(_is_count(header["images"]) and header["images"] > 0, "no images")
    tensors = header["tensors"]
    _require(isinstance(tensors, list) and 0 < len(tensors) <= MAX_TENSORS, f"no tensors, or more than {MAX_TENSORS}")
    counts = _unpack(body[end:], len(tensors))
    histograms = {}
    for entry, row in zip(tensors, counts):
        name, histogram = _histogram(entry, row, header["images"])
        _require(name not in histograms, f"{name} twice")
        histograms[name] = histogram
    return ActivationRanges(header["graph_sha256"], header["images"], histograms, header["images_sha256"])


def _unpack(packed: bytes, tensors: int) -> np.ndarray:
    """Return (tensors, BINS) int64; never unpacks more than that."""
    size = tensors * BINS * 8
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, size)
        extra = unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise ValueError("counts that do not unpack") from error
    _require(len(raw) == size and not extra and unpacker.eof and not unpacker.unused_data, "more or fewer counts")
    counts = np.frombuffer(raw, dtype="<u8").reshape(tensors, BINS)
    _require(bool((counts <= MAX_COUNT // BINS).all()), "counts beyond sense")
    return counts.astype(np.int64)


def _histogram(entry: Any, counts: np.ndarray, images: int) -> tuple[str, Histogram]:
    _require(isinstance(entry, dict) and set(entry) == _TENSOR_KEYS, "an unknown tensor entry")
    name, exponent = entry["name"], entry["exponent"]
    _require(isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable(), "an unreadable tensor name")
    floats = [entry[key] for key in ("minimum", "maximum", "sum", "squares")]
    _require(all(isinstance(v, float) and math.isfinite(v) for v in floats), f"numbers of {name} that are not finite")
    _require(_is_count(entry["zeros"]), f"zeros of {name} beyond sense")
    made = Histogram()
    made.counts, made.zeros, made.exponent = counts, entry["zeros"], exponent
    made.minimum, made.maximum, made.sum, made.squares = floats
    _require(made.minimum <= made.maximum and made.squares >= 0, f"moments of {name} beyond sense")
    _require(made.total > 0 and made.total % images == 0, f"counts of {name} that do not fit {images} images")
    used = np.flatnonzero(counts)
    if exponent is None:
        _require(not len(used) and made.largest == 0, f"counts of {name} without a range")
        return name, made
    _require(type(exponent) is int and MIN_EXPONENT <= exponent <= MAX_EXPONENT and bool(len(used)),
             f"a range of {name} beyond sense")
    top = math.ceil(made.largest * BINS / made.limit)
    _require(math.frexp(made.largest)[1] <= exponent and top == int(used[-1]) + 1, f"counts of {name} beyond its range")
    return name, made


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise ValueError(found)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
