"""Is there a picture in these bytes? As a file of any usual format, as base64 or deflated, or as pixels of a scene.

Looks for what a mistake would leave. Knows no encryption, and no pixels that were rounded to a few levels.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

# The first bytes of each format; those of video as a container or as an H.264 parameter set (ITU-T H.264, annex B)
MAGICS = {"JPEG": rb"\xff\xd8\xff[\xc0-\xfe]", "PNG": rb"\x89PNG\r\n", "WebP": rb"RIFF....WEBP",
          "AVI": rb"RIFF....AVI ", "GIF": rb"GIF8[79]a", "BMP": rb"BM.{4}\0\0\0\0.\0\0\0\x28",
          "MP4": rb"ftyp(isom|mp4|avc)", "H.264": rb"\0\0\0?\x01[\x67\x27\x47][\x42\x4d\x58\x64]",
          "Matroska": rb"\x1a\x45\xdf\xa3"}
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{88,}={0,2}")  # RUN bytes and more
ALIKE = 0.95  # correlation of a run of bytes with a row of the scene; text and counts reach 0.7 over so long a run
RUN = 64  # pixels of a run


def traces_in(content: bytes, scenes: Sequence[np.ndarray], depth: int = 2) -> list[str]:
    """Return what of pictures, or of scenes (H, W) or (H, W, 3) uint8, is in some bytes; [] where nothing is."""
    found = [name for name, magic in MAGICS.items() if re.search(magic, content, re.DOTALL)]
    found += [f"pixels of scene {place}" for place, scene in enumerate(scenes) if _has_rows(content, scene)]
    if depth:
        found += [f"{trace}, packed" for inner in _unpacked(content) if len(inner) > RUN
                  for trace in traces_in(inner, scenes, depth - 1)]
    return found


def _unpacked(content: bytes) -> Iterator[bytes]:
    for text in BASE64.findall(content):
        plain = text.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        yield base64.b64decode(plain + b"=" * (-len(plain) % 4)) if len(plain) % 4 != 1 else b""
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", content):
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            yield unpacker.decompress(content[start.start() :], 1 << 22)
        except zlib.error:
            continue


def _has_rows(content: bytes, scene: np.ndarray) -> bool:
    """Does any run of bytes, as 8-bit numbers or 32-bit floats, go up and down as a row of the scene does?"""
    grey = scene if scene.ndim == 2 else scene.mean(axis=2)
    planes = [grey] if scene.ndim == 2 else [grey, scene.reshape(len(scene), -1)]
    series = [np.frombuffer(content, np.uint8).astype(np.float64)]
    for offset in range(4):
        floats = np.frombuffer(content, "<f4", max(0, len(content) - offset) // 4, min(offset, len(content)))
        sane = np.isfinite(floats) & (np.abs(floats) < 1e6)
        series.append(np.where(sane, floats, 0).astype(np.float64))
    rows = [row for plane in planes for row in _telling_rows(plane)]
    return any(_correlates(values, row) for values in series for row in rows)


def _telling_rows(plane: np.ndarray) -> list[np.ndarray]:
    """Return a few runs of the plane that go up and down most: a flat one is like anything."""
    middle = max(0, (plane.shape[1] - RUN) // 2)
    runs = plane[:, middle : middle + RUN].astype(np.float64)
    return [runs[place] for place in np.argsort(runs.std(axis=1))[-4:]]


def _correlates(values: np.ndarray, row: np.ndarray) -> bool:
    size = len(row)
    if len(values) < size:
        return False
    wave = row - row.mean()
    values = values - values.mean()
    sums, squares = (np.concatenate([[0.0], np.cumsum(v)]) for v in (values, values**2))
    variance = squares[size:] - squares[:-size] - (sums[size:] - sums[:-size]) ** 2 / size
    points = 1 << (len(values) + size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(values, points) * np.conj(np.fft.rfft(wave, points)), points)
    covariance = product[: len(variance)]
    busy = variance > size  # quieter than a grey level
    alike = covariance[busy] / np.sqrt(variance[busy] * (wave**2).sum())
    return bool(len(alike) and alike.max() > ALIKE)
