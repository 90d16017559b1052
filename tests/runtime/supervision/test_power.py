"""Power, heat and throttling, read from made-up /sys trees."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from boards import make_jetson, make_rails, write

from runtime.supervision.power import PowerMeter, find_rails, hottest, power_mode, throttling


def test_rails_are_those_that_are_labelled_and_connected(tmp_path: Path) -> None:
    make_rails(tmp_path, {1: ("VDD_GPU_SOC", 5000, 100), 2: ("NC", 0, 0), 3: ("VIN_SYS_5V0", 5000, 200)})
    write(tmp_path / "sys/class/hwmon/hwmon5/name", "nvme\n")
    write(tmp_path / "sys/class/hwmon/hwmon5/in1_label", "none of ours\n")
    assert [rail.name for rail in find_rails(tmp_path)] == ["VDD_GPU_SOC", "VIN_SYS_5V0"]


def test_power_is_voltage_times_current(tmp_path: Path) -> None:
    make_rails(tmp_path, {1: ("VDD_IN", 5000, 1800)})
    assert find_rails(tmp_path)[0].watts() == pytest.approx(9.0)


def measured(root: Path) -> dict[str, float]:
    with PowerMeter(find_rails(root)) as meter:
        pass
    return meter.watts()


def test_the_modules_own_rail_is_the_total(tmp_path: Path) -> None:
    make_rails(tmp_path, {1: ("VDD_IN", 5000, 1800), 2: ("VDD_SOC", 5000, 400)})
    assert measured(tmp_path)["total"] == pytest.approx(9.0)


def test_without_it_the_rails_of_every_chip_are_summed(tmp_path: Path) -> None:
    make_rails(tmp_path, {1: ("VDD_GPU_SOC", 5000, 1000), 2: ("VDD_CPU_CV", 5000, 400)})
    make_rails(tmp_path, {1: ("VIN_SYS_5V0", 5000, 600)}, chip="hwmon3")
    assert measured(tmp_path)["total"] == pytest.approx(10.0)


def test_the_mean_follows_what_changes_while_it_measures(tmp_path: Path) -> None:
    make_rails(tmp_path, {1: ("VDD_IN", 5000, 1000)})
    with PowerMeter(find_rails(tmp_path)) as meter:
        write(tmp_path / "sys/class/hwmon/hwmon0/curr1_input", "3000\n")
        time.sleep(0.4)
    assert 5.0 < meter.watts()["VDD_IN"] < 15.0  # the first sample saw 5 W, the later ones 15


def test_a_rail_that_cannot_be_read_costs_samples_not_the_run(tmp_path: Path) -> None:
    make_rails(tmp_path, {1: ("VDD_IN", 5000, 1000)})
    rails = find_rails(tmp_path)
    (tmp_path / "sys/class/hwmon/hwmon0/curr1_input").unlink()
    with PowerMeter(rails) as meter:
        pass
    assert meter.watts() == {}


def test_a_machine_without_rails_measures_nothing(tmp_path: Path) -> None:
    assert find_rails(tmp_path) == () and measured(tmp_path) == {}


@pytest.mark.parametrize(("status", "wanted"), [
    ("pmode:0002", "MAXN_SUPER (2)"), ("pmode:0000", "15W (0)"), ("pmode:0007", "mode 7"), ("", "")])
def test_the_power_mode_has_nvpmodels_name(tmp_path: Path, status: str, wanted: str) -> None:
    make_jetson(tmp_path)
    write(tmp_path / "var/lib/nvpmodel/status", status)
    assert power_mode(tmp_path) == wanted


def test_a_cool_machine_is_not_throttled(tmp_path: Path) -> None:
    assert throttling(make_jetson(tmp_path)) == ()


@pytest.mark.parametrize(("file", "text", "shown"), [
    ("sys/class/thermal/cooling_device0/cur_state", "1", "cpu-throttle-alert is raised"),
    ("sys/class/hwmon/hwmon1/oc3_event_cnt", "37", "37 over-current events (oc3)"),
    ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "4", "4 thermal events of the first core")])
def test_what_slows_a_machine_is_named(tmp_path: Path, file: str, text: str, shown: str) -> None:
    write(make_jetson(tmp_path) / file, f"{text}\n")
    assert throttling(tmp_path) == (shown,)


def test_a_fan_that_turns_is_no_throttling(tmp_path: Path) -> None:
    make_jetson(tmp_path)
    write(tmp_path / "sys/class/thermal/cooling_device1/type", "pwm-fan\n")
    write(tmp_path / "sys/class/thermal/cooling_device1/cur_state", "3\n")
    assert throttling(tmp_path) == ()


def test_the_hottest_zone_is_in_degrees(tmp_path: Path) -> None:
    make_jetson(tmp_path)
    write(tmp_path / "sys/class/thermal/thermal_zone4/type", "tj-thermal\n")
    write(tmp_path / "sys/class/thermal/thermal_zone4/temp", "63625\n")
    write(tmp_path / "sys/class/thermal/thermal_zone5/type", "cv0-thermal\n")  # switched off: no temp
    assert hottest(tmp_path) == ("tj-thermal", 63.625)


def test_no_zone_is_no_temperature(tmp_path: Path) -> None:
    assert hottest(tmp_path) is None
