"""`ranges.hist` in a stream's state folder: written hourly, on request and at the end; gone on with after a restart.

One file of all that was seen since it began: merging it twice would count twice, so `mien calibrate --from-histograms`
takes a device's last file alone. Whoever removes it begins anew. Knows nothing of when faces come.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from runtime.drift.reference import Reference
from runtime.errors import BadInput
from runtime.ranges_file import read_ranges, write_ranges

log = logging.getLogger(__name__)

FILE = "ranges.hist"
EVERY_SECONDS = 3600.0


class KeptRanges:
    """The file, or nothing where there is no folder for it. Only the worker's thread writes."""

    def __init__(self, path: Path | None):
        """Keep histograms at a path."""
        self._path, self._written, self._faces = path, time.monotonic(), 0

    def facts(self) -> dict[str, Any]:
        """Return where the file is and how many faces it holds, in plain types."""
        return {"file": str(self._path) if self._path else "", "faces": self._faces}

    def load_into(self, reference: Reference) -> None:
        """Go on from what lies there; what is damaged, or another graph's, is begun anew, and that is told."""
        if self._path is None or not self._path.exists():
            return
        try:
            before = read_ranges(self._path)
            if not reference.go_on_from(before):
                raise BadInput(f"expected histograms of this model in {self._path}, found another's")
            self._faces = before.images
        except BadInput as error:
            log.warning("%s; they begin anew", error)

    def write_in_time(self, reference: Reference, now: bool = False) -> None:
        """Write where an hour has passed, or now."""
        if now or time.monotonic() - self._written >= EVERY_SECONDS:
            self.write(reference)

    def write(self, reference: Reference) -> None:
        """Write what is new; a full disk is told, and tried again an hour later."""
        self._written = time.monotonic()
        ranges = reference.ranges
        if self._path is None or ranges is None or ranges.images == self._faces:
            return
        try:
            write_ranges(self._path, ranges)
            self._faces = ranges.images
        except (OSError, BadInput) as error:
            log.warning("expected to keep histograms in %s, found: %s; the stream goes on", self._path, error)
