"""What the capture process is asked for, as it travels to it. Knows nothing of how it is done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal


@dataclass(frozen=True)
class CaptureRequest:
    """One live source.

    kind: which grabber. name: for people; never a credential. address: a device, an rtsp:// address or a query.
    command and pixels: what to run, and what it writes to its stdout: BGR or BGRx bytes of width × height, or JPEGs one
    after another. quotable: what it says on stderr holds no secret, and may be repeated to people.
    width, height, fps: what is asked of a camera, 0 for whatever it likes. secret: `user:password`.
    """

    kind: Literal["v4l2", "rtsp", "command", "synthetic"]
    name: str
    address: str = field(default="", repr=False)  # some cameras want the password in the path
    command: tuple[str, ...] = field(default=(), repr=False)
    pixels: Literal["bgr", "bgrx", "mjpeg"] = "mjpeg"
    quotable: bool = False
    width: int = 0
    height: int = 0
    fps: float = 0.0
    secret: str = field(default="", repr=False)

    def to_json(self) -> bytes:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> CaptureRequest:
        """Return the request that `to_json` wrote."""
        values = json.loads(content)
        return cls(**{**values, "command": tuple(values["command"])})
