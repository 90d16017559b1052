"""What a package's script does to a kiosk that runs: the real script, by sh, below a folder of the test's.

Users, systemd and pip are stand-ins that write down what they are asked for; the slot is adopted by the real mien. On
an aarch64 Debian with the real ones: `make arm64-root`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import NEEDED, kiosk_files, kiosk_wheels, make_key, trust, write_kiosk

from export.bundle.contents import units
from export.forms.deb_from_bundle import SCRIPTS, deb_of, open_bundle
from runtime.slots.slot_runtime import BORROWED

STAND_INS = {
    "getent": "exit 0", "adduser": "exit 0", "deb-systemd-helper": "exit 0",
    "systemctl": 'echo "$@" >> {place}/asked',
    "install": 'for last; do :; done; mkdir -p "$last"',
    "python3": 'mkdir -p "$4/bin"; cp {place}/bin/pip "$4/bin/python"',
    "pip": "test ! -e {place}/no-room",  # what the new environment's Python is asked for
    "setpriv": 'test -x "$6"; for last; do :; done; exec {python} -I -m mien slot adopt --prefix {place}/opt "$last"',
}


class Machine:
    """Where versions of a package are unpacked as dpkg does, and configured."""

    def __init__(self, place: Path):
        self.place, self.here = place, place / "mien-kiosk"
        self.key = make_key(place / "key")
        self.signers = trust(place / "allowed_signers", self.key)
        for name in ("bin", "run"):
            (place / name).mkdir()
        for name, text in STAND_INS.items():
            program = place / "bin" / name
            program.write_text(f"#!/bin/sh -e\n{text.format(place=place, python=sys.executable)}\n")
            program.chmod(0o755)

    def unpack(self, version: str) -> None:
        """Replace the files one by one, each by a rename, and keep the script to run."""
        bundle = self.place / f"{version}.mien"
        write_kiosk(bundle, self.key, version, {**kiosk_files(self.place), **units(), **kiosk_wheels(*NEEDED),
                                                "NOTICE.txt": version.encode()}, "jetson-orin")
        with open(bundle, "rb") as stream:
            deb = deb_of(open_bundle(stream, self.signers), self.signers.read_bytes(), "Jo <jo@site.example.com>")
        for name, content in deb.tree.items():
            if name.startswith("/usr/lib/mien-kiosk/bundle/") and isinstance(content, bytes):
                path = self.here / name.removeprefix("/usr/lib/mien-kiosk/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".dpkg-new").write_bytes(content)
                os.replace(path.with_suffix(".dpkg-new"), path)
        script = deb.scripts["postinst"].decode()
        for path, ours in (("/usr/lib/$PACKAGE", self.here), ("/opt/mien", self.place / "opt"),
                           ("/run/systemd/system", self.place / "run")):
            assert path in script
            script = script.replace(path, str(ours))
        (self.place / "postinst").write_text(script)

    def configure(self) -> int:
        return subprocess.run(["sh", self.place / "postinst", "configure"], check=False, capture_output=True, env={
            "PATH": f"{self.place}/bin:/usr/bin:/bin"}).returncode

    def runs(self) -> str:
        """What the unit would start: the version of the files, where there is a Python beside them."""
        slot = self.place / "opt/current"
        assert os.access(slot / "venv/bin/python", os.X_OK) and (slot / "venv.done").exists()
        return (slot / "bundle/NOTICE.txt").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with version 1.4.0."""
    made = Machine(tmp_path)
    made.unpack("1.4.0")
    assert made.configure() == 0 and made.runs() == "1.4.0"
    return made


def test_an_upgrade_leaves_what_runs_as_it_is_and_restarts_it_once(machine: Machine) -> None:
    before = (machine.place / "opt/current").resolve()
    (machine.place / "asked").unlink()
    machine.unpack("1.5.0")
    assert machine.runs() == "1.4.0"  # unpacked, not configured
    assert machine.configure() == 0 and machine.runs() == "1.5.0"
    assert (before / "venv/bin/python").exists()  # a stream that still runs may import from it
    asked = (machine.place / "asked").read_text().splitlines()
    assert [line for line in asked if "kiosk" in line] == [
        "--no-block try-restart mien-kiosk.service mien-dashboard.service"]
    assert (machine.place / "opt/base").resolve() == (machine.place / "opt/current/venv").resolve()
    machine.unpack("1.6.0")
    assert machine.configure() == 0 and not before.exists()  # the next one takes it away


def test_an_interrupted_upgrade_leaves_the_old_one_and_is_done_again(machine: Machine) -> None:
    (machine.place / "no-room").touch()
    machine.unpack("1.5.0")
    for _ in range(2):
        assert machine.configure() != 0 and machine.runs() == "1.4.0"
        assert (machine.here / "venv/bin/python").exists() and (machine.place / "opt/base/bin/python").exists()
    (machine.place / "no-room").unlink()
    assert machine.configure() == 0 and machine.runs() == "1.5.0"
    assert len(list(machine.here.glob("slot-*"))) == 2  # the new one and the one before it


def test_the_same_version_installed_again_takes_the_place_of_the_first(machine: Machine) -> None:
    before = (machine.place / "opt/current").resolve()
    assert machine.configure() == 0 and machine.runs() == "1.4.0"
    assert (machine.place / "opt/current").resolve() != before


@pytest.mark.parametrize("borrows", ["a wheel's packages", "all of it"])
def test_what_a_deployed_slot_borrows_outlives_every_upgrade(machine: Machine, borrows: str) -> None:
    venv = (machine.place / "opt/base").resolve()  # of 1.4.0, which ran `mien slot prepare`
    deployed = machine.place / "opt/slots/1.4.1-deployed"
    deployed.mkdir()
    if borrows == "all of it":
        (deployed / "venv").symlink_to(venv)
    else:
        packages = deployed / "venv/lib/python3.10/site-packages"
        packages.mkdir(parents=True)
        (packages / BORROWED).write_text(f"{venv}/lib/python3.10/site-packages\n")
    for version in ("1.5.0", "1.6.0", "1.7.0"):
        machine.unpack(version)
        assert machine.configure() == 0 and (venv / "bin/python").exists()
    assert len(list(machine.here.glob("slot-*"))) == 3  # that one, the new one and the one before it


def test_an_upgrade_from_a_package_whose_venv_is_a_folder_goes_through(machine: Machine) -> None:
    venv = machine.here / "venv"
    before = venv.resolve()
    venv.unlink()
    before.rename(venv)
    machine.unpack("1.5.0")
    assert machine.configure() == 0 and machine.runs() == "1.5.0"
    assert venv.resolve() == (machine.place / "opt/current/venv").resolve()


def test_a_purge_ends_where_a_disk_of_its_own_cannot_be_removed(tmp_path: Path) -> None:
    for name, code in (("rm", 1), ("rmdir", 0), ("systemctl", 0)):  # rm: what a mount point answers
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["/bin/sh", str(SCRIPTS / "postrm"), "purge"], env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == 0
