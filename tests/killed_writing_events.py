"""Write, rotate and remove events, killed with SIGKILL before each line that the log executes, or at random moments.

    python tests/killed_writing_events.py FOLDER KILLS

A process of its own: it forks once a kill. Each child goes on where the last one was killed; a pipe says what was
acknowledged before the kill. Prints one JSON object.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from runtime import durable  # noqa: E402
from runtime.sinks import event_files, events  # noqa: E402
from runtime.sinks.event_files import EventFiles, rotated_files  # noqa: E402
from runtime.sinks.events import EventLog  # noqa: E402

TRACED = {module.__file__ for module in (durable, event_files, events)}
POLICY = EventFiles(rotate_mb=0.001, keep=0, fsync="never")  # a kill takes nothing from the kernel; a power cut would
WRITES = 12  # enough for a rotation


def die_before(line: int) -> None:
    """Have this process die before its `line`-th traced line."""
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


def write_until_killed(path: Path, line: int, told: int) -> None:
    """Be the child: say each number that was acknowledged."""
    die_before(line)
    log = EventLog(path, POLICY)
    for _ in range(WRITES):
        if log.write("faces", {"padding": "x" * 20}):
            os.write(told, f"{log._sequence - 1}\n".encode())
    log.close()


def lines_of_one_run(folder: Path) -> int:
    """Return how many traced lines a run has that is not killed: those are the moments to choose from."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in TRACED:
            return None
        count += event == "line"
        return trace

    reading, told = os.pipe()
    sys.settrace(trace)
    log = EventLog(folder / "measured.jsonl", POLICY)
    for _ in range(WRITES):
        log.write("faces", {"padding": "x" * 20})
    log.close()
    sys.settrace(None)
    os.close(reading)
    os.close(told)
    return count


def main(folder: Path, kills: int) -> dict[str, Any]:
    """Kill so often, then read everything there is."""
    logging.disable()
    (folder / "other").mkdir()
    moments = lines_of_one_run(folder / "other")
    path, generator = folder / "events.jsonl", random.Random(0)
    acknowledged: list[int] = []
    killed = 0
    for _ in range(kills):
        line = generator.randrange(1, moments + 1)  # drawn here: each child would draw the same
        reading, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_until_killed(path, line, told)
            os._exit(0)
        os.close(told)
        with os.fdopen(reading) as said:
            acknowledged += [int(line) for line in said]
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    EventLog(path, POLICY).close()  # mends what the last kill tore
    lines = [line for file in (*rotated_files(path), path) for line in file.read_text().splitlines()]
    found = [json.loads(line)["seq"] for line in lines]
    return {"kills": killed, "moments": moments, "events": len(found), "acknowledged": len(acknowledged),
            "lost": sorted(set(acknowledged) - set(found)), "twice": len(found) - len(set(found)),
            "in_order": found == sorted(found), "files": len(rotated_files(path)) + 1}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
