"""No core dumps: one would hold the last frames, which are pictures of people. Knows nothing of why a process dies."""

from __future__ import annotations

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4  # linux/prctl.h; also keeps other processes of the same user from reading our memory


def forbid_core_dumps() -> None:
    """Set RLIMIT_CORE to 0, for children too, and the process undumpable, which piped handlers respect as well.

    https://man7.org/linux/man-pages/man5/core.5.html: a handler behind `|` in core_pattern ignores RLIMIT_CORE.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
