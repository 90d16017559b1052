"""Which machine, GPU, versions and commit this is, as records carry them. Knows nothing of what was measured."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch", "onnx", "tensorrt-rtx")


def describe_machine() -> dict[str, str]:
    """Return processor, system, package versions and commit, as every record carries them."""
    facts = {"processor": _processor(), "system": f"{platform.system()} {platform.machine()}",
             "python": platform.python_version()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts | {"commit": _commit()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return f"{names[0]} × {len(names)}" if names else platform.processor()


def _commit() -> str:
    """The checkout's commit, with `+` where files differ from it."""
    if not (ROOT / ".git").exists():
        return "not a checkout"
    try:
        described = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"], capture_output=True,
                                   text=True, check=False)
    except OSError:  # no git here
        return "unknown"
    return described.stdout.strip() or "unknown"


def find_gpu(root: Path) -> str:
    """Return what the Jetson's device tree or the desktop's driver says of the GPU, or ''."""
    for path in (root / "proc/device-tree/model", root / "proc/driver/nvidia/version"):
        try:
            text = path.read_text(errors="replace").strip("\0\n ")
        except OSError:
            continue
        if "nvidia" in text.lower():
            return text.splitlines()[0]
    return ""
