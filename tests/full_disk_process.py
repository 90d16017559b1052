"""Run the kiosk on a small disk of its own that fills, refuses or loses its inodes, and mends meanwhile.

    unshare --mount python tests/full_disk_process.py FOLDER SOURCE MODEL FAULT

In a mount namespace of its own, as root. The disk mends 1.5 s after the log said what was wrong, and 2 s later SIGTERM
ends the stream. Prints one JSON object: the summary, and the events that were on the disk in the end.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kiosk import events_in  # noqa: E402

from runtime.drift.config import DriftConfig  # noqa: E402
from runtime.sinks.event_files import EventFiles, rotated_files  # noqa: E402
from runtime.stream import StreamConfig, run_stream  # noqa: E402

KIBIBYTE = 1024


class Disk:
    """A tmpfs with a fault, and the way to mend it."""

    def __init__(self, folder: Path, fault: str):
        self.folder, self.fault = folder, fault
        inodes = ",nr_inodes=4" if fault == "inodes" else ""
        self._mount(f"size=256k{inodes}")
        if fault == "full":
            (folder / "ballast").write_bytes(bytes(252 * KIBIBYTE))
        elif fault == "read-only":
            self._mount("remount,ro")
        elif fault == "inodes":
            for number in range(3):  # the folder itself is the fourth
                (folder / f"ballast{number}").touch()

    def mend(self) -> None:
        """Take the fault away."""
        if self.fault == "read-only":
            self._mount("remount,rw")
        for ballast in self.folder.glob("ballast*"):
            ballast.unlink()

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder], check=True)


class MendOnWarning(logging.Handler):
    """Mends the disk soon after the event log complained of it."""

    def __init__(self, disk: Disk):
        super().__init__()
        self.disk, self.told = disk, 0

    def emit(self, record: logging.LogRecord) -> None:
        """Be told."""
        self.told += 1
        if self.told == 1:
            threading.Timer(1.5, self.disk.mend).start()
            threading.Timer(3.5, os.kill, (os.getpid(), signal.SIGTERM)).start()


def main(folder: Path, source: str, model: str, fault: str) -> None:
    """Run until the disk has failed and mended."""
    disk = Disk(folder, fault)
    handler = MendOnWarning(disk)
    logging.getLogger("runtime.sinks.events").addHandler(handler)
    path = folder / "events.jsonl"
    kept = EventFiles(rotate_mb=0.06, keep=2)
    # the slow detector, so that the first events are not rotated away before the end
    summary = run_stream(StreamConfig(source, model=model, faces="haar", events=path, event_files=kept,
                                      drift=DriftConfig(enabled=False)))
    events = [e for file in (*rotated_files(path), path) for e in events_in(file)]
    print(json.dumps({"frames": summary.frames, "ended": summary.ended, "lost": summary.lost_events,
                      "told": handler.told,
                      "sequences": [e["seq"] for e in events], "rotated": len(rotated_files(path)),
                      "bytes": sum(f.stat().st_size for f in folder.iterdir()),
                      "health": [[e["state"], e["troubles"]] for e in events if e["event"] == "health"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
