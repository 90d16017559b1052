"""Run the kiosk on a small disk of its own that fills, refuses or loses its inodes, and mends meanwhile.

    unshare --mount python tests/full_disk_process.py FOLDER SOURCE MODEL FAULT

In a mount namespace of its own, as root. The disk mends 1.5 s after the stream called itself degraded, and once it
called itself running again SIGTERM ends it; also where neither came within a minute. Prints one JSON object: the
summary, and the events that were on the disk in the end.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kiosk import events_in  # noqa: E402
from loopback import free_port, state_at  # noqa: E402

from runtime.drift.config import DriftConfig  # noqa: E402
from runtime.sinks.event_files import EventFiles, rotated_files  # noqa: E402
from runtime.stream import StreamConfig, run_stream  # noqa: E402
from runtime.stream_config import MetricsConfig  # noqa: E402

KIBIBYTE = 1024
SIZE = 4096  # KiB; events of minutes: on a fast machine those of the fault would be rotated away before the end


class Disk:
    """A tmpfs with a fault, and the way to mend it."""

    def __init__(self, folder: Path, fault: str):
        self.folder, self.fault = folder, fault
        inodes = ",nr_inodes=4" if fault == "inodes" else ""
        self._mount(f"size={SIZE}k{inodes}")
        if fault == "full":
            (folder / "ballast").write_bytes(bytes((SIZE - 4) * KIBIBYTE))
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


class Warnings(logging.Handler):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Be told."""
        self.told += 1


def mend_and_end(disk: Disk, port: int) -> None:
    """Mend the disk 1.5 s after the stream suffered from it, and end the stream when it is well."""
    wait_for("degraded", port)
    time.sleep(1.5)
    disk.mend()
    wait_for("running", port)
    os.kill(os.getpid(), signal.SIGTERM)


def wait_for(state: str, port: int) -> None:
    """Wait for a state of the stream, a minute at most."""
    deadline = time.monotonic() + 60
    while state_at(port) != state and time.monotonic() < deadline:
        time.sleep(0.02)


def main(folder: Path, source: str, model: str, fault: str) -> None:
    """Run until the disk has failed and mended."""
    disk = Disk(folder, fault)
    handler, metrics = Warnings(), MetricsConfig(free_port())
    logging.getLogger("runtime.sinks.events").addHandler(handler)
    path = folder / "events.jsonl"
    kept = EventFiles(rotate_mb=1.0, keep=2)
    threading.Thread(target=mend_and_end, args=(disk, metrics.port), daemon=True).start()
    summary = run_stream(StreamConfig(source, model=model, faces="haar", events=path, event_files=kept,
                                      metrics=metrics, drift=DriftConfig(enabled=False)))
    events = [e for file in (*rotated_files(path), path) for e in events_in(file)]
    print(json.dumps({"frames": summary.frames, "ended": summary.ended, "lost": summary.lost_events,
                      "told": handler.told,
                      "sequences": [e["seq"] for e in events], "rotated": len(rotated_files(path)),
                      "bytes": sum(f.stat().st_size for f in folder.iterdir()),
                      "health": [[e["state"], e["troubles"]] for e in events if e["event"] == "health"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
