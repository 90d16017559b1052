"""Linux's video devices: is one there, who holds it, and what it is called whatever number it gets.

Knows nothing of frames. Holders are found in /proc, which shows other users' processes to root only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Unavailable

BY_ID = Path("/dev/v4l/by-id")  # udev's links, named after maker, product and serial number


@dataclass(frozen=True)
class Holder:
    """A process that has a device open."""

    process: int
    program: str


def check_present(device: Path) -> None:
    """Raise Unavailable where a device is missing."""
    if not device.is_char_device():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise Unavailable(f"expected a camera at {device}, found no such device (video devices: {found}); "
                          "connect it, or name another source")


def stable_path(device: Path, by_id: Path = BY_ID) -> Path:
    """Return the by-id link that leads to a device now, so that it is found again under another number; else itself."""
    if device.parent == by_id:
        return device
    try:
        links = sorted(by_id.iterdir())
    except OSError:
        return device
    real = device.resolve()
    return next((link for link in links if link.resolve() == real), device)


def holders(device: Path, proc: Path = Path("/proc")) -> list[Holder]:
    """Return the other processes that have a device open, as far as this user may see."""
    real, found = str(device.resolve()), []
    for folder in proc.iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            if any(os.readlink(link) == real for link in (folder / "fd").iterdir()):
                found.append(Holder(int(folder.name), (folder / "comm").read_text().strip()))
        except OSError:  # another user's, or gone by now
            continue
    return sorted(found, key=lambda holder: holder.process)
