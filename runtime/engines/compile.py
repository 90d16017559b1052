"""ONNX bytes → an NVIDIA engine, in a child process: the compiler may crash, hang or eat memory, the caller may not.

The child is watched: its time, its memory, its progress. Knows nothing of model directories;
`export/engine_from_onnx.py` adds files and reports.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.durable import write_bytes
from runtime.engines.inspector import ask_inspector
from runtime.engines.tensorrt_builder import Built, Watch, build_engine
from runtime.errors import BadInput, BadModel, MienError, Unavailable
from runtime.machine import peak_memory

ROOT = Path(__file__).parents[2]
TICK = 0.05  # seconds between two looks at the child
AHEAD_OF_TIME = "the inspector opens the engine, which needs the GPU it was built for"
NOT_ASKED = "nobody asked the inspector"
MOST_WORKSPACE = 1 << 40  # bytes; more than a GPU has, and far from where TensorRT's 64 bits end


@dataclass(frozen=True)
class CompileRequest:
    """What to compile for: a target, a GPU (None: the one here), batch sizes and limits.

    gpu: also several, `sm86,sm89`, or `all`. batches: three equal ones fix the shape. timing_cache: a file that earlier
    builds' kernel timings are read from and left in, '' for none; TensorRT-RTX keeps none. inspect: ask the engine
    inspector too, where the GPU is here, which opens the engine and takes its time out of the same time-out.
    """

    target: str
    gpu: str | None
    input_name: str
    face_shape: tuple[int, int, int]
    batches: tuple[int, int, int] = (1, 4, 64)  # smallest, usual, largest
    workspace_bytes: int = 512 << 20  # an Orin Nano shares 4–8 GB between CPU and GPU
    timeout_seconds: float = 1800.0  # a first build on a Jetson takes minutes
    memory_bytes: int = 0  # the child may hold so much memory, GPU memory not counted; 0 for no limit
    timing_cache: str = ""
    inspect: bool = False


@dataclass(frozen=True)
class Compiled:
    """An engine with the compiler's word on it, the time and the child's peak memory.

    inspected: the engine inspector's JSON, '' where it could not run; not_inspected says why.
    """

    built: Built
    seconds: float
    peak_bytes: int
    inspected: str = ""
    not_inspected: str = AHEAD_OF_TIME


def compile_onnx(content: bytes, request: CompileRequest, watch: Watch | None = None) -> Compiled:
    """Compile in a child process; watch hears (phase, steps done, steps in all) while it works.

    Raises BadInput, BadModel (parser), Unavailable (library, GPU), MienError (crash, time-out, memory).
    """
    _check(request)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mien-compile-") as folder:
        place = Path(folder)
        (place / "graph.onnx").write_bytes(content)
        (place / "request.json").write_text(json.dumps(asdict(request)))
        with _started(place) as child:
            stopped = _wait(child, request, place, watch)
        finished = (place / "built.json").is_file()  # then only the inspector was in the way
        if stopped and not finished:
            raise MienError(stopped)
        if child.returncode != 0 and not finished:
            _raise_for(child, request, place)
        facts = json.loads((place / "built.json").read_text())
        peak = facts.pop("peak_bytes")
        built = Built(**{**facts, "content": (place / "engine").read_bytes(), "gpus": tuple(facts["gpus"]),
                         "warnings": tuple(facts["warnings"]), "timing_cache": (place / "timings").read_bytes()})
        inspected, not_inspected = ("", f"the inspector: {stopped}") if stopped else _inspection(child, place)
    if built.timing_cache:
        write_bytes(Path(request.timing_cache), built.timing_cache)
    return Compiled(built, time.monotonic() - began, peak, inspected, not_inspected)


def _check(request: CompileRequest) -> None:
    """Refuse numbers that a compiler would stumble over, or that would stop every build. Raises BadInput."""
    smallest, usual, largest = request.batches
    if not 1 <= smallest <= usual <= largest:
        raise BadInput(f"expected batches that grow from at least 1, found {smallest}, {usual}, {largest}; give the "
                       "smallest, the usual and the largest")
    if not 1 <= request.workspace_bytes <= MOST_WORKSPACE or request.memory_bytes < 0:
        raise BadInput(f"expected bytes that the build may take, found {request.workspace_bytes} for a workspace and "
                       f"{request.memory_bytes} for memory; give 1 to {MOST_WORKSPACE} for the one, and 0 for memory "
                       "without a limit")
    if not request.timeout_seconds > 0:
        raise BadInput(f"expected a time-out above 0 s, found {request.timeout_seconds:g}; say how long it may take")


@contextmanager
def _started(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the child; whatever happens here, it does not outlive this block."""
    # a compiler nobody waits for must not go on, nor one that is still importing its library
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
               f"from runtime.supervision.die_with_parent import die_with_parent; die_with_parent({os.getpid()}); "
               "from runtime.engines.compile import _child; sys.exit(_child(sys.argv[1]))", str(place)]
    # its words go to a file: nobody empties a pipe while we wait
    with open(place / "said", "wb") as said, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said,
                                                              stderr=subprocess.STDOUT) as child:
        try:
            yield child
        finally:
            child.kill()


