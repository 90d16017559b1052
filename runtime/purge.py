"""What a stream left that tells of people, found by its configuration, and deleted so that a power cut undoes nothing.

Events and those rotated away, recordings and what a killed one left, histograms, what drift's monitor learned, the
dashboard's state. Only regular files under exactly those names, in exactly those folders: a link is left, and told.
Deleting takes a name from a disk: what a flash chip, a snapshot, a backup, a broker or a second hard link still holds
is not known here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.dashboard.channel import PREVIEW, STATUS, channel_folder
from runtime.drift.kept_ranges import FILE as HISTOGRAMS
from runtime.drift.kept_ranges import names_aside
from runtime.drift.learned import CAMERA_FILE, ENGINE_FILE
from runtime.drift.learned import names_of as names_of_learned
from runtime.errors import BadInput, MienError, Unavailable
from runtime.sinks.event_files import SUFFIX_DIGITS
from runtime.sinks.recordings import is_in_work, names_of, unfinished_names_of
from runtime.stream_config import StreamConfig
from runtime.supervision.instance_lock import only_instance
from runtime.supervision.supervision import state_folder

UNITS = {"m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Kind:
    """Files of one kind: their folder, and a regular expression of their names; live: a running stream writes them."""

    what: str
    folder: Path
    names: str
    live: bool = True


@dataclass(frozen=True)
class Left:
    """One file that is there: its bytes, its age in seconds by the wall clock, and which file it was when listed."""

    kind: Kind
    path: Path
    bytes: int
    age: float
    identity: tuple[int, int]

    def to_text(self) -> str:
        """Return a line for a person."""
        return f"{self.path}  {self.kind.what}, {self.bytes} bytes, {self.age / 86400:.1f} days old"


def seconds_of(age: str) -> float:
    """Return the seconds of `30m`, `12h` or `7d`. Raises BadInput."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", age)
    if not found:
        raise BadInput(f"expected an age such as 7d, 12h or 30m, found {age!r}")
    return float(int(found[1]) * UNITS[found[2]])


def kinds_of(config: StreamConfig, environment: Mapping[str, str]) -> list[Kind]:
    """Return what a configuration has a stream write about people."""
    kinds = []
    if events := config.events:
        name = re.escape(events.name)
        kinds += [Kind("events", events.parent, name),
                  Kind("rotated events", events.parent, rf"{name}\.[0-9]{{{SUFFIX_DIGITS}}}", live=False)]
    if video := config.video:
        kinds += [Kind("recording", video.parent, names_of(video), live=False),
                  Kind("unfinished recording", video.parent, unfinished_names_of(video))]
    if state := state_folder(config.supervision, environment):
        histograms, learned = re.escape(HISTOGRAMS), "|".join(map(names_of_learned, (CAMERA_FILE, ENGINE_FILE)))
        kinds += [Kind("histograms", state, f"{histograms}|{_temporary(histograms)}"),
                  Kind("histograms put aside", state, names_aside(HISTOGRAMS), live=False),
                  Kind("learned baselines", state, f"{learned}|{_temporary(f'({learned})')}")]
    if config.dashboard.port:
        names = "|".join(re.escape(name) for name in (STATUS, PREVIEW))
        kinds += [Kind("dashboard state", channel_folder(config.dashboard.folder, environment),
                       rf"{names}|\.({names})\.tmp")]
    return kinds


def _temporary(name: str) -> str:
    """The pattern of what `durable.replacing` leaves where its process is killed."""
    return rf"\.{name}\.[0-9a-f]{{8}}\.[A-Za-z0-9]+"


def look(kinds: Sequence[Kind], older_than: float = 0.0) -> tuple[list[Left], list[str]]:
    """Return the files that are older than so many seconds, and lines on what is left alone. Raises MienError."""
    found, alone = [], []
    for kind in kinds:
        try:
            handle = os.open(kind.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise MienError(f"expected to read the folder {kind.folder}, found: {error.strerror}; run as the "
                            "stream's user") from error
        try:
            for name in sorted(n for n in os.listdir(handle) if re.fullmatch(kind.names, n)):
                path = kind.folder / name
                try:
                    info = os.stat(name, dir_fd=handle, follow_symlinks=False)
                except FileNotFoundError:  # a running stream's own retention
                    continue
                age = max(0.0, time.time() - info.st_mtime)
                if not stat.S_ISREG(info.st_mode):
                    alone.append(f"{path}  is no regular file and stays")
                elif age >= older_than:
                    found.append(Left(kind, path, info.st_size, age, (info.st_dev, info.st_ino)))
                    if info.st_nlink > 1:
                        alone.append(f"{path}  has another name elsewhere, which stays")
        finally:
            os.close(handle)
    return found, alone


@contextmanager
def no_stream(config: StreamConfig, environment: Mapping[str, str]) -> Iterator[None]:
    """Keep a stream of this configuration from running. Raises Unavailable where one does."""
    with ExitStack() as stack:
        state = state_folder(config.supervision, environment)
        if state and state.is_dir():
            stack.enter_context(only_instance(state))
        if config.events and config.events.is_file():
            handle = os.open(config.events, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(f"expected no stream that writes {config.events}, found one; stop it first, or say "
                                  "--older-than to delete what it no longer writes") from error
        if config.video and is_in_work(config.video):
            raise Unavailable(f"expected no stream that records to {config.video}, found one; stop it first, or say "
                              "--older-than to delete what it no longer writes")
        yield


def is_running(config: StreamConfig, environment: Mapping[str, str]) -> bool:
    """Return whether a stream of this configuration runs."""
    try:
        with no_stream(config, environment):
            return False
    except Unavailable:
        return True


def delete(found: Sequence[Left]) -> None:
    """Delete listed files and flush their folders. Raises MienError, after all others, where one did not go."""
    failed = []
    for folder in dict.fromkeys(each.path.parent for each in found):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for each in (f for f in found if f.path.parent == folder):
                try:
                    _unlink(each, handle)
                except OSError as error:
                    failed.append(f"{each.path}: {error.strerror}")
            os.fsync(handle)
        finally:
            os.close(handle)
    if failed:
        raise MienError(f"expected to delete {len(found)} files, found {len(failed)} that stay ({'; '.join(failed)}); "
                        "run as the stream's user")


def _unlink(each: Left, folder: int) -> None:
    """Remove a name, which never follows a link, if it still means the file that was listed."""
    try:
        info = os.stat(each.path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:  # the stream's own retention was quicker
        return
    if not stat.S_ISREG(info.st_mode) or (info.st_dev, info.st_ino) != each.identity:
        raise OSError(errno.ESTALE, "another file by now")
    os.unlink(each.path.name, dir_fd=folder)
