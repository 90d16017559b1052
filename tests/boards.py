"""Made-up machines as a root folder: the files that a Jetson, a desktop with an NVIDIA GPU or a kiosk would have.

Their layout is NVIDIA's and the kernel's documentation's; none was copied off a board.
"""

from __future__ import annotations

from pathlib import Path

NVPMODEL = """# FORMAT: < POWER_MODEL ID=id_num NAME=mode_name >
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=0 >
"""


def write(path: Path, text: str) -> None:
    """Write a small file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_jetson(root: Path, release: str = "R36 (release), REVISION: 4.3") -> Path:
    """An Orin Nano with JetPack's CUDA, in its fastest mode, cool, with measured rails."""
    write(root / "etc/nv_tegra_release", f"# {release}, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: …\n")
    write(root / "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    write(root / "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  R\n")
    write(root / "usr/local/cuda/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}')
    write(root / "var/lib/nvpmodel/status", "pmode:0002\n")
    write(root / "etc/nvpmodel.conf", NVPMODEL)
    write(root / "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(root / "sys/class/thermal/thermal_zone0/temp", "51000\n")
    write(root / "sys/class/thermal/cooling_device0/type", "cpu-throttle-alert\n")
    write(root / "sys/class/thermal/cooling_device0/cur_state", "0\n")
    write(root / "sys/class/hwmon/hwmon1/name", "soctherm_oc\n")
    write(root / "sys/class/hwmon/hwmon1/oc3_event_cnt", "0\n")
    make_rails(root, {1: ("VDD_IN", 5000, 1800), 2: ("VDD_CPU_GPU_CV", 4900, 400), 3: ("VDD_SOC", 4900, 300)})
    return root


def make_rails(root: Path, channels: dict[int, tuple[str, int, int]], chip: str = "hwmon0") -> None:
    """An INA3221: channel → label, mV, mA, and the sum of shunts that is no rail."""
    folder = root / "sys/class/hwmon" / chip
    write(folder / "name", "ina3221\n")
    write(folder / "in7_label", "sum of shunt voltages\n")
    write(folder / "in7_input", "9\n")
    for number, (label, millivolts, milliamperes) in channels.items():
        write(folder / f"in{number}_label", f"{label}\n")
        write(folder / f"in{number}_input", f"{millivolts}\n")
        write(folder / f"curr{number}_input", f"{milliamperes}\n")
