"""Heat and throttling as Prometheus reads them, from made-up /sys trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.sinks.metrics import _heat
from runtime.supervision.power import thermal_alerts, throttle_counts

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def values(root: Path) -> list[float]:
    return [sample.value for family in _heat(root) for sample in family.samples]


def test_a_board_that_shows_nothing_reads_zero(tmp_path: Path) -> None:
    assert values(tmp_path) == [0, 0, 0]
    assert (thermal_alerts(tmp_path), throttle_counts(tmp_path)) == ((), {})


def test_alerts_events_and_the_hottest_zone_are_told(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/thermal/cooling_device0/type", "cpu-throttle-alert")
    write(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "1")
    write(tmp_path, "sys/class/thermal/cooling_device1/type", "pwm-fan")
    write(tmp_path, "sys/class/thermal/cooling_device1/cur_state", "3")
    write(tmp_path, "sys/class/hwmon/hwmon1/oc1_event_cnt", "2")
    write(tmp_path, "sys/class/hwmon/hwmon1/oc3_event_cnt", "5")
    write(tmp_path, "sys/class/hwmon/hwmon2/oc1_event_cnt", "1")
    write(tmp_path, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "4")
    write(tmp_path, "sys/class/thermal/thermal_zone0/type", "tj-thermal")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "61500")
    assert values(tmp_path) == [1, 12, 61.5]
    assert thermal_alerts(tmp_path) == ("cpu-throttle-alert",)
    assert throttle_counts(tmp_path) == {"oc1": 3, "oc3": 5, "heat": 4}
