"""A child process that ends with the parent that started it: work nobody waits for burns a kiosk's cores.

Imports nothing but the standard library, so that a child may ask before its long imports. Knows nothing of what either
of them does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # found now: between fork and exec nothing may be loaded


def die_with_parent(parent: int) -> None:
    """Have Linux kill this process when its parent, by its process id, is no more; at once where it is gone already.

    Linux means the thread that started this process, which must outlive it. Elsewhere only the second half holds.
    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked, and nobody will tell us
        os.kill(os.getpid(), signal.SIGKILL)
