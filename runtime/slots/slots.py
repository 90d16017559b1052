"""Two slots of unpacked bundles and the link `current` that names the one that runs; every step in the journal.

    PREFIX/slots/1.4.0-<hash>/bundle   what was signed        PREFIX/current → slots/1.4.0-<hash>
    PREFIX/slots/1.4.0-<hash>/venv     made by `prepare`      PREFIX/journal.jsonl, watch.json, allowed_signers

The link decides what runs, the journal what it is worth; whatever a kill leaves between the two, the next call puts
right. Knows nothing of health, ssh or systemd.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runtime.bundle.archive import StrictReader
from runtime.bundle.manifest import TARGETS, Manifest, parse_manifest
from runtime.bundle.unpack import MANIFEST, SignedManifest, check_files, check_folder, read_manifest, unpack
from runtime.durable import fsync_directory, sweep
from runtime.errors import BadInput, MienError
from runtime.machine import l4t_release
from runtime.slots.journal import Entry, Journal, State
from runtime.slots.spare_room import keep_room, with_room

RESERVE_BYTES = 200 << 20  # beside the bundle itself: its venv, an engine, events (doctor/board.py asks for the same)


@dataclass(frozen=True)
class Slots:
    """The slots under one prefix. Every method that changes something takes the prefix's lock."""

    prefix: Path
    reserve_bytes: int = RESERVE_BYTES

    @property
    def folder(self) -> Path:
        """Where slots lie."""
        return self.prefix / "slots"

    @property
    def link(self) -> Path:
        """The link that names the slot that runs."""
        return self.prefix / "current"

    @property
    def signers(self) -> Path:
        """Who may sign; see ssh-keygen(1), ALLOWED SIGNERS."""
        return self.prefix / "allowed_signers"

    @property
    def journal(self) -> Journal:
        """What happened."""
        return Journal(self.prefix / "journal.jsonl")

    def current(self) -> str:
        """Return the slot that `current` names, '' where none is."""
        try:
            return os.path.basename(os.readlink(self.link))
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise BadInput(f"expected a link at {self.link}, found {error.strerror}; move it away") from error

    def entry(self, slot: str) -> Entry | None:
        """Return a slot's last entry, as the link makes it: a slot that runs is current, whatever was still written."""
        entries = [entry for entry in self.journal.read() if entry.slot == slot]
        if not entries or not self.place(slot).is_dir():
            return None
        last = entries[-1]
        runs = self.current() == slot
        if runs and last.state not in ("current", "committed", "rolling-back"):
            return Entry(slot, "current", last.version, last.reason, last.boot, last.uptime)
        return last

    def state(self, slot: str) -> State | None:
        """Return a slot's state, None where there is no such slot."""
        entry = self.entry(slot)
        return entry.state if entry else None

    def place(self, slot: str) -> Path:
        """Return a slot's folder."""
        return self.folder / slot

    def bundle(self, slot: str) -> Path:
        """Return what of a slot was signed."""
        return self.place(slot) / "bundle"

    def committed(self) -> list[str]:
        """Return the slots that were committed and are still there, latest last."""
        slots = [entry.slot for entry in self.journal.read() if entry.state == "committed"]
        return [slot for at, slot in enumerate(slots) if slot not in slots[at + 1:] and self._is_whole(slot)]

    def previous(self) -> str:
        """Return the slot to roll back to, '' where none is."""
        return next((slot for slot in reversed(self._kept()) if slot != self.current()), "")

    def receive(self, stream: BinaryIO, force: bool = False) -> str:
        """Unpack a bundle into a fresh slot, verified byte by byte on its way; return the slot.

        A slot that is there is only compared. force: take a version below what was committed. Raises BadInput,
        MienError where the disk lacks room; then nothing of it is left.
        """
        reader = StrictReader(stream)
        with self.alone():
            signed = read_manifest(reader, self.signers)
            slot = signed.manifest.slot()
            _require_this_machine(signed.manifest)
            self._require_newer(signed.manifest, force)
            if self._is_whole(slot):
                check_files(reader, signed.manifest)  # the sender is still sending
            else:
                self._make_room(slot, signed.manifest)
                self._unpack(reader, signed)
            if self.current() != slot:
                self.journal.append(slot, "uploaded", signed.manifest.version)
            return slot

    def verify(self, slot: str) -> SignedManifest:
        """Read a slot back from the disk, signature and every byte. Raises BadInput; one that never ran
        is then removed, so that it is sent again."""
        with self.alone():
            try:
                signed = check_folder(self.bundle(slot), self.signers)
            except BadInput:
                if slot not in (self.current(), *self.committed()) and self.place(slot).is_dir():
                    self._remove(slot)
                raise
            if signed.manifest.slot() != slot:
                raise BadInput(f"expected the bundle {slot} in its slot, found {signed.manifest.slot()}; upload it "
                               "again")
            if self.current() != slot:
                self.journal.append(slot, "verified", signed.manifest.version)
            return signed

    def step(self, slot: str, after: tuple[State, ...], done: State, work: Callable[[], str]) -> str:
        """Do a step of a slot, and write down that it passed or why it did not; of one that runs nothing is written.

        after: the states in which it may be done. work: returns what is worth noting. Raises what it raises.
        """
        if self.current() == slot:  # without the lock: who restarts the service holds it, and waits for this
            self.require(slot)
            return work()
        with self.alone():
            entry = self.require(slot)
            if entry.state not in (*after, "current", "committed"):
                raise BadInput(f"expected a slot that is {after[0]}, found {slot}, which is {entry.state}; begin "
                               f"again: mien slot verify {slot}")
            version = entry.version
            try:
                note = work()
            except MienError as error:
                if self.current() != slot:
                    self.journal.append(slot, "failed", version, f"{done}: {error}")
                raise
            if self.current() != slot:
                self.journal.append(slot, done, version, note)
            return note

    def switch(self, slot: str, before: Callable[[], None] = lambda: None) -> None:
        """Let `current` name a slot that passed its canary, in one rename. before: what must be on the disk first.

        Raises BadInput, MienError.
        """
        with self.alone():
            entry = self.require(slot)
            if self.current() == slot:
                if entry.state == "current" and self._last_state(slot) != "current":  # killed before the line
                    fsync_directory(self.prefix)  # or before this
                    self.journal.append(slot, "current", entry.version)
                return
            unfinished = self.interrupted()
            if unfinished and self.current() == unfinished.slot:
                raise MienError("expected no rollback in work, found one that was interrupted; mien slot commit "
                                "ends it")
            if entry.state != "canary":
                raise BadInput(f"expected a slot that passed its canary, found {slot}, which is {entry.state}; "
                               f"run mien slot canary {slot}")
            keep_room(self.prefix)
            before()
            self._point_to(slot)
            if unfinished:  # it went back to a slot with which the service does not start: this one takes its place
                self.journal.append(unfinished.slot, "rolled-back", unfinished.version,
                                    unfinished.reason.partition(": ")[2])
            self.journal.append(slot, "current", entry.version)

    def commit(self, reason: str) -> None:
        """Write down that the running slot is the one to come back to, and remove all but it and its predecessor."""
        slot = self.current()
        self.journal.append(slot, "committed", self.require(slot).version, reason)
        self._prune({slot, self.previous()})

    def roll_back(self, reason: str, restart: Callable[[], None]) -> str:
        """Go back to the slot committed before, restart, and return it. Raises MienError where there is none.

        Written down before it begins: a kill at any point leaves `rolling-back`, which `recover` finishes.
        """
        slot, before = self.current(), self.previous()
        if not before:
            raise MienError(f"expected a committed slot to return to from {slot or 'none'}, found none ({reason}); "
                            "what runs stays: deploy a good bundle")
        self.journal.append(slot, "rolling-back", self.require(slot).version, f"to {before}: {reason}")
        self.recover(restart)
        return before

    def recover(self, restart: Callable[[], None]) -> str:
        """Finish a rollback that was interrupted; return the slot that it led to, '' where there was none."""
        last = self.interrupted()
        if last is None:
            return ""
        before = last.reason.partition(":")[0].removeprefix("to ")
        self._point_to(before)  # again, if need be: a rename that was not flushed may still be lost
        restart()  # again, if need be: whether it was done before a kill nobody knows
        self.journal.append(last.slot, "rolled-back", last.version, last.reason.partition(": ")[2])
        return before

    def adopt(self, folder: Path) -> str:
        """Let a folder that a package installed be a committed slot; return it. Raises BadInput.

        It becomes current where none is, or where an earlier folder of the package was: a slot that `mien deploy`
        brought stays, and has this one to come back to. For files and class of device the package's installer answers.
        Of one device's slots only a package's are links.
        """
        with self.alone():
            try:
                manifest = parse_manifest((folder / "bundle" / MANIFEST).read_bytes())
            except OSError as error:
                raise BadInput(f"expected an unpacked bundle in {folder}, found {error.strerror}: {error.filename}; "
                               "install the package again") from error
            slot = manifest.slot()
            earlier = {path.name for path in self.folder.iterdir() if path.is_symlink()}
            if slot in earlier or not self.place(slot).exists():
                _change_link(self.place(slot), folder)  # before `current` names it
            if self._last_state(slot) != "committed":
                self.journal.append(slot, "committed", manifest.version, f"installed in {folder}")
            if self.current() in earlier | {""}:
                self._point_to(slot)
            for name in earlier - {slot}:
                self.place(name).unlink()
            fsync_directory(self.folder)
            return slot

    def interrupted(self) -> Entry | None:
        """Return the rollback that was begun and not finished, None where there is none."""
        rollbacks = [entry for entry in self.journal.read() if entry.state in ("rolling-back", "rolled-back")]
        return rollbacks[-1] if rollbacks and rollbacks[-1].state == "rolling-back" else None

    def require(self, slot: str) -> Entry:
        """Return a slot's entry. Raises BadInput where there is no such slot."""
        entry = self.entry(slot)
        if entry is None:
            known = ", ".join(sorted({e.slot for e in self.journal.read() if self.place(e.slot).is_dir()}))
            raise BadInput(f"expected a slot, found {slot!r}; here are: {known or 'none'}")
        return entry

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the prefix's lock, which the kernel takes back from a dead process. Raises BadInput."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _require_owner(self.prefix)
            handle = os.open(self.prefix / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BadInput(f"expected a folder to keep slots in, found {self.prefix}: {error.strerror}; choose another "
                           "--prefix, or run as its owner") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _kept(self) -> list[str]:
        """Return the committed slots that nobody went back from since."""
        left = {entry.slot: entry.state != "committed" for entry in self.journal.read()
                if entry.state in ("committed", "rolling-back", "rolled-back")}
        return [slot for slot in self.committed() if not left[slot]]

    def _last_state(self, slot: str) -> State | None:
        return next((entry.state for entry in reversed(self.journal.read()) if entry.slot == slot), None)

    def _is_whole(self, slot: str) -> bool:
        return (self.bundle(slot) / MANIFEST).is_file()

    def _require_newer(self, manifest: Manifest, force: bool) -> None:
        """Refuse what is older than what was ever committed here, and a second bundle of the same version."""
        kept = {slot: self._manifest(slot) for slot in self.committed()}
        for slot, other in kept.items():
            is_older = manifest.ordered_version < other.ordered_version
            is_other = manifest.ordered_version == other.ordered_version and slot != manifest.slot()
            if (is_older or is_other) and not force:
                raise BadInput(f"expected a version above {other.version}, which is committed here, found "
                               f"{manifest.version}{' of another content' if is_other else ''}; raise the version, or "
                               "--force it")
        if not force and manifest.slot() not in kept:
            highest = max((_numbers(e.version) for e in self.journal.read() if e.state == "committed"), default=())
            if manifest.ordered_version < highest:
                raise BadInput(f"expected a version above {'.'.join(map(str, highest))}, which was committed here, "
                               f"found {manifest.version}; raise the version, or --force it")

    def _manifest(self, slot: str) -> Manifest:
        return parse_manifest((self.bundle(slot) / MANIFEST).read_bytes())

    def _make_room(self, slot: str, manifest: Manifest) -> None:
        """Remove what killed uploads and failed attempts left; then see whether the bundle fits."""
        last = self._kept()[-1:]
        self._prune({self.current(), *last})
        needed, free = manifest.total_bytes + self.reserve_bytes, shutil.disk_usage(self.folder).free
        if free < needed:
            raise MienError(f"expected {needed >> 20} MiB of disk for {slot}, found {free >> 20} free in "
                            f"{self.folder}; free some, and deploy again")

    def _unpack(self, reader: StrictReader, signed: SignedManifest) -> None:
        slot = signed.manifest.slot()
        temporary = self.folder / f".{slot}.{os.urandom(4).hex()}.tmp"
        try:
            temporary.mkdir()
            unpack(reader, signed, temporary / "bundle")
            fsync_directory(temporary)
            os.replace(temporary, self.place(slot))
            fsync_directory(self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _point_to(self, slot: str) -> None:
        """Change the link in one rename: at every moment it names the old slot or the new."""
        with_room(self.prefix, lambda: _change_link(self.link, Path("slots") / slot))

    def _prune(self, keep: set[str]) -> None:
        sweep(self.folder, "*")
        for path in self.folder.iterdir():
            if path.name not in keep and not path.name.startswith("."):
                self._remove(path.name)

    def _remove(self, slot: str) -> None:
        """Remove a slot; renamed first, for a kill in the middle must not leave half a slot under its name."""
        aside = self.folder / f".{slot}.{os.urandom(4).hex()}.tmp"
        os.replace(self.place(slot), aside)
        fsync_directory(self.folder)  # nor a power cut
        if aside.is_symlink():  # a package's, which dpkg removes
            aside.unlink()
        else:
            shutil.rmtree(aside, ignore_errors=True)


def _change_link(link: Path, target: Path) -> None:
    """Let a link name another path, in one rename that survives a power cut."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)  # a killed predecessor's
    fresh.symlink_to(target)
    os.replace(fresh, link)
    fsync_directory(link.parent)


def _require_owner(prefix: Path) -> None:
    """Raise BadInput for another user than the prefix's, root too: the service could not lock what he made."""
    owner = prefix.stat().st_uid
    if os.geteuid() != owner:
        raise BadInput(f"expected to run as the owner of {prefix} (user id {owner}), found user id {os.geteuid()}; "
                       "log in as that user, mien as a rule, or sudo -u")


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".") if part.isdecimal()]
    return (*numbers, *[0] * (4 - len(numbers)))


def _require_this_machine(manifest: Manifest) -> None:
    """Raise BadInput where the bundle is for another class of device."""
    wanted, machine = TARGETS[manifest.target], platform.machine()
    if wanted != machine:
        raise BadInput(f"expected a bundle for {machine}, found one for {manifest.target} ({wanted}); make it with "
                       "--target for this device")
    if manifest.target.startswith("jetson-") and not l4t_release(Path("/")):
        raise BadInput(f"expected a bundle for this machine, found one for {manifest.target}, and this is no Jetson; "
                       f"make it with --target {'aarch64' if machine == 'aarch64' else 'x86-64'}")
