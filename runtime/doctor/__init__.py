"""What this machine can run, and why not the rest. Looks, never changes.

`root` stands in for `/` in tests; libraries are always this Python's.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from runtime.card import MODELS, load_model
from runtime.doctor.board import USE_GPU, examine_board
from runtime.doctor.finding import Finding, judge
from runtime.doctor.libraries import COMPILE, REACH_GPU, RUN_ON_CPU, examine_libraries
from runtime.doctor.opencv import LOAD_OPENCV, examine_opencv
from runtime.errors import MienError
from runtime.machine import describe_machine, l4t_release

__all__ = ["Finding", "as_dict", "can_stream", "examine"]

LOAD_MODELS = "load the shipped models"
OPENED = ("mien-face", "mien-light")  # by a stream that is told nothing else


def examine(root: Path = Path("/")) -> list[Finding]:
    """Look at models, libraries, OpenCV and the machine, and conclude which targets can run."""
    found = [_shipped_models(), *examine_libraries(bool(l4t_release(root))), *examine_opencv(), *examine_board(root)]
    return found + [_can_run(found, target) for target in COMPILE]


def as_dict(findings: list[Finding], root: Path = Path("/")) -> dict[str, Any]:
    """Return plain values for JSON."""
    targets = {target: _of(findings, _run_on(target)).works for target in COMPILE}
    return {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system(),
            "facts": describe_machine(root), "targets": {"cpu": can_stream(findings)} | targets,
            "findings": [vars(f) for f in findings]}


def can_stream(findings: list[Finding]) -> bool:
    """Is everything there that `mien stream` needs on the CPU?"""
    return all(_of(findings, needed).works for needed in (LOAD_MODELS, RUN_ON_CPU, LOAD_OPENCV))


def _of(findings: list[Finding], what: str) -> Finding:
    return next(f for f in findings if f.what == what)


def _run_on(target: str) -> str:
    return f"run {target} engines (--target {target})"


def _can_run(findings: list[Finding], target: str) -> Finding:
    """A target runs where its compiler loads, a GPU is there and a binding reaches it; the first lack is the answer."""
    for needed in (USE_GPU, COMPILE[target], REACH_GPU):
        finding = _of(findings, needed)
        if not finding.works:
            return Finding(_run_on(target), False, f"it cannot {needed}", finding.fix)
    return Finding(_run_on(target), True, "a compiler, a GPU and a binding")


def _shipped_models() -> Finding:
    found = []
    for directory in sorted(p.parent for p in MODELS.glob("*/card.json")):
        try:
            model = load_model(directory)
            for graph in model.card.graphs:
                model.read_graph(graph)
            found.append(f"{model.card.name} ({', '.join(model.card.graphs)})")
        except MienError as error:
            return Finding(LOAD_MODELS, False, str(error), "pip install --force-reinstall mien")
    missing = [name for name in OPENED if not (MODELS / name / "card.json").is_file()]
    return judge(LOAD_MODELS, not missing, "; ".join(found) if not missing else
                 f"no {' and no '.join(missing)} under {MODELS}",
                 "pip install --force-reinstall mien")
