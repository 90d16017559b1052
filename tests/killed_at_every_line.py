"""Publish engines, killed with SIGKILL before every line that the cache executes; print what was found afterwards.

    python tests/killed_at_every_line.py FOLDER SCENARIO

A process of its own: it forks once a line, and each fork traces itself and kills itself. Prints one JSON object.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cached_engines import COMMAND, builder, no_build, some_key  # noqa: E402

from runtime import durable  # noqa: E402
from runtime.engines import cache as cache_module  # noqa: E402
from runtime.engines import device_secret, engine_file, regular_file  # noqa: E402
from runtime.engines.cache import EngineCache  # noqa: E402

TRACED = {module.__file__ for module in (durable, cache_module, device_secret, engine_file, regular_file)}
OLD, NEW = some_key(b"old graph"), some_key(b"new graph")
OLD_ENGINE, NEW_ENGINE = b"old" * 700, b"new" * 700


def die_before(line: int, action: Callable[[], object]) -> None:
    """Run an action in this process, which does not survive its `line`-th traced line."""
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    action()


def first_ever(cache: EngineCache) -> None:
    """No folder, no secret."""


def beside_another(cache: EngineCache) -> None:
    """Another engine is there, and room for both."""
    cache.get(OLD, builder(OLD_ENGINE), COMMAND)


def in_place_of_a_directory(cache: EngineCache) -> None:
    """Something that a file cannot replace stands in the engine's place."""
    beside_another(cache)
    place = cache.folder / f"{NEW.digest()}.engine"
    place.mkdir()
    (place / "file").touch()


def over_a_damaged_one(cache: EngineCache) -> None:
    """The engine is there, but cut short."""
    beside_another(cache)
    os.truncate(cache.get(NEW, builder(NEW_ENGINE), COMMAND).path, 300)


SCENARIOS = {f.__name__: f for f in (first_ever, beside_another, in_place_of_a_directory, over_a_damaged_one)}


def look(cache: EngineCache) -> tuple[str, list[str]]:
    """Say what a service would find of the new engine, and what is wrong with it or with the old one."""
    wrong = []
    if cache.folder.is_dir() and (old := cache.find(OLD)) is not None and old.engine != OLD_ENGINE:
        wrong.append("the old engine changed")
    try:
        new = cache.find(NEW)
    except cache_module.BadInput:
        return "refused", wrong
    if new is not None and new.engine != NEW_ENGINE:
        wrong.append("the new engine is not what was compiled")
    return "absent" if new is None else "whole", wrong


def mend(cache: EngineCache, had_old: bool) -> list[str]:
    """Prepare as after a restart, and say what is wrong then."""
    wrong = []
    if cache.get(NEW, builder(NEW_ENGINE), COMMAND).engine != NEW_ENGINE:
        wrong.append("the restart gave another engine")
    if had_old and cache.get(OLD, no_build, COMMAND).engine != OLD_ENGINE:
        wrong.append("the restart lost the old engine")
    with cache._alone():  # a hit leaves the sweeping to whoever compiles next
        pass
    expected = {".lock", f"{NEW.digest()}.engine"} | ({f"{OLD.digest()}.engine"} if had_old else set())
    left = {p.name for p in cache.folder.iterdir()} ^ expected
    left |= {p.name for p in cache.folder.parent.iterdir()} ^ {"engines", "engines.key"}
    return wrong + [f"left over: {name}" for name in sorted(left)]


def main(place: Path, scenario: str) -> dict[str, Any]:
    """Kill at line 1, 2, 3 … until the action ends alive."""
    logging.disable()
    found: dict[str, int] = {}
    wrong: list[str] = []
    line = 0
    while True:
        line += 1
        folder = place / str(line) / "engines"
        cache = EngineCache(folder)
        SCENARIOS[scenario](cache)
        had_old = (folder / f"{OLD.digest()}.engine").exists()
        child = os.fork()
        if child == 0:
            die_before(line, lambda c=cache: c.get(NEW, builder(NEW_ENGINE), COMMAND))  # type: ignore[misc]
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status not in (0, -signal.SIGKILL):
            wrong.append(f"line {line}: the child ended with {status}")
        state, seen = look(cache)
        found[state] = found.get(state, 0) + 1
        wrong += [f"line {line}: {what}" for what in seen + mend(cache, had_old)]
        shutil.rmtree(place / str(line))
        if status == 0:
            return {"lines": line - 1, "found": found, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