def _wait(child: subprocess.Popen[bytes], request: CompileRequest, place: Path, watch: Watch | None) -> str:
    """Wait for the child's end, passing on its progress. Returns why it must stop, '' where it ended by itself."""
    deadline = time.monotonic() + request.timeout_seconds
    limit, told = request.memory_bytes, 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(TICK)
        told = _pass_on(place / "progress", told, watch)
        if child.returncode is not None:
            return ""
        peak = peak_memory(Path(f"/proc/{child.pid}/status")) if limit else 0
        if peak > limit:
            return (f"expected the {request.target} build to keep within {limit >> 20} MiB, found it at "
                    f"{peak >> 20} MiB and stopped it; raise --memory")
        if time.monotonic() > deadline:
            return (f"expected the {request.target} build to end in {request.timeout_seconds:g} s, found it still "
                    "running and stopped it; raise --timeout")


def _pass_on(progress: Path, told: int, watch: Watch | None) -> int:
    """Tell `watch` the newest whole line of progress behind `told` bytes; returns how far it was read."""
    if watch is None or not progress.is_file():
        return told
    with open(progress, "rb") as file:
        file.seek(told)
        lines = file.read().split(b"\n")
    if len(lines) > 1:
        watch(*json.loads(lines[-2]))
    return told + sum(len(line) + 1 for line in lines[:-1])


def _raise_for(child: subprocess.Popen[bytes], request: CompileRequest, place: Path) -> None:
    """Turn a failed child into the error it met, or say how it died."""
    message_file = place / "error.json"
    if message_file.is_file():
        kind, message = json.loads(message_file.read_text())
        kinds = {"BadInput": BadInput, "BadModel": BadModel, "Unavailable": Unavailable}
        raise kinds.get(kind, MienError)(message)
    if request.timing_cache:  # a damaged one may have killed it, and must not kill every build after this
        Path(request.timing_cache).unlink(missing_ok=True)
    raise MienError(f"expected the {request.target} compiler to end, found it dead by {_how_it_died(child, place)}")


def _how_it_died(child: subprocess.Popen[bytes], place: Path) -> str:
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
    said = (place / "said").read_text(errors="replace").strip().splitlines()
    return f"{how}: {said[-1] if said else 'silent'}"


def _inspection(child: subprocess.Popen[bytes], place: Path) -> tuple[str, str]:
    """Return the inspector's JSON, or '' and why there is none: a crash in it does not cost the engine."""
    if child.returncode != 0:
        return "", f"the inspector died by {_how_it_died(child, place)}"
    told, why = json.loads((place / "inspected.json").read_text())
    return told, why


def _child(folder: str) -> int:
    """The child's whole life: read the request, build, write the engine and the facts, inspect it where asked to."""
    place = Path(folder)
    values: dict[str, Any] = json.loads((place / "request.json").read_text())
    request = CompileRequest(**values)
    shapes: list[Sequence[int]] = [[batch, *request.face_shape] for batch in request.batches]
    timings = Path(request.timing_cache)
    kept = request.target == "tensorrt" and request.timing_cache
    try:
        with open(place / "progress", "w", buffering=1) as progress:
            def write(phase: str, done: int, steps: int) -> None:
                with contextlib.suppress(OSError, ValueError):  # a full disk must not raise inside the compiler
                    progress.write(json.dumps([phase, done, steps]) + "\n")

            built = build_engine((place / "graph.onnx").read_bytes(), request.target, request.gpu,
                                 {request.input_name: (shapes[0], shapes[1], shapes[2])}, request.workspace_bytes,
                                 (timings.read_bytes() if timings.is_file() else b"") if kept else None, write)
    except MienError as error:
        said = str(error)
        if "OutOfMemory" in said or "workspace" in said:  # for a layer
            said = (f"{said.rpartition(';')[0]}; it may take {request.workspace_bytes >> 20} MiB of scratch memory: "
                    "raise --workspace, or build for smaller batches")
        (place / "error.json").write_text(json.dumps([type(error).__name__, said]))
        return error.exit_code
    facts = asdict(built)
    (place / "engine").write_bytes(facts.pop("content"))
    (place / "timings").write_bytes(facts.pop("timing_cache"))
    facts["peak_bytes"] = peak_memory()
    (place / "facts").write_text(json.dumps(facts))
    (place / "facts").rename(place / "built.json")  # whole, or not there
    told, why = "", AHEAD_OF_TIME if request.gpu else NOT_ASKED
    if request.gpu is None and request.inspect:
        try:
            told, why = ask_inspector(built.content, request.target, {request.input_name: shapes[1]}), ""
        except MienError as error:
            why = str(error)
    (place / "inspected.json").write_text(json.dumps([told, why]))
    return 0
