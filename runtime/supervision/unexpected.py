"""An error that nobody raised on purpose, OpenCV's among them → one line that names it and the place it came from.

Knows nothing of what was going on: whoever reports the line to us helps to give it a better one.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath

from runtime.errors import MienError

MOST_WORDS = 300  # characters of what the error says


def unexpected(error: Exception) -> MienError:
    """Return the error to raise in its place, which ends a command with 1."""
    calls = traceback.extract_tb(error.__traceback__)
    place = next((f"{PurePath(c.filename).name}:{c.lineno}" for c in reversed(calls)), "an unknown place")
    said = " ".join(str(error).split())[:MOST_WORDS] or "no words"
    kind = type(error)
    return MienError(f"expected the stream to go on, found {kind.__module__}.{kind.__qualname__} at {place}: {said}; "
                     "start it again, and report this line if it comes back")
