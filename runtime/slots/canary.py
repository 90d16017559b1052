"""A new slot is tried before it runs: engines prepared, golden vectors, N frames of its own source, p95 in budget.

The slot's own mien does all of it, in a process of its own, beside the one that runs. Knows nothing of accuracy: the
gate has judged that where the model was made.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle.manifest import CONFIG
from runtime.config import read_yaml
from runtime.errors import BAD_INPUT, MienError
from runtime.machine import find_gpu
from runtime.slots.slot_runtime import last_line, make_venv, run_in
from runtime.stream_config import MetricsConfig, MqttConfig, StreamConfig, load_config

PREPARE_SECONDS = 3600.0  # a Jetson compiles an engine in minutes; a bundle has two
WAITING = ("capture",)  # of the pipeline's stages: how long the camera took, not we


@dataclass(frozen=True)
class Trial:
    """How a slot is tried: frames of `source` ('': the configured one), each within `budget_ms` at p95 (0: any)."""

    frames: int = 60
    source: str = ""
    budget_ms: float = 0.0
    seconds: float = 300.0


def prepare(slot: Path, caches: Path, every: bool) -> str:
    """Make the slot's environment, compile and prove its engines with it. Raises MienError.

    every: before a switch, on the CPU too: each graph that is there. Otherwise at a start, where the CPU needs nothing:
    the stream proves its graph itself, and falls back from one that is broken.
    """
    made = make_venv(slot)
    if not every and _is_for_cpu(slot / "bundle" / CONFIG):
        return f"{made}; the CPU needs nothing prepared"
    arguments = ["prepare", "--config", f"bundle/{CONFIG}"]
    code, _, said = run_in(slot, [*arguments, *(["--every"] if every else [])], PREPARE_SECONDS, _cache(caches))
    if every and code == BAD_INPUT and "unrecognized arguments" in said:  # a mien from before that flag is in the slot
        code, _, said = run_in(slot, arguments, PREPARE_SECONDS, _cache(caches))
    if code:
        raise MienError(f"expected {slot.name} to prepare its engines, found exit {code}: {last_line(said, 'silence')}")
    return f"{made}; {last_line(said, '')}"


def canary(slot: Path, caches: Path, trial: Trial) -> str:
    """Let the slot's own mien judge it, and return what it measured. Raises MienError with the reason."""
    arguments = ["slot", "try", f"bundle/{CONFIG}", "--frames", str(trial.frames), "--budget-ms", str(trial.budget_ms),
                 "--json", *(["--source", trial.source] if trial.source else [])]
    code, out, said = run_in(slot, arguments, trial.seconds, _cache(caches))
    if code:
        raise MienError(f"expected {slot.name} to pass its canary, found exit {code}: {last_line(said, 'silence')}")
    try:
        found = json.loads(out)
        return f"{found['frames']} frames, p95 {found['p95_ms']:.1f} ms, golden {found['golden_difference']:.2g}"
    except (ValueError, KeyError, TypeError) as error:
        raise MienError(f"expected figures of {slot.name}'s canary, found {out[:80]!r}; deploy a newer "
                        "bundle") from error


def try_config(path: Path, trial: Trial) -> dict[str, Any]:
    """Stream some frames as configured, but tell nobody; the slot's mien runs this. Raises MienError, and what a
    stream raises: Departure where an engine is not PyTorch's, Unavailable without a camera."""
    from runtime.stream import run_stream

    summary = run_stream(quiet(load_config(path), trial))
    p95 = sum(times["p95"] for stage, times in summary.stage_milliseconds.items() if stage not in WAITING)
    found = {"frames": summary.frames, "faces": summary.faces, "p95_ms": round(p95, 3),
             "golden_difference": summary.golden_difference, "golden_bound": summary.golden_bound,
             "damaged_frames": summary.damaged_frames, "not_finite": summary.not_finite, "source": summary.source}
    if summary.frames < trial.frames:
        raise MienError(f"expected {trial.frames} frames of {summary.source}, found {summary.frames}; look at the "
                        "camera")
    if summary.not_finite:
        raise MienError(f"expected finite answers, found {summary.not_finite} that were not; the model is broken")
    if trial.budget_ms and p95 > trial.budget_ms:
        raise MienError(f"expected at most {trial.budget_ms:g} ms a frame at p95, found {p95:.1f}; is the power mode "
                        "right? mien doctor")
    return found


def quiet(config: StreamConfig, trial: Trial) -> StreamConfig:
    """Return a configuration that writes nothing and serves nobody, for so many frames."""
    return dataclasses.replace(
        config, source=trial.source or config.source, max_frames=trial.frames, events=None, video=None, view=False,
        metrics=MetricsConfig(), mqtt=MqttConfig(),
        supervision=dataclasses.replace(config.supervision, state=None))


def _is_for_cpu(config: Path) -> bool:
    """Read only `target`, for the rest may be newer; of what cannot be read the slot's own mien says why."""
    try:
        target = read_yaml(config).get("target", "auto")
    except (MienError, AttributeError):
        return False
    return target == "cpu" or (target == "auto" and not find_gpu(Path("/")))


def _cache(caches: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(caches)}
