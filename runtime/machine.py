"""Which machine, GPU, versions and commit this is, as records carry them. Knows nothing of what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

from runtime.supervision.power import power_mode, read_text

ROOT = Path(__file__).parents[1]
# What decides how a processor sums int8 products: x86 with AVX2 and none of the VNNI or AMX ones adds pairs in 16 bits,
# which saturate (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html); Arm's do not
INT8_INSTRUCTIONS = ("avx2", "avx512bw", "avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "torch", "onnx", "tensorrt",
            "tensorrt-rtx", "cuda-python", "pycuda")


def describe_machine(root: Path = Path("/")) -> dict[str, str]:
    """Return processor, system, package versions and commit, as every record carries them.

    Where there is one: the GPU or Jetson, its driver, L4T release, CUDA and power mode. `root` stands in for `/`.
    """
    # a tenth of a kiosk's imports, and no kiosk asks
    import platform
    from importlib.metadata import PackageNotFoundError, version

    facts = {"processor": _processor(), "int8_instructions": int8_instructions(),
             "system": f"{platform.system()} {platform.machine()}",
             "python": platform.python_version()}
    board = {"gpu": gpu_name(root), "driver": driver_version(root), "l4t": l4t_release(root),
             "cuda": cuda_version(root), "power_mode": power_mode(root)}
    facts |= {name: value for name, value in board.items() if value}
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
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return f"{names[0]} × {len(names)}" if names else platform.processor()


def _commit() -> str:
    """The checkout's commit, with `+` where files differ from it."""
    import subprocess

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


def gpu_name(root: Path = Path("/")) -> str:
    """Return the Jetson's or the first desktop GPU's name, or ''."""
    board = read_text(root / "proc/device-tree/model")
    if "nvidia" in board.lower():
        return board
    for information in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        if model := re.search(r"^Model:\s*(.+)$", read_text(information), re.M):
            return model[1].strip()
    return ""


def driver_version(root: Path = Path("/")) -> str:
    """Return the NVIDIA kernel driver's version, such as `595.78`, or ''."""
    said = read_text(root / "proc/driver/nvidia/version")
    found = re.search(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)(?:\s|$)", said, re.M)
    return found[1] if found else ""


def l4t_release(root: Path = Path("/")) -> str:
    """Return the Jetson's Linux for Tegra, such as `36.4.3`, or ''.

    The file begins `# R36 (release), REVISION: 4.3, GCID: …`.
    """
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read_text(root / "etc/nv_tegra_release"))
    if not found:
        return ""
    numbers = [found[1], *found[2].rstrip(".").split(".")]
    return ".".join(numbers + ["0"] * (3 - len(numbers)))


def cuda_version(root: Path = Path("/")) -> str:
    """Return the CUDA toolkit's or runtime's version under /usr/local/cuda, or ''."""
    try:
        said = json.loads(read_text(root / "usr/local/cuda/version.json"))["cuda"]["version"]
        return str(said)
    except (ValueError, KeyError, TypeError):
        pass
    libraries = root.glob("usr/local/cuda/targets/*/lib/libcudart.so.*.*")  # a kiosk image may hold the runtime alone
    return max((p.name.removeprefix("libcudart.so.") for p in libraries), default="")
