"""The systemd units that ship, judged by systemd itself."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatchcase
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml

import mien
from export.fleet.broker import kiosk_yaml
from export.fleet.site import Kiosk, Site

UNITS = Path(__file__).resolve().parent.parent.parent / "runtime" / "units"
SERVICES = sorted(UNITS.glob("*.service"))
EXPOSURE = 3.0  # of 10, by systemd-analyze's own weights


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if not found:
        pytest.skip("no systemd-analyze: this test asks systemd about the units (apt install systemd)")
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with programs that exist here: systemd-analyze looks for them."""
    for unit in UNITS.iterdir():
        text = re.sub(r"=/opt/mien/\S+/bin/(mien|python)", "=/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def test_systemd_finds_nothing_to_complain_of(analyze: str, units: Path) -> None:
    files = [path for path in sorted(units.iterdir()) if path.suffix in (".service", ".timer", ".socket")]
    done = subprocess.run([analyze, "verify", "--man=no", "--recursive-errors=no", *files], capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and len(files) == 8


@pytest.mark.parametrize("name", [path.name for path in SERVICES])
def test_a_service_is_little_exposed(analyze: str, units: Path, name: str) -> None:
    done = subprocess.run([analyze, "security", "--offline=yes", "--json=short", units / name], capture_output=True,
                          text=True, check=False)
    json.loads(done.stdout)
    told = subprocess.run([analyze, "security", "--offline=yes", "--no-pager", units / name], capture_output=True,
                          text=True, check=False).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert exposure and float(exposure[1]) <= EXPOSURE


@pytest.mark.parametrize("name", [path.name for path in SERVICES if path.name != "mien-restart@.service"])
def test_what_a_service_runs_is_a_verb(name: str) -> None:
    commands = re.findall(r"^Exec\w+=.*?(?:/mien|-m mien) (.*)$", (UNITS / name).read_text(), flags=re.MULTILINE)
    assert commands
    for command in commands:
        mien.make_parser().parse_args(shlex.split(command))


def test_the_page_finds_what_the_stream_leaves_for_it() -> None:
    kiosk, page = ((UNITS / f"mien-{name}.service").read_text().splitlines() for name in ("kiosk", "dashboard"))
    assert "RuntimeDirectory=mien" in kiosk and "Environment=RUNTIME_DIRECTORY=/run/mien" in page
    # systemd would take the folder away with whichever of the two stops first
    assert not [line for line in page if line.startswith(("RuntimeDirectory=", "ReadWritePaths=", "StateDirectory="))]


def test_the_kiosk_may_write_its_state_only() -> None:
    text = (UNITS / "mien-kiosk.service").read_text()
    assert {"ProtectSystem=strict", "NoNewPrivileges=yes", "User=mien", "DevicePolicy=closed", "StateDirectory=mien",
            "OnFailure=mien-rollback.service", "WatchdogSec=30"} <= set(text.splitlines())
    assert "MemoryMax=" in text and "ReadWritePaths" not in text


@pytest.mark.parametrize("name", ["kiosk", "prepare"])
@pytest.mark.parametrize("device", ["nvidia", "nvidia-frontend", "nvidiactl", "nvidia-uvm", "nvhost", "host1x-fence",
                                    "17000000.gpu", "17000000.ga10b"])
def test_a_gpu_driver_s_name_in_proc_devices_is_allowed(name: str, device: str) -> None:
    allowed = re.findall(r"(?m)^DeviceAllow=char-(\S+) rw$", (UNITS / f"mien-{name}.service").read_text())
    assert any(fnmatchcase(device, pattern) for pattern in allowed)


def test_the_kiosk_sees_the_socket_of_csi_cameras() -> None:
    """nvargus-daemon listens at /tmp/argus_socket; what must be written then goes where the kiosk may write."""
    lines = (UNITS / "mien-kiosk.service").read_text().splitlines()
    assert "PrivateTmp=yes" not in lines
    assert {"Environment=TMPDIR=/run/mien", "RuntimeDirectory=mien"} <= set(lines)


def test_a_kiosk_whose_engines_cannot_be_prepared_starts_all_the_same() -> None:
    lines = (UNITS / "mien-kiosk.service").read_text().splitlines()
    assert {"Wants=mien-prepare.service", "After=mien-prepare.service"} <= set(lines)
    assert not [line for line in lines if line.startswith(("Requires=", "BindsTo=", "Requisite="))]


def test_the_look_may_ask_at_the_address_that_a_fleet_serves_health_at() -> None:
    site = Site("museum", "broker", (Kiosk("lobby", "10.0.0.11"),))
    host = ip_address(yaml.safe_load(kiosk_yaml(site, site.kiosks[0]))["metrics"]["host"])
    lines = (UNITS / "mien-commit.service").read_text().splitlines()
    assert not host.is_loopback
    # of what IPAddressDeny= refuses this machine's own address is a part: systemd.resource-control(5) filters lo too
    assert not [line for line in lines if line.startswith(("IPAddressDeny=", "PrivateNetwork="))]


def test_what_asks_for_a_restart_reaches_the_socket() -> None:
    for name in ("commit", "rollback"):
        lines = (UNITS / f"mien-{name}.service").read_text().splitlines()
        assert "User=mien" in lines and any("AF_UNIX" in line for line in lines if line.startswith("RestrictAddress"))
        assert not [line for line in lines if "--restart" in line or "systemctl" in line]


def test_the_guide_and_the_package_enable_what_the_kiosk_needs() -> None:
    root = UNITS.parent.parent
    wanted = {path.name for path in UNITS.iterdir() if "[Install]" in path.read_text()} - {"mien-dashboard.service"}
    guide = re.findall(r"systemctl enable (.*)", (root / "docs/jetson.md").read_text())
    assert wanted == set(guide[0].split())
    for script in ("postinst", "postrm"):
        loops = re.findall(r"for unit in (.*); do", (root / "export/forms" / script).read_text())
        assert loops and all(set(loop.split()) == wanted for loop in loops), script
