"""One file with an engine and its sidecar, sealed by a secret of this device.

    mien-engine 1 <HMAC-SHA256 of the format, the sidecar and the engine, in hex>
    <the sidecar: one line of JSON>
    <the engine's bytes>

An engine is executable code: nothing behind the first line is looked at before the seal was found right. Engine and
sidecar are one file because two would be two renames, with a moment between them; `head -n 2` shows the sidecar.
Knows nothing of what an engine was made for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import BadInput

FORMAT = b"mien-engine 1 "
SEAL = len(FORMAT) + 64  # where the first line ends: 64 hexadecimal digits of SHA-256


@dataclass(frozen=True)
class Unsealed:
    """An engine that this device sealed, and what it wrote beside it."""

    engine: bytes
    sidecar: dict[str, Any]


def seal(engine: bytes, sidecar: Mapping[str, Any], secret: bytes) -> bytes:
    """Return the file's bytes. The sidecar holds what JSON can say."""
    body = json.dumps(sidecar, allow_nan=False).encode() + b"\n" + engine
    return FORMAT + _mac(memoryview(body), secret) + b"\n" + body


def unseal(content: bytes, secret: bytes, name: str) -> Unsealed:
    """Return what `content` holds if this secret sealed it; `name` stands in errors. Raises BadInput."""
    if not content:
        raise BadInput(f"expected a sealed engine, found an empty file: {name}")
    if not content.startswith(FORMAT):
        raise BadInput(f"expected a file of the format {FORMAT.decode()[:-1]!r}, found another: {name}")
    body = memoryview(content)[SEAL + 1:]
    if content[SEAL : SEAL + 1] != b"\n" or not hmac.compare_digest(content[len(FORMAT) : SEAL], _mac(body, secret)):
        raise BadInput("expected an engine that this device sealed, found one that was damaged, changed or brought "
                       f"from elsewhere: {name}")
    end = content.index(b"\n", SEAL + 1)
    return Unsealed(content[end + 1:], json.loads(content[SEAL + 1 : end]))


def _mac(body: memoryview, secret: bytes) -> bytes:
    mac = hmac.new(secret, FORMAT, hashlib.sha256)
    mac.update(body)
    return mac.hexdigest().encode()
