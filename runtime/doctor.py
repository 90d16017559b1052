"""What this machine can run, and why not the rest. Looks, never changes; knows packages by name without loading them.

`root` stands in for `/` in tests.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from runtime.card import MODELS, load_model
from runtime.errors import MienError
from runtime.machine import find_gpu


@dataclass(frozen=True)
class Finding:
    """One thing this machine can or cannot do; `fix` is the one command or step that would change a no."""

    what: str
    works: bool
    found: str
    fix: str = ""


def examine(root: Path = Path("/")) -> list[Finding]:
    """Look at libraries, OpenCV, cameras, GPU, models and disk."""
    return [
        _shipped_models(),
        _package("run on the CPU (ONNX Runtime)", "onnxruntime", "pip install mien"),
        *_opencv(),
        _cameras(root),
        _package("train (PyTorch)", "torch", 'pip install "mien[train]"'),
        _package("export and calibrate (onnx, onnxsim)", "onnxsim", 'pip install "mien[export]"'),
        _package("compile for desktop GPUs (TensorRT-RTX)", "tensorrt_rtx", 'pip install "mien[rtx]"'),
        _package("compile for Jetson and servers (TensorRT)", "tensorrt",
                 "on a Jetson: a venv with --system-site-packages; elsewhere pip install tensorrt"),
        _gpu(root),
        Finding("run TensorRT engines", False, "this version compiles engines but runs on the CPU only",
                "use --target cpu"),
        _disk(root),
    ]


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """Return plain values for JSON."""
    return {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system(),
            "findings": [vars(f) for f in findings]}


def can_stream(findings: list[Finding]) -> bool:
    """Is everything there that `mien stream` needs on the CPU?"""
    return findings[0].works and findings[1].works


def _package(what: str, module: str, fix: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(what, False, f"no module {module}", fix)
    names = _packages().get(module, [module])
    try:
        return Finding(what, True, f"{names[0]} {importlib.metadata.version(names[0])}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(what, True, f"{module}, version unknown")


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    """Module → distributions; it reads every installed package's file list, so once is enough."""
    return importlib.metadata.packages_distributions()


def _shipped_models() -> Finding:
    what = "load the shipped models"
    found = []
    for directory in sorted(p.parent for p in MODELS.glob("*/card.json")):
        try:
            model = load_model(directory)
            for graph in model.card.graphs:
                model.read_graph(graph)
            found.append(f"{model.card.name} ({', '.join(model.card.graphs)})")
        except MienError as error:
            return Finding(what, False, str(error), "pip install --force-reinstall mien")
    if not found:
        return Finding(what, False, f"no model under {MODELS}", "pip install --force-reinstall mien")
    return Finding(what, True, "; ".join(found))


def _opencv() -> list[Finding]:
    build = cv2.getBuildInformation()

    def built_with(key: str) -> bool:
        lines = [line for line in build.splitlines() if line.strip().lower().startswith(key.lower() + ":")]
        return bool(lines) and "YES" in lines[0].upper()

    gui = next((line for line in build.splitlines() if line.strip().startswith("GUI:")), "GUI: NONE")
    has_gui = "NONE" not in gui.upper()
    # an attribute that OpenCV 5 lacks, in its stubs too
    has_haar = hasattr(cv2, "CascadeClassifier")
    pip_gui = "pip uninstall opencv-python-headless; pip install 'opencv-python<5'"
    checks: list[tuple[str, bool, str, str]] = [
        ("find faces with Haar cascades", has_haar, f"OpenCV {cv2.__version__}",
         "pip install 'opencv-python-headless<5', or --faces yunet.onnx"),
        ("show a window (--view)", has_gui, gui.strip(), pip_gui),
        ("read V4L2 cameras", built_with("v4l/v4l2"), "OpenCV's build information", "install a wheel with V4L2"),
        ("read video files (FFmpeg)", built_with("FFMPEG"), "OpenCV's build information",
         "install a wheel with FFmpeg"),
        ("read GStreamer pipelines through OpenCV", built_with("GStreamer"), "OpenCV's build information",
         "JetPack's own OpenCV has it; pip's wheels do not"),
    ]
    return [Finding(what, works, found, "" if works else fix) for what, works, found, fix in checks]


def _cameras(root: Path) -> Finding:
    devices = sorted(str(p.relative_to(root)) for p in (root / "dev").glob("video*"))
    if devices:
        return Finding("see a camera", True, ", ".join(f"/{d}" for d in devices))
    return Finding("see a camera", False, "no /dev/video*", "plug one in, or stream a file or a folder")


def _gpu(root: Path) -> Finding:
    found = find_gpu(root)
    if found:
        return Finding("use an NVIDIA GPU", True, found)
    return Finding("use an NVIDIA GPU", False, "no NVIDIA driver", "install NVIDIA's driver, or stay on --target cpu")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    enough = free > 200 << 20  # events, an engine and an update slot
    return Finding("write to the disk", enough, f"{free / 2**30:.1f} GiB free", "" if enough else "free 200 MiB")
