"""ONNX bytes → an NVIDIA engine, in a child process: the compiler may crash, hang or eat memory, the caller may not.

Knows nothing of model directories; `export/engine_from_onnx.py` adds files and reports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.engines.tensorrt_api import Built, build_engine
from runtime.errors import BAD_INPUT, UNAVAILABLE, BadModel, MienError, Unavailable
from runtime.machine import peak_memory

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CompileRequest:
    """What to compile for: a target, a GPU (None: the one here), batch sizes and limits."""

    target: str
    gpu: str | None
    input_name: str
    face_shape: tuple[int, int, int]
    batches: tuple[int, int, int] = (1, 4, 64)  # smallest, usual, largest
    workspace_bytes: int = 512 << 20  # an Orin Nano shares 4–8 GB between CPU and GPU
    timeout_seconds: float = 1800.0  # a first build on a Jetson takes minutes


@dataclass(frozen=True)
class Compiled:
    """An engine with the compiler's word on it, the time and the child's peak memory."""

    built: Built
    seconds: float
    peak_bytes: int


def compile_onnx(content: bytes, request: CompileRequest) -> Compiled:
    """Compile in a child process. Raises BadModel (parser), Unavailable (library), MienError (crash, time-out)."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mien-compile-") as folder:
        place = Path(folder)
        (place / "graph.onnx").write_bytes(content)
        (place / "request.json").write_text(json.dumps(asdict(request)))
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
                   "from runtime.engines.compile import _child; sys.exit(_child(sys.argv[1]))", folder]
        try:
            child = subprocess.run(command, timeout=request.timeout_seconds, capture_output=True, text=True,
                                   errors="replace", stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired as error:
            raise MienError(f"expected the {request.target} build to end in {request.timeout_seconds:.0f} s, found it "
                            "still running and stopped it; raise --timeout") from error
        if child.returncode != 0:
            _raise_for(child, request.target, place)
        facts = json.loads((place / "built.json").read_text())
        peak = facts.pop("peak_bytes")
        built = Built(content=(place / "engine").read_bytes(), **{**facts, "warnings": tuple(facts["warnings"])})
    return Compiled(built, time.monotonic() - began, peak)


def _raise_for(child: subprocess.CompletedProcess[str], target: str, place: Path) -> None:
    """Turn a failed child into the error it met, or say how it died."""
    message_file = place / "error.txt"
    if message_file.is_file():
        kinds = {BAD_INPUT: BadModel, UNAVAILABLE: Unavailable}
        raise kinds.get(child.returncode, MienError)(message_file.read_text())
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
    said = (child.stderr or child.stdout).strip().splitlines()
    raise MienError(f"expected the {target} compiler to end, found it dead by {how}: {said[-1] if said else 'silent'}")


def _child(folder: str) -> int:
    """The child's whole life: read the request, build, write the engine and the facts."""
    place = Path(folder)
    try:
        values = json.loads((place / "request.json").read_text())
        shapes: list[Sequence[int]] = [[batch, *values["face_shape"]] for batch in values["batches"]]
        profile = {values["input_name"]: (shapes[0], shapes[1], shapes[2])}
        built = build_engine((place / "graph.onnx").read_bytes(), values["target"], values["gpu"], profile,
                             values["workspace_bytes"])
    except MienError as error:
        (place / "error.txt").write_text(str(error))
        return error.exit_code
    facts = asdict(built)
    (place / "engine").write_bytes(facts.pop("content"))
    facts["peak_bytes"] = peak_memory()
    (place / "built.json").write_text(json.dumps(facts))
    return 0
