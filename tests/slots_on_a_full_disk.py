"""Update a device whose disk fills in the middle of a step; print what was found then, and after somebody made room.

    unshare --mount python tests/slots_on_a_full_disk.py FOLDER STEP

In a mount namespace of its own, as root. STEP: receive, switch, start, commit or roll_back. Prints one JSON object.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bundles import make_release, write_kiosk  # noqa: E402
from slots_killed_at_every_line import Update, _template  # noqa: E402

from runtime.bundle.unpack import check_folder  # noqa: E402
from runtime.slots import watch  # noqa: E402


class FillingStream(io.BytesIO):
    """A bundle; when half of it was read, somebody else's file takes the rest of the disk."""

    def __init__(self, content: bytes, disk: Path):
        super().__init__(content)
        self._disk, self._half = disk, len(content) // 2

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        if self.tell() >= self._half:
            fill(self._disk)
        return super().read(size)


def fill(disk: Path) -> None:
    """Take every byte that is left."""
    with open(disk / "ballast", "ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def main(place: Path, step: str) -> dict[str, Any]:
    """Fill the disk in one step, look, make room, and do it again."""
    logging.disable()
    place.mkdir()
    release = make_release(place, "1.0")
    bundle = place / "new.mien"
    new = write_kiosk(bundle, release.key, "1.1", {**release.files, "NOTICE.txt": b"newer\n"}).slot()
    disk = place / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    prefix = _template(disk / "opt", release, bundle, new, step)
    update = Update(prefix, bundle)
    if step != "receive":
        fill(disk)
    action = {"receive": lambda: update.slots.receive(FillingStream(bundle.read_bytes(), disk)),
              "switch": lambda: update.switch(new), "start": lambda: watch.count_start(update.slots, update.state),
              "commit": lambda: update.look("healthy"),
              "roll_back": lambda: update.look("bad")}[step]
    try:
        action()
        said = ""
    except OSError as error:
        said = errno.errorcode.get(error.errno or 0, str(error))
    names = {release.manifest.slot(): "old", new: "new"}
    during = names.get(update.slots.current(), "neither")
    check_folder(update.slots.bundle(update.slots.current()), release.signers)
    left = sorted(path.name for path in update.slots.folder.iterdir() if path.name not in names)
    (disk / "ballast").unlink()
    if step == "roll_back":
        update.look("bad")
    else:
        update.bring(new)
    after = names.get(update.slots.current(), "neither")
    return {"said": said, "during": during, "left": left, "after": after, "state": update.slots.state(new)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
