"""`ranges.hist` in a stream's state folder: written hourly, on request and at the end; gone on with after a restart.

One file of all that was seen since it began: merging it twice would count twice, so `mien calibrate --from-histograms`
takes a device's last file alone. Whoever removes it begins anew. Knows nothing of when faces come.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from runtime.drift.reference import Reference
from runtime.errors import BadInput
from runtime.ranges_file import read_ranges, write_ranges

log = logging.getLogger(__name__)

FILE = "ranges.hist"
EVERY_SECONDS = 3600.0
MOST_ASIDE = 3  # files of other graphs


def names_aside(name: str) -> str:
    """Return the pattern of the names under which a file of histograms is put aside."""
    path = Path(name)
    return rf"{re.escape(path.stem)}-([0-9a-f]{{12}}|damaged){re.escape(path.suffix)}"


class KeptRanges:
    """The file, or nothing where there is no folder for it. Only the worker's thread writes."""

    def __init__(self, path: Path | None):
        """Keep histograms at a path."""
        self._path, self._written, self._faces = path, time.monotonic(), 0

    def facts(self) -> dict[str, Any]:
        """Return where the file is and how many faces it holds, in plain types."""
        return {"file": str(self._path) if self._path else "", "faces": self._faces}

    def load_into(self, reference: Reference) -> None:
        """Go on from what lies there; what is damaged, or another graph's, is put aside, and that is told.

        Aside is `ranges-GRAPH.hist`, from which the graph goes on once it is back: a trial of another model costs none.
        """
        if self._path is None:
            return
        try:
            if self._path.exists():
                try:
                    before = read_ranges(self._path)
                    if reference.go_on_from(before):
                        self._faces = before.images
                        return
                    aside = self._aside(before.graph_sha256)
                    log.warning("expected histograms of this model in %s, found another's; they are %s now", self._path,
                                aside.name)
                except BadInput as error:
                    aside = self._aside("damaged")
                    log.warning("%s; it is %s now, and they begin anew", error, aside.name)
                os.replace(self._path, aside)
            own = self._aside(reference.graph_sha256)
            if own.exists() and reference.go_on_from(read_ranges(own)):
                self._faces = reference.faces
                os.replace(own, self._path)
            self._forget_oldest()
        except (OSError, BadInput) as error:
            log.warning("expected to put histograms aside beside %s, found: %s; they begin anew", self._path, error)

    def _aside(self, what: str) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.stem}-{what[:12]}{self._path.suffix}")

    def _forget_oldest(self) -> None:
        assert self._path is not None
        aside = self._path.parent.glob(f"{glob.escape(self._path.stem)}-*{self._path.suffix}")
        for path in sorted(aside, key=lambda path: path.stat().st_mtime)[:-MOST_ASIDE]:
            path.unlink(missing_ok=True)

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
