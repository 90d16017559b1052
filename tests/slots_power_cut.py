"""Update a device and cut its power at every change of the disk; print what was found on the disks that were left.

    python tests/slots_power_cut.py FOLDER SCENARIO [STEP]

What fsync was not asked for is lost, in two ways that file systems may lose it: names and bytes both, or the bytes of
files whose names came through. After each cut the device boots, old or new must be current and whole, and the next
deployment must lead to where it would have led; what was done when the update said so must survive a cut right then.
The disk is a model: a file is as it was at its last fsync.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bundles import make_release, write_kiosk  # noqa: E402
from slots_killed_at_every_line import Update, _action, _look, _template  # noqa: E402

from runtime.errors import MienError  # noqa: E402

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "open")
Tree = dict[str, Any]  # a name → bytes of a file, text of a link, or a Tree


class Disk:
    """What of a folder would survive: looked at before each change, and after each fsync."""

    def __init__(self, folder: Path):
        self.folder, self.cuts, self.watching = folder, {}, False
        self._names: dict[int, int] = {}  # inodes come again; these do not
        self._next = 0
        self._bytes: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, Any]] = {}
        self._fsync = os.fsync
        for path, _, _ in os.walk(folder):
            self._flush(Path(path))
        for file in (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
            self._flush(file)
        sys.addaudithook(self._before)
        os.fsync = self._after_fsync

    def lost(self) -> list[str]:
        """Return what a cut now would take back of what decides: the link, the journal, the slots."""
        kept = self._durable(self._name(self.folder))
        found = {"current": os.readlink(self.folder / "current"),
                 "journal.jsonl": (self.folder / "journal.jsonl").read_bytes()}
        names = {path.name for path in (self.folder / "slots").iterdir()}
        return [name for name, what in found.items() if kept[name] != what] + sorted(names - kept["slots"].keys())

    def _before(self, event: str, _: tuple[Any, ...]) -> None:
        if self.watching and event in CHANGES:
            self._cut()

    def _after_fsync(self, handle: int) -> None:
        self._fsync(handle)
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if self.watching and self.folder in (path, *path.parents):
            self._cut()
            self._flush(path)
            self._cut()

    def _cut(self) -> None:
        """Note what two power cuts now would leave."""
        self.watching = False  # looking opens files too
        self._forget()
        for tree in (self._durable(self._name(self.folder)), self._names_only(self.folder)):
            self.cuts.setdefault(repr(tree), tree)
        self.watching = True

    def _flush(self, path: Path) -> None:
        before, self.watching = self.watching, False
        if path.is_dir():
            self._entries[self._name(path)] = {p.name: os.readlink(p) if p.is_symlink() else (self._name(p), p.is_dir())
                                               for p in path.iterdir()}
        elif path.exists():
            self._bytes[self._name(path)] = path.read_bytes()
        self.watching = before

    def _name(self, path: Path) -> int:
        inode = path.lstat().st_ino
        if inode not in self._names:
            self._next += 1
            self._names[inode] = self._next
        return self._names[inode]

    def _forget(self) -> None:
        there = {p.lstat().st_ino for p in (self.folder, *self.folder.rglob("*"))}
        self._names = {inode: name for inode, name in self._names.items() if inode in there}

    def _durable(self, name: int) -> Tree:
        """Names and bytes as they were flushed."""
        return {entry: what if isinstance(what, str) else
                self._durable(what[0]) if what[1] else self._bytes.get(what[0], b"")
                for entry, what in sorted(self._entries.get(name, {}).items())}

    def _names_only(self, folder: Path) -> Tree:
        """Names as they are, bytes as they were flushed."""
        return {p.name: os.readlink(p) if p.is_symlink() else
                self._names_only(p) if p.is_dir() else self._bytes.get(self._name(p), b"")
                for p in sorted(folder.iterdir())}


def write_tree(folder: Path, tree: Tree) -> None:
    """Make a folder as a disk has it after the cut."""
    folder.mkdir()
    for name, what in tree.items():
        if isinstance(what, bytes):
            (folder / name).write_bytes(what)
        elif isinstance(what, str):
            (folder / name).symlink_to(what)
        else:
            write_tree(folder / name, what)


def main(place: Path, scenario: str, step: int = 1) -> dict[str, Any]:
    """Record one update, then look at every STEP-th disk that a cut would have left."""
    logging.disable()
    place.mkdir(parents=True, exist_ok=True)
    place = place.resolve()
    release = make_release(place, "1.0")
    new = write_kiosk(place / "new.mien", release.key, "1.1", {**release.files, "NOTICE.txt": b"newer\n"}).slot()
    prefix = _template(place / "opt", release, place / "new.mien", new, scenario)
    disk = Disk(prefix)
    disk.watching = True
    _action(Update(prefix, place / "new.mien"), new, scenario)()
    disk.watching = False
    found: dict[str, int] = {}
    wrong = [f"a cut at the end takes back: {name}" for name in disk.lost()]
    for at, tree in enumerate(disk.cuts.values()):
        if at % step:
            continue
        shutil.rmtree(prefix)
        write_tree(prefix, tree)
        update = Update(prefix, place / "new.mien")
        current = update.slots.current()
        which = {release.manifest.slot(): "old", new: "new"}.get(current, "neither")
        found[which] = found.get(which, 0) + 1
        update.restart()  # as the boot does
        try:
            wrong += [f"cut {at}: {what}" for what in _look(update, which, current, new, scenario, release)]
        except MienError as error:
            wrong.append(f"cut {at}: the next deployment: {error}")
    return {"cuts": sum(found.values()), "found": found, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int((sys.argv[3:] or ["1"])[0]))))
