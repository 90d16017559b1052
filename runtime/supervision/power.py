"""Power, heat and throttling, as Linux shows them under /sys: INA3221 rails, nvpmodel's mode, alerts, counters.

`root` stands in for `/` in tests. Knows nothing of what was running; a Jetson's rails measure the module, not the
carrier board or the supply. The paths were read in NVIDIA's and the kernel's documentation; no board has been asked.

https://docs.nvidia.com/jetson/archives/r36.3/DeveloperGuide/SD/PlatformPowerAndPerformance/JetsonOrinNanoSeriesJetsonOrinNxSeriesAndJetsonAgxOrinSeries.html
https://www.kernel.org/doc/Documentation/hwmon/ina3221.rst
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

WHOLE_MODULE = "VDD_IN"  # Orin Nano and NX measure their own supply; on AGX the rails are summed
SAMPLE_SECONDS = 0.05  # INA3221 averages over tens of milliseconds: asking faster brings the same numbers


@dataclass(frozen=True)
class Rail:
    """One measured supply: files with its voltage in mV and its current in mA."""

    name: str
    millivolts: Path
    milliamperes: Path

    def watts(self) -> float:
        """Read both files. Raises OSError, ValueError."""
        return float(self.millivolts.read_text()) * float(self.milliamperes.read_text()) / 1e6


def find_rails(root: Path = Path("/")) -> tuple[Rail, ...]:
    """Return the labelled channels of every INA3221; channel 7 is a sum of shunts, and NC is not connected."""
    rails = []
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if read_text(chip / "name") != "ina3221":
            continue
        for channel in (1, 2, 3):
            label = read_text(chip / f"in{channel}_label")
            if label and label != "NC":
                rails.append(Rail(label, chip / f"in{channel}_input", chip / f"curr{channel}_input"))
    return tuple(rails)


def power_mode(root: Path = Path("/")) -> str:
    """Return nvpmodel's mode, such as `MAXN_SUPER (2)`; '' where there is none."""
    found = re.search(r"pmode:0*(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    if not found:
        return ""
    number = found[1]
    name = re.search(rf"^<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+)", read_text(root / "etc/nvpmodel.conf"), re.M)
    return f"{name[1]} ({number})" if name else f"mode {number}"


def throttling(root: Path = Path("/")) -> tuple[str, ...]:
    """Return what slows this machine now, or has slowed it since it started; empty where nothing shows.

    Jetson: thermal alerts that are raised, over-current events. x86: the first core's thermal events.
    """
    counted = throttle_counts(root)
    heat = counted.pop("heat", 0)
    found = [f"{kind} is raised" for kind in thermal_alerts(root)]
    found += [f"{count} over-current events ({name})" for name, count in counted.items() if count]
    return (*found, *([f"{heat} thermal events of the first core"] if heat else []))


def thermal_alerts(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the thermal alerts that are raised now, by the name of their cooling device (Jetson)."""
    devices = sorted(root.glob("sys/class/thermal/cooling_device*"))
    kinds = [(read_text(device / "type"), read_text(device / "cur_state")) for device in devices]
    return tuple(kind for kind, state in kinds if kind.endswith("-alert") and state not in ("", "0"))


def throttle_counts(root: Path = Path("/")) -> dict[str, int]:
    """Return how often this machine was slowed since it started: `oc1` … over-current (Jetson), `heat` (x86)."""
    files = [(counter.name.partition("_")[0], counter)
             for counter in sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"))]
    files.append(("heat", root / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"))
    counts: dict[str, int] = {}
    for name, path in files:
        if (text := read_text(path)).isdigit():
            counts[name] = counts.get(name, 0) + int(text)
    return counts


def hottest(root: Path = Path("/")) -> tuple[str, float] | None:
    """Return the hottest thermal zone's name and °C; None where no zone can be read."""
    zones = []
    for zone in root.glob("sys/class/thermal/thermal_zone*"):
        degrees = read_text(zone / "temp")
        if degrees.lstrip("-").isdigit():
            zones.append((int(degrees) / 1000, read_text(zone / "type")))
    return (max(zones)[1], max(zones)[0]) if zones else None


def read_text(path: Path) -> str:
    """Return a small file's text without the device tree's closing zero; '' where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:  # a zone of a part that is switched off answers EAGAIN
        return ""


@dataclass
class PowerMeter:
    """Mean power of every rail while a block runs; nothing is sampled where there are no rails.

    with PowerMeter(find_rails()) as meter: …; meter.watts()
    """

    rails: tuple[Rail, ...]
    _samples: list[dict[str, float]] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> PowerMeter:
        if self.rails:
            self._sample()  # so that the shortest block has one
            self._thread = threading.Thread(target=self._run, name="power-meter", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._done.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        try:
            self._samples.append({rail.name: rail.watts() for rail in self.rails})
        except (OSError, ValueError):  # the chip was busy: one sample less
            return

    def watts(self) -> dict[str, float]:
        """Return the mean of each rail, and `total`: the whole module's rail, else the sum; {} without a sample."""
        if not self._samples:
            return {}
        means = {name: sum(s[name] for s in self._samples) / len(self._samples) for name in self._samples[0]}
        return means | {"total": means.get(WHOLE_MODULE, sum(means.values()))}
