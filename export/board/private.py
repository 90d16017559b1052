"""What a record must not tell: who runs the board, what it is called, where its files lie, which one it is.

Knows text only. What the machine says of itself (`runtime/machine.py`) is chosen so that none of this is in it; errors
are other people's words, and these are cleaned.
"""

from __future__ import annotations

import getpass
import platform
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from runtime.machine import ROOT

LONGEST = 300
# An absolute or home path, on Windows too: not the slash of "CPU/GPU", and not a lone one
_PATH = re.compile(r"(?<![\w.>/])(?:~|[A-Za-z]:)?[/\\]+[\w.~-][^\s'\",;:()\[\]]*")
_URL = re.compile(r"\b[a-z]{2,8}://\S+")
# UUIDs, MAC addresses, serial numbers and addresses in memory; a device's version has no twelve digits in a row
_NUMBER = re.compile(r"\b(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|"
                     r"0x[0-9a-f]{6,}|\d{12,})\b", re.IGNORECASE)
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")  # of e-mail
_CLEANED = ((_URL, "<address>"), (_ADDRESS, "<address>"), (_PATH, "<path>"), (_NUMBER, "<number>"))


def without_private(text: str, names: Iterable[str] | None = None) -> str:
    """Return text on one line, with paths, addresses, numbers of devices and `names` replaced.

    names: None for the user's and the machine's own.
    """
    for place in sorted({str(Path.home()), str(ROOT), str(Path.cwd()), tempfile.gettempdir()}, key=len, reverse=True):
        if len(place) > 1:  # a path of ours may hold spaces, which no pattern could end at
            text = text.replace(place, "/here")
    for pattern, instead in _CLEANED:
        text = pattern.sub(instead, text)
    for name in own_names() if names is None else names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<name>", text, flags=re.IGNORECASE)
    return one_line(text)


def is_private(text: str) -> bool:
    """Does a text hold a path, an address or a device's number? Names nobody can tell."""
    return any(pattern.search(text) for pattern, _ in _CLEANED)


def one_line(text: str) -> str:
    """Return printable text on one line, cut where it is long."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def own_names() -> set[str]:
    """Return the user's name and the machine's, where they have any."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without an entry, as in containers
        user = ""
    return {name for name in (user, platform.node(), platform.node().partition(".")[0]) if name}
