"""What mien itself costs around ONNX Runtime: a call's wrapper, the imports, the start, and what the settings save.

python -m runtime.bench.overhead mien-light --record docs/results/engine-overhead-cpu.json

Everything is compared within one run, as medians of paired rounds. Calls and imports are timed by the processor's clock
of their thread, which stands while others compute; the start by the wall's. Knows no other target than the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from runtime.bench.bootstrap import interval_of_median
from runtime.bench.interleave import random_faces
from runtime.bench.record import layout
from runtime.card import Model, load_model
from runtime.durable import write_text
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine, kiosk_options, load_onnxruntime
from runtime.errors import BadModel, MienError
from runtime.machine import describe_machine

ROOT = Path(__file__).parents[2]
PRECISION = "int8"  # the fastest graph: what is added to it weighs most
CALLS = 2000
STARTS = 15
PACE, PACED_CALLS = 0.04, 100  # s between frames of a camera at 25 a second
# `import runtime` loads none of its modules, so the kiosk's whole program is held against the libraries too
IMPORTS = {"numpy_cv2_yaml": "numpy, cv2, yaml", "runtime": "runtime", "kiosk_program": "runtime.stream"}
ASKED = {"wrapper_microseconds": 50.0, "import_ratio": 1.3, "kiosk_import_ratio": 1.3, "start_seconds": 1.5}


def measure(model: Model, calls: int = CALLS, starts: int = STARTS) -> dict[str, Any]:
    """Return all figures of the module's docstring; takes about a minute."""
    wrapper = _wrapper(model, calls)
    with TemporaryDirectory(prefix="mien-bytecode-") as bytecode:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        imports, start = _imports(starts, environment), _start(model, starts, environment)
    found = {"wrapper_microseconds": wrapper["microseconds_added"], "import_ratio": imports["ratio_of_runtime"],
             "kiosk_import_ratio": imports["ratio_of_kiosk_program"], "start_seconds": start["seconds"]["p50"]}
    met = {name: found[name] <= most for name, most in ASKED.items()}
    return {"model": model.card.name, "precision": PRECISION, "asked": ASKED, "met": met, "wrapper": wrapper,
            "imports": imports, "start_to_first_result": start, "spinning": _spinning(model),
            "made_on": describe_machine()}


def _wrapper(model: Model, calls: int) -> dict[str, Any]:
    """Time the same session bare and through the engine, in turns that swap."""
    engine = OnnxRuntimeEngine(model.read_graph(PRECISION), model.card.name, PRECISION, threads=1)
    session, inputs, outputs = engine._session, random_faces(model, 1), [model.card.output_name]
    bare, wrapped = np.zeros(calls), np.zeros(calls)
    for turn in range(-20, calls):
        pair: list[tuple[np.ndarray, Callable[[], Any]]] = [
            (bare, lambda: session.run(outputs, inputs)), (wrapped, lambda: engine.run(inputs))]
        for times, call in pair if turn % 2 else pair[::-1]:
            began = time.thread_time()
            call()
            if turn >= 0:
                times[turn] = 1e6 * (time.thread_time() - began)
    added = wrapped - bare
    return {"calls": calls, "bare_microseconds": _median(bare), "microseconds_added": _median(added),
            "interval": [round(edge, 2) for edge in interval_of_median(added)]}


def _imports(starts: int, environment: dict[str, str]) -> dict[str, Any]:
    """Time imports in fresh processes, from inside: Python's own start is in none of them."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(-1, starts):  # the first fills the caches of files and of bytecode
        for name, modules in IMPORTS.items():
            code = f"import time; t = time.thread_time(); import {modules}; print(time.thread_time() - t)"
            seconds = float(_python(environment, "-c", code).stdout)
            if turn >= 0:
                times[name].append(seconds)
    base = np.array(times["numpy_cv2_yaml"])
    return {"starts": starts, "milliseconds": {name: _median(1000 * np.array(t)) for name, t in times.items()}} | {
        f"ratio_of_{name}": _median(np.array(times[name]) / base) for name in ("runtime", "kiosk_program")}


def _start(model: Model, starts: int, environment: dict[str, str]) -> dict[str, Any]:
    """Time the kiosk program on one golden frame, from the process's start to the event with the face's label."""
    golden = model.read_golden()
    if golden.frames is None:
        raise BadModel(f"expected golden frames in {model.directory}, found faces alone; export the model again")
    seconds, computed = [], []
    with TemporaryDirectory() as folder:
        frame, events = Path(folder) / "frame.png", Path(folder) / "events.jsonl"
        cv2.imwrite(str(frame), golden.frames[0])
        for turn in range(-1, starts):
            events.unlink(missing_ok=True)
            used, began = _computed_by_children(), time.monotonic()  # the events' own clock
            _python(environment, "mien.py", "stream", str(frame), "--model", str(model.directory), "--precision",
                    PRECISION, "--target", "cpu", "--events", str(events))
            said = [json.loads(line) for line in events.read_text().splitlines()]
            read = [event["monotonic"] for event in said if event["event"] == "faces" and event["faces"]]
            if not read:
                raise MienError(f"expected the golden frame's face in the events, found {[e['event'] for e in said]}")
            if turn >= 0:
                seconds.append(read[0] - began)
                computed.append(_computed_by_children() - used)
    return {"starts": starts, "what": "python mien.py stream on one golden frame, to the event with the face's label",
            "seconds": {f"p{q}": round(float(np.percentile(seconds, q)), 3) for q in (50, 90)},
            "processor_seconds_to_the_end": _median(np.array(computed))}


def _computed_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _spinning(model: Model) -> dict[str, Any]:
    """Take 25 frames a second with two threads, which spin between frames or sleep; say how many cores that took."""
    onnxruntime = load_onnxruntime()
    content, inputs, found = model.read_graph(PRECISION), random_faces(model, 1), {}
    for name, spin in (("spinning", True), ("sleeping", False)):
        session = onnxruntime.InferenceSession(content, kiosk_options(onnxruntime, 2, True, spin),
                                               providers=["CPUExecutionProvider"])
        session.run(None, inputs)
        taken, began, used = [], time.perf_counter(), time.process_time()
        for _ in range(PACED_CALLS):
            called = time.perf_counter()
            session.run(None, inputs)
            taken.append(time.perf_counter() - called)
            time.sleep(max(0.0, PACE - taken[-1]))
        found[name] = {"cores_used": round((time.process_time() - used) / (time.perf_counter() - began), 3),
                       "milliseconds": _median(1000 * np.array(taken))}
    return {"threads": 2, "frames_per_second": round(1 / PACE), **found}


def _python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the repository. Raises MienError."""
    child = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
                           env=environment, stdin=subprocess.DEVNULL)
    if child.returncode != 0:
        raise MienError(f"expected python {' '.join(arguments[:2])} to run, found: {child.stderr.strip()[-300:]}")
    return child


def _median(values: np.ndarray) -> float:
    return round(float(np.median(values)), 4)


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, help="a model directory, or a shipped model's name")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    text = layout(measure(load_model(args.model)))
    write_text(args.record, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
