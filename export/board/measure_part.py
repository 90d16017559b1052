"""One part of the report in a process of its own: what crashes, hangs or loses the GPU there costs that part alone.

Knows the parts by name and module only, so that what one of them imports is loaded for it alone.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.board.private import without_private
from export.board.record import PartName
from export.board.task import Measure, Measured, Task
from runtime.command_line import missing_package
from runtime.errors import MienError, Unavailable
from runtime.machine import ROOT
from runtime.supervision.die_with_parent import die_with_parent

MEASURES: dict[PartName, str] = {
    "gpu tests": "gpu_tests:run_gpu_tests", "builds": "builds:build_here",
    "ahead of time": "ahead_of_time:build_ahead_of_time", "inspector": "layers:inspect_layers",
    "numerics": "numerics:compare_with_pytorch", "oracle": "oracle:ask_oracle", "bench": "timings:time_engines",
}
GONE_SECONDS = 5.0  # a killed process ends in milliseconds, but where nobody reaps orphans it would be waited for


def measure_part(name: PartName, task: Task, environment: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    """Return a `record.Part` as plain values, and what the part found or None; raises for nothing that it does."""
    began = time.monotonic()
    measured = _in_child(name, task, environment)
    found, lines = measured.found or None, measured.failures or measured.missing
    status = "failed" if measured.failures or (lines and found) else "not possible here" if lines else "done"
    if not lines and not found:
        status, lines = "failed", ["expected results, found none"]
    return ({"name": name, "status": status, "why": without_private("; ".join(dict.fromkeys(lines))),
             "seconds": round(time.monotonic() - began, 1)}, found)


def _in_child(name: PartName, task: Task, environment: Mapping[str, str]) -> Measured:
    with tempfile.TemporaryDirectory(prefix="mien-board-") as folder:
        answer, said = Path(folder) / "answer.json", Path(folder) / "said"
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
                   "from export.board.measure_part import _child; _child(*sys.argv[1:])",
                   name, json.dumps(asdict(task)), str(answer), str(os.getpid())]
        own = {**environment, "TMPDIR": folder}  # a part that is killed cannot remove its temporary folders itself
        with open(said, "wb") as words, subprocess.Popen(
                command, env=own, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT,
                start_new_session=True) as child:
            try:
                child.wait(task.timeout_seconds)
            except subprocess.TimeoutExpired:
                return Measured(failures=[f"expected an end within {task.timeout_seconds:.0f} s, found it still "
                                          "running and stopped it; raise --timeout"])
            finally:
                _stop(child)
        if answer.is_file():
            return Measured(**json.loads(answer.read_text(encoding="utf-8")))
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        last = said.read_text(errors="replace").strip().splitlines()[-1:]
        return Measured(failures=[f"expected it to end, found it dead by {how}: {''.join(last) or 'silent'}"])


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Kill a part with all that it started itself (a compiler, pytest) and see them gone: nobody writes any more."""
    deadline = time.monotonic() + GONE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            time.sleep(0.01)


def _child(name: PartName, task: str, answer: str, parent: str) -> None:
    """The child's whole life: measure, and leave the answer whole or not at all."""
    die_with_parent(int(parent))  # nobody waits for what a killed report asked
    text = json.dumps(asdict(attempt(name, Task(**json.loads(task)))), allow_nan=False)
    Path(answer).with_suffix(".tmp").write_text(text, encoding="utf-8")
    Path(answer).with_suffix(".tmp").rename(answer)


def attempt(name: PartName, task: Task) -> Measured:
    """Measure one part in this process; whatever it raises is its answer."""
    module, _, function = MEASURES[name].partition(":")
    try:
        measure: Measure = getattr(importlib.import_module(f"export.board.{module}"), function)
        return measure(task)
    except ImportError as error:
        return Measured(missing=[str(missing_package(error))])
    except Unavailable as error:
        return Measured(missing=[str(error)])
    except MienError as error:
        return Measured(failures=[str(error)])
    except Exception as error:  # a defect in one part is a line in the record, not the end of the others
        return Measured(failures=[f"{type(error).__name__}: {error}"])
