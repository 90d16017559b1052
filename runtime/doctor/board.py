"""Which machine this is: JetPack, GPU, driver, CUDA, power mode, throttling, cameras, disk. Looks, never changes.

`root` stands in for `/` in tests. What a JetPack should carry comes from `engines/devices.yaml`.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from runtime.doctor.finding import Finding, judge
from runtime.engines.devices import platform_of, version_of
from runtime.machine import cuda_version, driver_version, find_gpu, gpu_name, l4t_release
from runtime.supervision.power import find_rails, hottest, power_mode, throttling

USE_GPU = "use an NVIDIA GPU"
ENOUGH_DISK = 200 << 20  # events, an engine and an update slot


def examine_board(root: Path, python: str = platform.python_version()) -> list[Finding]:
    """Look at the machine, not at its Python packages; `python` is the version that would import TensorRT."""
    jetson = bool(l4t_release(root))
    return [*(_jetpack(root, python) if jetson else ()), _gpu(root), _cuda(root, jetson),
            *(_power(root) if jetson else ()), _throttling(root), _camera(root), _disk(root)]


def _jetpack(root: Path, python: str) -> list[Finding]:
    """Compare this Jetson's release with the table, and this Python with the one JetPack's packages are for."""
    release = l4t_release(root)
    row, named = platform_of(release)
    flash = "flash JetPack 6.2 with NVIDIA's SDK Manager, then mien doctor again"
    if row is None:
        return [Finding("know this JetPack", False, f"L4T {release}, which devices.yaml does not have",
                        "mien doctor --devices shows those that it has")]
    what = f"{row.platform} (L4T {release}{'' if named else ', a release beside those in the table'})"
    if row.too_old:
        return [Finding("know this JetPack", False, f"{what}: {row.too_old}", flash)]
    wanted = version_of(row.python)[:2]
    return [
        Finding("know this JetPack", True, f"{what}: TensorRT {row.tensorrt}, CUDA {row.cuda}, {row.status}"),
        judge("import JetPack's TensorRT", version_of(python)[:2] == wanted,
              f"Python {python}; JetPack's packages are for {row.python}",
              f"python{row.python} -m venv --system-site-packages .venv"),
    ]


def _gpu(root: Path) -> Finding:
    found = gpu_name(root) or find_gpu(root)
    driver = driver_version(root)
    return judge(USE_GPU, bool(found), f"{found}, driver {driver}" if driver else found or "no NVIDIA driver",
                 "install NVIDIA's driver, or stay on --target cpu")


def _cuda(root: Path, jetson: bool) -> Finding:
    """TensorRT brings its own CUDA on a desktop; a Jetson takes JetPack's, which a bare L4T image lacks."""
    found = cuda_version(root)
    return judge("find CUDA under /usr/local/cuda", bool(found), found or "none",
                 "sudo apt install nvidia-jetpack" if jetson else "TensorRT-RTX needs none; else NVIDIA's toolkit")


def _power(root: Path) -> list[Finding]:
    mode, rails = power_mode(root), find_rails(root)
    return [
        judge("know the power mode", bool(mode), mode or "no nvpmodel status", "sudo nvpmodel -q"),
        judge("measure power", bool(rails), ", ".join(r.name for r in rails) or "no INA3221 under /sys/class/hwmon",
              "give the service /sys read-only"),
    ]


def _throttling(root: Path) -> Finding:
    causes, heat = throttling(root), hottest(root)
    warmth = f"{heat[0]} at {heat[1]:.0f} °C" if heat else "no thermal zone"
    return judge("run at full speed", not causes, "; ".join((*causes, warmth)),
                 "cool it, give it a stronger supply, or a lower mode: sudo nvpmodel -m N")


def _camera(root: Path) -> Finding:
    devices = sorted(str(p.relative_to(root)) for p in (root / "dev").glob("video*"))
    return judge("see a camera", bool(devices), ", ".join(f"/{d}" for d in devices) or "no /dev/video*",
                 "plug one in, or stream a file or a folder")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    return judge("write to the disk", free > ENOUGH_DISK, f"{free / 2**30:.1f} GiB free", "free 200 MiB")
