"""Engines compiled on this machine, kept under what decides their bytes, and used only if this machine sealed them.

One sealed file an engine, published by one rename under a lock. What is not exactly what was sealed under the wanted
key is compiled again, never tried. Knows nothing of models, nor how an engine is compiled or run.
docs/engine-cache.md has the threat model.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from runtime.durable import sweep, write_bytes
from runtime.engines.compile import Compiled
from runtime.engines.device_secret import make_secret, read_secret
from runtime.engines.engine_file import seal, unseal
from runtime.engines.engine_key import EngineKey
from runtime.engines.jit_kernels import KernelFile
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput, MienError, Unavailable

log = logging.getLogger(__name__)

MAX_ENGINE_BYTES = 2 << 30  # twice the largest graph a card may name: ahead-of-time INT8 engines took twice their graph
QUOTA_BYTES = 1 << 30  # the engines of many updates: the shipped model's take about 4 MB each (docs/decisions.md)
T = TypeVar("T")
_OURS = re.compile(r"([0-9a-f]{64})\.(engine|kernels)")


@dataclass(frozen=True)
class CachedEngine:
    """A verified engine, its sidecar, its file, where its JIT kernels go, and whether it was compiled for this call."""

    engine: bytes = field(repr=False)
    sidecar: dict[str, Any]
    path: Path
    kernels: KernelFile = field(repr=False)  # it holds the secret
    compiled_now: bool


class _ReadOnlyKernels(KernelFile):
    """Kernels for a service: executable code that it takes from `mien prepare`, and leaves to it."""

    def save(self, kernels: bytes) -> None:
        """Keep nothing."""


@dataclass(frozen=True, order=True)
class _Entry:
    """When an engine was last used (ns), what it takes with its kernels, and their files."""

    used: int
    bytes: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class EngineCache:
    """A folder of sealed engines; the secret that seals them lies beside it, not in it, so that a copy takes no secret.

    read_only: only look, as a service does. quota_bytes: what all engines together may take. keep: files that must not
    go to make room.
    """

    folder: Path
    read_only: bool = False
    quota_bytes: int = QUOTA_BYTES
    keep: tuple[Path, ...] = ()

    @property
    def secret_file(self) -> Path:
        """Where the secret lies: `engines.key` beside `engines`."""
        folder = self.folder.absolute()
        return folder.with_name(f"{folder.name}.key")

    def find(self, key: EngineKey) -> CachedEngine | None:
        """Return the verified engine of a key, None where there is none. Raises BadInput where it must not be used."""
        path = self._place(key)
        try:
            content, _ = read_regular_file(path, MAX_ENGINE_BYTES)
        except FileNotFoundError:
            return None
        secret = read_secret(self.secret_file)
        if secret is None:
            raise BadInput(f"expected this device's secret at {self.secret_file}, found none to check {path} with")
        unsealed = unseal(content, secret, str(path))
        if unsealed.sidecar.get("key") != key.as_json():
            raise BadInput(f"expected an engine for {key} in {path}, found another's under its name")
        kernels = self._kernels(unsealed.engine, path, secret)
        return CachedEngine(unsealed.engine, unsealed.sidecar, path, kernels, compiled_now=False)

    def get(self, key: EngineKey, build: Callable[[], Compiled], command: str) -> CachedEngine:
        """Return the engine of a key, compiled with `build` where it is missing or refused; once if two ask at once.

        command: what a person runs where a read-only cache lacks it.
        Raises BadInput, Unavailable (read-only and missing), MienError (disk full), and what `build` raises.
        """
        if found := self._find_without_lock(key, command):
            if not self.read_only:
                self._mark_used(found.path)
            return found
        if self.read_only:
            raise Unavailable(f"expected an engine for {key} in {self.folder}, found none; run {command}")
        with self._alone():
            secret = self._secret()
            found = self._find_usable(key)  # another process may have compiled it while we waited
            return found or self._publish(self._fresh(key, build(), secret), secret)

    def replace(self, key: EngineKey, unfit: CachedEngine, build: Callable[[], Compiled],
                prove: Callable[[CachedEngine], T]) -> T:
        """Compile what turned out not to work again; the fresh engine takes the old one's place once `prove` returns.

        Where another process was faster, its engine is proven. Returns what `prove` returned.
        Raises BadInput, MienError (disk full), and what `build` and `prove` raise.
        """
        with self._alone():
            secret, found = self._secret(), self._find_usable(key)
            if found and found.engine != unfit.engine:
                return prove(found)
            fresh = self._fresh(key, build(), secret)
            proven = prove(fresh)
            self._publish(fresh, secret)
            return proven

    def discard(self, key: EngineKey, unfit: CachedEngine) -> None:
        """Remove an engine that turned out not to work, and its kernels; not what another process put in its place."""
        with self._alone(), suppress(BadInput):  # what is damaged by now is compiled again in any case
            found = self.find(key)
            if found and found.engine == unfit.engine:
                with self._plainly():
                    for file in (unfit.path, unfit.path.with_suffix(".kernels")):
                        file.unlink(missing_ok=True)

    def _secret(self) -> bytes:
        with self._plainly():
            return read_secret(self.secret_file) or make_secret(self.secret_file)

    def _find_usable(self, key: EngineKey) -> CachedEngine | None:
        try:
            return self.find(key)
        except BadInput as refusal:
            log.warning("%s; compiling it again", refusal)
            return None

    def _find_without_lock(self, key: EngineKey, command: str) -> CachedEngine | None:
        try:
            return self.find(key)
        except BadInput as refusal:
            if self.read_only:
                raise BadInput(f"{refusal}; run {command}") from refusal
            return None

    def _kernels(self, engine: bytes, path: Path, secret: bytes) -> KernelFile:
        kind = _ReadOnlyKernels if self.read_only else KernelFile
        return kind(path.with_suffix(".kernels"), secret, hashlib.sha256(engine).hexdigest())

    def _place(self, key: EngineKey) -> Path:
        return self.folder / f"{key.digest()}.engine"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, which the kernel takes back from a process that dies; sweep what such a one left."""
        with self._plainly():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("another process is compiling into %s; waiting for it", self.folder)
                fcntl.flock(handle, fcntl.LOCK_EX)
            with self._plainly():
                for ending in ("engine", "kernels"):
                    sweep(self.folder, f"*.{ending}")
                sweep(self.secret_file.parent, glob.escape(self.secret_file.name))
            yield
        finally:
            os.close(handle)

    def _fresh(self, key: EngineKey, compiled: Compiled, secret: bytes) -> CachedEngine:
        """Say of an engine what will stand beside it, and where; writes nothing."""
        engine, path = compiled.built.content, self._place(key)
        sidecar = {"key": key.as_json(), **_facts(compiled)}
        return CachedEngine(engine, sidecar, path, self._kernels(engine, path, secret), compiled_now=True)

    def _publish(self, fresh: CachedEngine, secret: bytes) -> CachedEngine:
        """Write one sealed file, whole or not at all. The caller holds the lock."""
        path, content = fresh.path, seal(fresh.engine, fresh.sidecar, secret)
        with self._plainly():
            self._make_room(len(content), path)
            if path.is_dir() and not path.is_symlink():  # the one thing that a file cannot take the place of
                shutil.rmtree(path)
            write_bytes(path, content)
        self._mark_used(path)
        return fresh

    def _make_room(self, size: int, place: Path) -> None:
        """Remove least recently used engines until `size` bytes at `place` keep the quota."""
        entries = self._entries(without=place)
        kept = [entries.pop(path.stem).bytes for path in self.keep if path.stem in entries]
        if size + sum(kept) > self.quota_bytes:
            beside = f", beside {sum(kept) / 2**20:.1f} MiB that must stay" if kept else ""
            raise BadInput(f"expected an engine within the quota of {self.quota_bytes >> 20} MiB, found one of "
                           f"{size / 2**20:.1f} MiB{beside}; raise --quota-mb")
        others = sorted(entries.values())
        total = size + sum(kept) + sum(entry.bytes for entry in others)
        for entry in others:
            if total <= self.quota_bytes:
                break
            for file in entry.files:
                file.unlink()
            total -= entry.bytes

    def _mark_used(self, path: Path) -> None:
        """Make an engine the most recently used, also where the clock went back: devices boot in 1970."""
        with suppress(OSError):  # a folder that is not ours to write is not ours to keep in order
            latest = max((entry.used for entry in self._entries(without=path).values()), default=0)
            used = max(time.time_ns(), latest + 1_000_000_000)  # a second: the coarsest step of a common file system
            os.utime(path, ns=(used, used), follow_symlinks=False)

    def _entries(self, without: Path) -> dict[str, _Entry]:
        """Return every engine but one, by digest; kernels that lost their engine count as never used."""
        entries: dict[str, _Entry] = {}
        with os.scandir(self.folder) as found:
            for file in found:
                ours = _OURS.fullmatch(file.name)
                if not ours or ours[1] == without.stem or not file.is_file(follow_symlinks=False):
                    continue
                status, entry = file.stat(follow_symlinks=False), entries.get(ours[1], _Entry(0, 0, ()))
                used = status.st_mtime_ns if ours[2] == "engine" else entry.used
                entries[ours[1]] = _Entry(used, entry.bytes + status.st_size, (*entry.files, Path(file.path)))
        return entries

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Say in one line what the disk refused."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise MienError(f"expected room for an engine in {self.folder}, found the disk full; free some space, "
                                "or choose another folder with --cache") from error
            raise BadInput(f"expected a folder to keep engines in, found {error}; choose another with --cache, or run "
                           "this as the user who may write there") from error


