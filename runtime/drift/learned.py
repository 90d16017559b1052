"""`drift-learned.json` in a stream's state folder: what stands for missing baselines, over any number of starts.

A quantity's first values, and its bins once they were enough; each under what it was learned of, so that another engine
or camera learns its own, and the first goes on once it is back. Numbers about faces, no face. Whoever removes the file
has everything learned anew. Knows nothing of when samples come.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import Model
from runtime.config import build
from runtime.drift.baseline import OF_RANGES, hashes_of
from runtime.drift.bins import Bins
from runtime.drift.quantities import ENGINE, WORLD
from runtime.drift.watch import LEARN, Watch
from runtime.durable import write_text
from runtime.errors import BadConfig, BadInput
from runtime.machine import driver_version, gpu_name, int8_instructions

log = logging.getLogger(__name__)

FILE = "drift-learned.json"
VERSION = 1
EVERY = 50  # values between two writes while something learns: a power cut costs no more
AGAIN_SECONDS = 3600.0  # after a disk that refused; sooner where more was learned, and at the end
MOST = 16  # of what something was learned of; what was not met for longest is forgotten
MAX_BYTES = 1 << 20  # eight quantities of 500 values are 80 kB
PLACE = "face_side"  # of the camera alone


@dataclass(frozen=True)
class Learned:
    """What one quantity's watch had: its first values, or the bins that they became."""

    first: tuple[float, ...] = ()
    bins: Bins | None = None

    def __post_init__(self) -> None:
        if len(self.first) >= LEARN or (self.first and self.bins):
            raise ValueError(f"expected bins, or fewer than {LEARN} values, found {len(self.first)} values")


@dataclass(frozen=True)
class _File:
    of: dict[str, dict[str, Learned]]
    version: int = VERSION


def engine_words(model: Model, graph: str, target: str, compiled_sha256: str) -> str:
    """Return what rounds an engine's answers: its graph, the compiled bytes, and what runs them here."""
    # of the target alone: a start that tried a GPU in vain has imported more than one that did not
    libraries = [f"{name} {sys.modules[name].__version__}" for name in ("onnxruntime", target.replace("-", "_"))
                 if name in sys.modules]
    words = ("engine", model.card.graphs[graph].sha256, target, compiled_sha256, *libraries, gpu_name(),
             driver_version(), int8_instructions())
    return " ".join(word for word in words if word)


def learned_of(model: Model, engine: str, camera: str) -> dict[str, str]:
    """Return what each quantity is learned of; `engine` and `camera` are names of those."""
    fp32, int8 = hashes_of(model)
    world = {name: f"{camera} {fp32}" + (f" {int8}" if name in OF_RANGES else "") for name in WORLD}
    return {ENGINE: engine, **world, PLACE: camera}


class LearnedBaselines:
    """The file, or nothing where there is no folder for it. Only the worker's thread reads and writes."""

    def __init__(self, path: Path | None):
        """Keep what is learned at a path."""
        self._path = path
        self._of: dict[str, str] = {}
        self._all: dict[str, dict[str, Learned]] = {}
        self._written: dict[str, int] = {}
        self._again_at = math.inf  # after a disk that refused

    def facts(self) -> dict[str, Any]:
        """Return where the file is, in plain types."""
        return {"file": str(self._path) if self._path else ""}

    def read(self, of: Mapping[str, str]) -> dict[str, Learned]:
        """Return what was learned of these by earlier processes, by quantity; a damaged file is told and left.

        `of` is `learned_of`'s.
        """
        self._of = dict(of)
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            values = json.loads(content)
            if len(content) > MAX_BYTES or not isinstance(values, dict) or values.get("version") != VERSION:
                raise BadConfig(f"expected version {VERSION} in at most {MAX_BYTES} bytes, found something else")
            self._all = build(_File, values, FILE).of
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, BadConfig) as error:
            log.warning("expected what was learned in %s, found: %s; it is learned anew", self._path, error)
            return {}
        return {name: self._all[owner][name] for name, owner in of.items() if name in self._all.get(owner, {})}

    def write_in_time(self, watches: Mapping[str, Watch], now: bool = False) -> None:
        """Write where a quantity learned enough that is new, or now."""
        if self._path is None:
            return
        have = {name: LEARN if isinstance(learned, Bins) else len(learned)
                for name, watch in watches.items() if (learned := watch.learned) is not None}
        new = {name: count - self._written.get(name, 0) for name, count in have.items()}
        due = any(count and (now or count >= EVERY or have[name] == LEARN) for name, count in new.items())
        again = self._again_at < math.inf and (now or time.monotonic() >= self._again_at)
        if not due and not again:
            return
        self._written, self._again_at = have, math.inf
        for name in have:
            learned = watches[name].learned
            one = Learned(bins=learned) if isinstance(learned, Bins) else Learned(first=learned or ())
            owner = self._of[name]
            self._all[owner] = {**self._all.pop(owner, {}), name: one}  # the last met is the last
        self._all = dict(list(self._all.items())[-MOST:])
        try:
            write_text(self._path, json.dumps(dataclasses.asdict(_File(self._all)), allow_nan=False) + "\n")
        except (OSError, BadInput) as error:
            self._again_at = time.monotonic() + AGAIN_SECONDS
            log.warning("expected to keep what was learned in %s, found: %s; the stream goes on", self._path, error)


def camera_words(*settings: object) -> str:
    """Return a name of what decides how large faces are; not the settings themselves, which may hold a password."""
    return "camera " + hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
