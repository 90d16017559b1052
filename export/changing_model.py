"""Change a model directory as a whole, and only the one that was read: verbs that take minutes may run side by side.

A lock keeps writers apart while they write, not while they compute; who comes second finds another card and writes
nothing. `mien export` replaces a directory without reading it, and so only waits for its turn. Knows nothing of what is
changed.
"""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.card import Model, load_model
from runtime.durable import replacing_directory, sweep
from runtime.errors import BadInput, MienError


def lock_path(directory: Path) -> Path:
    """Return the empty file that writers lock: beside the directory, which changes places; it stays there.

    A directory has one, by whatever symbolic link it is named.
    """
    directory = directory.resolve()
    return directory.with_name(f".{directory.name}.lock")


@contextmanager
def changing_model(model: Model) -> Iterator[Path]:
    """Yield a copy of the directory that takes its place; on any error it is removed.

    Raises MienError where the card is no longer the one that `model` was loaded with, BadInput for a folder that cannot
    be written to, and as `load_model`; then nothing is written. Waits for another writer.
    """
    with _writing_alone(model.directory):
        if load_model(model.directory).card != model.card:
            raise MienError(f"expected {model.directory}/card.json as it was when this began, found it changed "
                            "meanwhile by another command; nothing was written: run it again")
        with replacing_directory(model.directory, keep_files=True, known_by="card.json") as directory:
            yield directory


@contextmanager
def replacing_model(directory: Path) -> Iterator[Path]:
    """Yield an empty directory that takes the place of whatever model is there; on any error it is removed.

    Raises BadInput for a folder that cannot be written to, or that holds something else. Waits for another writer.
    """
    with _writing_alone(directory), replacing_directory(directory, known_by="card.json") as fresh:
        yield fresh


@contextmanager
def _writing_alone(directory: Path) -> Iterator[None]:
    lock = lock_path(directory)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise BadInput(f"expected a folder to write {directory} in, found {error}; choose another place, or copy the "
                       "model to a folder of your own") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel takes it back from a process that dies
        sweep(lock.parent, glob.escape(directory.resolve().name), "tmp")
        yield
    finally:
        os.close(handle)
