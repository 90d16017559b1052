"""What one engine takes by itself: memory, asked in a process of its own, and power, where the board measures it.

Knows nothing of other engines: interleaved runs would share both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.bench.interleave import Entrant, random_faces
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.engines.onnxruntime_engine import load_onnxruntime
from runtime.engines.tensorrt_api import load_compiler
from runtime.errors import MienError
from runtime.machine import peak_memory
from runtime.supervision.power import PowerMeter, find_rails

ROOT = Path(__file__).parents[2]
POWER_SECONDS = 3.0  # some sixty samples of a rail


@dataclass(frozen=True)
class Opening:
    """What is opened to be measured: a model directory, precision, target, threads, and the largest batch."""

    directory: str
    precision: str
    target: str
    threads: int
    batch: int


def memory_alone(opening: Opening) -> dict[str, float]:
    """Return MiB that a fresh process takes for the open engine and, at its peak, for running the batch.

    Both are above what the process held with every library loaded. On a Jetson the GPU's share of the one memory is not
    in it. Raises MienError.
    """
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
               "from runtime.bench.alone import _child; _child(sys.argv[1])", json.dumps(asdict(opening))]
    child = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if child.returncode != 0:
        said = child.stderr.strip().splitlines()
        raise MienError(f"expected to measure the memory of {opening.precision} on {opening.target}, found: "
                        f"{said[-1] if said else f'exit code {child.returncode}'}")
    measured: dict[str, float] = json.loads(child.stdout)
    return measured


def _child(text: str) -> None:
    opening = Opening(**json.loads(text))
    model = load_model(Path(opening.directory))
    load_compiler(opening.target) if opening.target.startswith("tensorrt") else load_onnxruntime()
    before = _resident()
    engine = open_engine(model, opening.precision, opening.target, opening.threads)
    opened = _resident()
    engine.run(random_faces(model, opening.batch))
    print(json.dumps({"opened_mib": _mib(opened - before), "peak_mib": _mib(max(peak_memory(), opened) - before)}))


def _resident() -> int:
    """Bytes of this process in memory now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _mib(size: int) -> float:
    return round(size / 2**20, 1)


def power_alone(entrant: Entrant, batch: int, root: Path = Path("/"), seconds: float = POWER_SECONDS) -> dict[str, Any]:
    """Return mean watts at rest and at work, rail by rail, and millijoules a face; {} where nothing measures power.

    The energy is all that the module draws while it works, its rest included.
    """
    rails = find_rails(root)
    if not rails:
        return {}
    with PowerMeter(rails) as resting:
        time.sleep(seconds / 3)
    faces, inputs = 0, random_faces(entrant.model, batch)
    with PowerMeter(rails) as working:
        began = time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            entrant.engine.run(inputs)
            faces += batch
    rest, work = resting.watts(), working.watts()
    if not rest or not work:
        return {}
    return {"watts_at_rest": _rounded(rest), "watts": _rounded(work),
            "millijoules_per_face": round(1000 * work["total"] * taken / faces, 3)}


def _rounded(watts: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in watts.items()}