def engine_folder(told: Path | None) -> Path:
    """Return where engines are kept: as told, `~` being the home, else `default_folder`. Raises BadInput."""
    try:
        folder = told.expanduser() if told else default_folder()
    except RuntimeError as error:  # the home of a user who is not there
        raise BadInput(f"expected a folder to keep engines in, found {told}: {error}; write it without ~") from error
    if not folder.absolute().name:
        raise BadInput(f"expected a folder to keep engines in, with their secret beside it, found {folder}; choose one "
                       "below it")
    return folder


def default_folder() -> Path:
    """Return where engines are kept unless told otherwise: the user's cache folder. Raises BadInput without a home.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (told if told.is_absolute() else Path.home() / ".cache") / "mien" / "engines"
    except RuntimeError as error:  # a service without HOME
        raise BadInput("expected a home folder to keep engines in, found none; say --cache FOLDER, or set "
                       "XDG_CACHE_HOME") from error


def _facts(compiled: Compiled) -> dict[str, Any]:
    """What the compiler said, as it reads back from JSON."""
    said = {name: value for name, value in asdict(compiled.built).items() if not isinstance(value, bytes)}
    facts: dict[str, Any] = json.loads(json.dumps(said))
    return {"engine_bytes": len(compiled.built.content), **facts, "build_seconds": round(compiled.seconds, 2),
            "build_peak_bytes": compiled.peak_bytes}
