"""Scales ↔ NVIDIA's calibration cache, for those who still take one: DeepStream on JetPack 6, builders up to 10.x.

The text is TensorRT's own: a line `TRT-<version>-EntropyCalibration2`, then `tensor: <float32 scale, big-endian hex>`,
the scale being range / 127. It has no place for what the scales were taken from, so a sidecar beside it binds graph,
images and preprocessing. Does not know whether a builder finds every scale it wants: these are the scales that mien's
own INT8 graphs need. No builder has read one here: TensorRT-RTX and TensorRT 11 take none, and TensorRT skips a cache
that is not of its version.
https://forums.developer.nvidia.com/t/109781 (the hex) · https://github.com/NVIDIA/TensorRT/issues/1378 (the version)
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.durable import write_text
from runtime.errors import BadInput
from runtime.preprocess import FaceInput

_HEADER = re.compile(r"TRT-([7-9]\d{3}|10\d{4})-EntropyCalibration2")
_LINE = re.compile(r"(.+): ([0-9a-fA-F]{1,8})")  # TensorRT writes no leading zeros, and 0 itself as one digit
REBUILD = "mien calibrate MODEL --images PATH --tensorrt-cache FILE"


@dataclass(frozen=True)
class CacheKey:
    """What the scales were taken from: three SHA-256 in hex. Another graph, image or crop asks for another cache."""

    graph_sha256: str
    images_sha256: str
    preprocessing_sha256: str


def hash_preprocessing(how: FaceInput) -> str:
    """Return the SHA-256 of how a face becomes the network's input, over its canonical JSON."""
    return hashlib.sha256(json.dumps(asdict(how), sort_keys=True).encode()).hexdigest()


def hash_images(calibration: Mapping[str, Any]) -> str:
    """Return what a card's calibration says of the images that the ranges are of, as one SHA-256.

    Of one list it is the images' own hash. Histograms of several have none: then it is the hash over where the first
    images came from and over the merged files' hashes, in whatever order these were merged.
    """
    if calibration["images_sha256"]:
        return str(calibration["images_sha256"])
    came = dict(calibration["images_from"])
    came["merged"] = sorted(entry["sha256"] for entry in came.get("merged", []))
    return hashlib.sha256(json.dumps(came, sort_keys=True).encode()).hexdigest()


def require_version_with_caches(version: str) -> None:
    """Refuse a TensorRT version that takes no calibration cache. Raises BadInput."""
    _number_of(version)


def calibration_cache(scales: Mapping[str, np.float32], version: str) -> str:
    """Return the cache's text for a TensorRT version such as `10.3.0`; scales are range / 127, one a tensor.

    Raises BadInput for a version that takes none, a scale that is not a positive float32, a name of several lines.
    """
    lines = [f"TRT-{_number_of(version)}-EntropyCalibration2"]
    for tensor, scale in scales.items():
        if not tensor or len(tensor.splitlines()) != 1 or tensor != tensor.strip():
            raise BadInput(f"expected tensor names of one line, found {tensor!r}; rename it in the graph")
        single = np.float32(scale)
        if not (np.isfinite(single) and single > 0):
            raise BadInput(f"expected a positive scale for {tensor}, found {scale}; calibrate again")
        lines.append(f"{tensor}: {struct.pack('>f', single).hex()}")
    return "\n".join(lines) + "\n"


def parse_calibration_cache(text: str) -> tuple[str, dict[str, np.float32]]:
    """Return (TensorRT version, scale a tensor) of a cache that mien or TensorRT wrote; the latter's may hold 0.

    Raises BadInput, naming the line: another header, other hex, NaN, infinite or negative scales, a tensor named twice.
    """
    lines = text.split("\n")
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        raise BadInput("expected a calibration cache that begins with TRT-<version>-EntropyCalibration2, found "
                       f"{lines[0][:60]!r}; {REBUILD}")
    if lines.pop() != "":
        raise BadInput(f"expected a calibration cache that ends with a line end, found it cut off; {REBUILD}")
    scales: dict[str, np.float32] = {}
    for number, line in enumerate(lines[1:], start=2):
        match = _LINE.fullmatch(line)
        scale = np.float32(struct.unpack(">f", bytes.fromhex(match[2].zfill(8)))[0]) if match else np.float32("nan")
        if match is None or match[1] in scales or not (np.isfinite(scale) and not np.signbit(scale)):
            wrong = "a tensor named before:" if match and match[1] in scales else "other text or scale:"
            raise BadInput(f"expected `tensor: hex` of a finite scale in line {number}, found {wrong} {line[:60]!r}; "
                           f"{REBUILD}")
        scales[match[1]] = scale
    return _version_of(header[1]), scales


def write_calibration_cache(path: Path, scales: Mapping[str, np.float32], version: str, key: CacheKey) -> None:
    """Write the cache and its sidecar `<name>.json`; the sidecar first, so that a crash leaves none that fits."""
    text = calibration_cache(scales, version)
    facts = {"cache_sha256": hashlib.sha256(text.encode()).hexdigest(), "tensorrt": version, "tensors": len(scales)}
    write_text(_sidecar(path), json.dumps(facts | asdict(key), indent=2) + "\n")
    write_text(path, text)


def read_calibration_cache(path: Path, key: CacheKey) -> dict[str, np.float32]:
    """Return the scales of a cache that was made from this graph, these images and this preprocessing.

    Raises BadInput, with the command that rebuilds it, for a cache of others, without a sidecar, or changed since.
    """
    try:
        content, facts = path.read_bytes(), json.loads(_sidecar(path).read_bytes())
        text = content.decode()
    except (OSError, ValueError) as error:  # ValueError: no JSON, no UTF-8
        raise BadInput(f"expected a calibration cache and its sidecar at {path}, found {error}; {REBUILD}") from error
    expected = asdict(key) | {"cache_sha256": hashlib.sha256(content).hexdigest()}
    other = [name for name, value in expected.items() if not isinstance(facts, dict) or facts.get(name) != value]
    if other:
        raise BadInput(f"expected {path.name} to be of this graph, these images and this preprocessing, unchanged, "
                       f"found another {', '.join(other)}; {REBUILD}")
    return parse_calibration_cache(text)[1]


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _number_of(version: str) -> int:
    """10.3.0 → 100300 and 8.6.1 → 8601, as NV_TENSORRT_VERSION in NvInferVersion.h counts from 10 on and before."""
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2})(\.\d+)?", version, re.ASCII)
    major, minor, patch = (int(part) for part in match.groups()[:3]) if match else (0, 0, 0)
    if not ((7 <= major <= 9 and minor < 10) or (major == 10 and minor < 100)):
        raise BadInput("expected a TensorRT version from 7.0.0 to 10.x, such as 10.3.0 for JetPack 6, found "
                       f"{version!r}; from 11 on there are no calibration caches: give it int8-gpu.onnx")
    return major * (10_000 if major == 10 else 1_000) + minor * 100 + patch


def _version_of(number: str) -> str:
    value, step = int(number), 10_000 if int(number) >= 100_000 else 1_000
    return f"{value // step}.{value % step // 100}.{value % 100}"
