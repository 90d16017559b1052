"""Answers small enough for a record: one sign a label, half a float a logit. 3,301 faces: 3 KB and 40 KB.

Knows nothing of what is compared with them.
"""

from __future__ import annotations

import base64
import string
import zlib
from typing import Any

import numpy as np

from export.gate.answers import NO_ANSWER

_DIGITS = string.digits + string.ascii_lowercase  # one sign an image
_FURTHER = 0x100 - len(_DIGITS)  # from label 36 on: letters that no digit is
_NONE = "-"
_LEAST = float(np.finfo(np.float16).min)


def pack_labels(said: np.ndarray) -> str:
    """Return (N,) labels as one sign each, - for no answer: 0–9, a–z, then Unicode's letters from U+0100."""
    return "".join(_sign(label) for label in said.tolist())


def unpack_labels(text: str) -> np.ndarray:
    """Return what `pack_labels` packed, (N,) int64. Raises ValueError for another sign."""
    return np.array([_label(sign) for sign in text], dtype=np.int64)


def _sign(label: int) -> str:
    if label == NO_ANSWER:
        return _NONE
    return _DIGITS[label] if label < len(_DIGITS) else chr(_FURTHER + label)


def _label(sign: str) -> int:
    if sign == _NONE:
        return NO_ANSWER
    return ord(sign) - _FURTHER if ord(sign) >= _FURTHER + len(_DIGITS) else _DIGITS.index(sign)


def pack_logits(logits: np.ndarray) -> dict[str, Any]:
    """Return (N, classes) logits as plain values: each row less its largest, in half precision.

    Softmax is the same. A logit within 4 of the largest is then off by at most 0.002, a KL by some 10⁻⁶ nats, where
    mien-light's INT8 has 5·10⁻⁴. A row that is not finite becomes NaN.
    """
    rows = logits.astype(np.float64)
    rows[~np.isfinite(rows).all(axis=1)] = np.nan
    halves = np.maximum(rows - rows.max(axis=1, keepdims=True), _LEAST).astype("<f2")
    return {"what": "float16, each row less its largest", "classes": logits.shape[1],
            "zlib_base64": base64.b64encode(zlib.compress(halves.tobytes(), 9)).decode("ascii")}


def unpack_logits(packed: dict[str, Any], images: int) -> np.ndarray:
    """Return what `pack_logits` packed, (images, classes) float32, NaN where a row was not finite.

    Raises ValueError, KeyError, TypeError or zlib.error for anything else.
    """
    classes = packed["classes"]
    if type(classes) is not int or classes < 1:
        raise ValueError(f"{classes!r} classes of logits")
    size = images * classes * 2
    reader = zlib.decompressobj()
    content = reader.decompress(base64.b64decode(packed["zlib_base64"], validate=True), size + 1)
    if len(content) != size or not reader.eof:  # zlib's own checksum stands at its end
        raise ValueError(f"logits that are not those of {images} images")
    return np.frombuffer(content, "<f2").reshape(images, classes).astype(np.float32)
