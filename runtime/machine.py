"""Which machine, GPU, versions and commit this is, as records carry them. Knows nothing of what was measured."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What decides how a processor sums int8 products: x86 with AVX2 and none of the VNNI or AMX ones adds pairs in 16 bits,
# which saturate (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html); Arm's do not
INT8_INSTRUCTIONS = ("avx2", "avx512bw", "avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch", "onnx", "tensorrt-rtx")


def describe_machine() -> dict[str, str]:
    """Return processor, system, package versions and commit, as every record carries them."""
    facts = {"processor": _processor(), "int8_instructions": int8_instructions(),
             "system": f"{platform.system()} {platform.machine()}",
             "python": platform.python_version()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts | {"commit": _commit()}


def peak_memory(status: Path = Path("/proc/self/status")) -> int:
    """Return this process's largest resident memory so far, bytes; 0 where the system does not say.

    Linux's VmHWM, not getrusage's ru_maxrss, which counts what the parent held before exec.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def int8_instructions(listing: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's instruction sets for int8 that Linux lists (x86: `flags`, Arm: `Features`), else ""."""
    try:
        lines = listing.read_text().splitlines()
    except OSError:
        return ""
    listed = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    return " ".join(name for name in INT8_INSTRUCTIONS if name in listed)


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
