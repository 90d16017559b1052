"""Every error mien raises on purpose, and the exit code each one ends a command with.

    MienError            1  a run failed
    ├── BadInput         2  a file, an option or a value is not what was expected
    │   ├── BadConfig    2  a YAML file says something it may not
    │   └── BadModel     2  a model directory is not what its card promises
    ├── Unavailable      3  a library, a GPU or a camera is missing
    │   └── GpuLost      3  the GPU answers nobody in this process any more; a new process may find it well
    └── RestartNeeded   75  this process is worn out, and only this process: its supervisor shall start another

Knows nothing of what went wrong; only how it is said: *what was expected, what was found, what to do*.
"""

from __future__ import annotations

DONE, FAILED, BAD_INPUT, UNAVAILABLE, INCONCLUSIVE = 0, 1, 2, 3, 4
RESTART = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry"; here the supervisor is


class MienError(Exception):
    """A run failed; the message is one line a person can act on."""

    exit_code = FAILED


class BadInput(MienError):
    """Something the user gave is not what was expected."""

    exit_code = BAD_INPUT


class BadConfig(BadInput):
    """A YAML file holds an unknown key, a wrong type or a value out of range."""


class BadModel(BadInput):
    """A model directory's files disagree with its card."""


class Unavailable(MienError):
    """This machine lacks a library, a GPU or a camera that was asked for."""

    exit_code = UNAVAILABLE


class GpuLost(Unavailable):
    """The GPU's context is broken for good, or silent: only a new process can work on it again."""


class RestartNeeded(MienError):
    """The engine failed, or memory leaks or ran out: a new process will work."""

    exit_code = RESTART
