"""`drift-camera.json` and `drift-engine.json` in a stream's state folder: what drift's watches have come to.

First values, baselines, evidence and alarms, over any number of starts; each under what it is of, so that another
engine or camera has its own, and the first goes on once it is back. Numbers about faces, no face. Two files: the world
can be learned anew without a word of the engine being forgotten. Knows nothing of when samples come.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import Model
from runtime.config import build
from runtime.drift.baseline import OF_RANGES, hashes_of
from runtime.drift.quantities import ENGINE, WORLD
from runtime.drift.watch import Past, Watch
from runtime.durable import write_text
from runtime.errors import BadConfig, BadInput
from runtime.machine import driver_version, gpu_name, int8_instructions

log = logging.getLogger(__name__)

CAMERA_FILE, ENGINE_FILE = "drift-camera.json", "drift-engine.json"
VERSION = 1
EVERY = 50  # values between two writes while something learns
LEARNING_SECONDS = 600.0  # or so long, where something is new: a power cut costs no more
SECONDS = 3600.0  # between two writes of evidence alone
MOST = 16  # of what something was learned of; what was not met for longest is forgotten
MAX_BYTES = 1 << 22  # seven quantities of 500 values are 70 kB
PLACE = "face_side"  # of the camera alone


@dataclass(frozen=True)
class _File:
    of: dict[str, dict[str, Past]]
    version: int = VERSION


@dataclass(frozen=True)
class _Owners:
    of: dict[str, Any]
    version: int


def engine_words(model: Model, graph: str, target: str, compiled_sha256: str) -> str:
    """Return what rounds an engine's answers: its graph, the compiled bytes, and what runs them here."""
    # of the target alone: a start that tried a GPU in vain has imported more than one that did not
    libraries = [f"{name} {getattr(sys.modules[name], '__version__', '')}"
                 for name in ("onnxruntime", target.replace("-", "_")) if name in sys.modules]
    words = ("engine", model.card.graphs[graph].sha256, target, compiled_sha256, *libraries, gpu_name(),
             driver_version(), int8_instructions())
    return " ".join(word for word in words if word)


def learned_of(model: Model, engine: str, camera: str) -> dict[str, str]:
    """Return what each quantity is of; `engine` and `camera` are names of those."""
    fp32, int8 = hashes_of(model)
    world = {name: f"{camera} {fp32}" + (f" {int8}" if name in OF_RANGES else "") for name in WORLD}
    return {ENGINE: engine, **world, PLACE: camera}


def names_of(file: str) -> str:
    """Return the pattern of a file's name, and of what was put aside beside it."""
    return rf"{re.escape(Path(file).stem)}(-damaged)?\.json"


class LearnedBaselines:
    """One file, or nothing where there is no folder for it. Only the worker's thread reads and writes."""

    def __init__(self, path: Path | None):
        """Keep at a path what watches have come to."""
        self._path = path
        self._of: dict[str, str] = {}
        self._all: dict[str, dict[str, Past]] = {}
        self._values: dict[str, int] = {}  # when last written, as the next two
        self._learning: set[str] | None = None
        self._written = time.monotonic()
        self._refused = False  # by the disk

    @property
    def file(self) -> str:
        """Where it is; '' for nowhere."""
        return str(self._path) if self._path else ""

    def read(self, of: Mapping[str, str]) -> dict[str, Past]:
        """Return what earlier processes' watches of these came to, by quantity. `of` is `learned_of`'s.

        What is damaged is put aside and told; so is another version's, which a rollback comes back to. A file that
        cannot be read is left as it is, and this process keeps nothing there.
        """
        self._of = dict(of)
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            if why := self._take(content):
                aside = self._path.with_name(f"{self._path.stem}-damaged.json")
                os.replace(self._path, aside)
                self._refused = bool(self._all)  # to be written soon
                log.warning("expected what was learned in %s, found: %s; it is %s now, and what is missing is learned "
                            "anew", self._path, why, aside.name)
        except FileNotFoundError:
            return {}
        except OSError as error:
            log.warning("expected what was learned in %s, found: %s; it is left alone, and nothing is kept there",
                        self._path, error)
            self._path, self._all = None, {}
            return {}
        return {name: self._all[owner][name] for name, owner in of.items() if name in self._all.get(owner, {})}

    def _take(self, content: bytes) -> str:
        """Take each owner's that is whole; returns what is wrong with the others, or ''."""
        wrong = ""
        try:
            values = json.loads(content)
            if len(content) > MAX_BYTES or not isinstance(values, dict) or values.get("version") != VERSION:
                return f"expected version {VERSION} in at most {MAX_BYTES} bytes, found something else"
            owners = build(_Owners, values, self._path.name if self._path else "").of
        except (ValueError, RecursionError, BadConfig) as error:
            return str(error)[:200]
        for owner, one in owners.items():
            try:
                self._all.update(build(_File, {"of": {owner: one}}, "it").of)
            except (BadConfig, RecursionError) as error:
                wrong = wrong or str(error)[:200]
        return wrong

    def write_in_time(self, watches: Mapping[str, Watch], now: bool = False) -> None:
        """Write what is new: now, or as often as it is worth it."""
        if self._path is None:
            return
        values = {name: watch.values for name, watch in watches.items()}
        learning = {name for name, watch in watches.items() if watch.learning and watch.values}
        new = {name: count - self._values.get(name, 0) for name, count in values.items()}
        passed = time.monotonic() - self._written
        due = any(new.values()) and (
            now or learning != self._learning or passed >= (LEARNING_SECONDS if learning else SECONDS)
            or any(new[name] >= EVERY for name in learning))
        if not due and not (self._refused and (now or passed >= SECONDS)):
            return
        self._values, self._learning, self._written = values, learning, time.monotonic()
        for name, watch in watches.items():
            owner = self._of[name]
            self._all[owner] = {**self._all.pop(owner, {}), name: watch.past}  # the last met is the last
        self._all = dict(list(self._all.items())[-MOST:])
        try:
            write_text(self._path, json.dumps(dataclasses.asdict(_File(self._all)), allow_nan=False) + "\n")
            self._refused = False
        except (OSError, BadInput) as error:
            self._refused = True
            log.warning("expected to keep what was learned in %s, found: %s; the stream goes on", self._path, error)


def camera_words(*settings: object) -> str:
    """Return a name of what decides how large faces are; not the settings themselves, which may hold a password."""
    return "camera " + hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
