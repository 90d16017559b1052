"""Package and root file system on an aarch64 Debian that qemu runs: installed, streamed from, upgraded, removed.

`make arm64-root`; the root is kept in build/, or where MIEN_ARM64_ROOT says. What a Jetson has beside Debian is absent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from arm64_root import beside, enter, make_root, what_is_missing
from bundles import make_key, trust

import mien

ROOT = Path(__file__).resolve().parents[3]
KEPT = Path(os.environ.get("MIEN_ARM64_ROOT", ROOT / "build" / "arm64-root"))
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
WHEELS = ("numpy", "onnxruntime", "opencv-python-headless<5", "PyYAML", "tqdm", "prometheus-client", "flatbuffers",
          "packaging", "protobuf")
SLOT = "setpriv --reuid mien --regid mien --init-groups mien slot"

MISSING = what_is_missing()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600),
              pytest.mark.skipif(bool(MISSING), reason=f"{MISSING}: this test runs an aarch64 Debian")]


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two versions of a package of the shipped model, with Python 3.11's wheels for aarch64."""
    folder, wheels = tmp_path_factory.mktemp("debs"), KEPT.parent / "arm64-wheels"
    if not wheels.is_dir():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest",
                   str(wheels), "--implementation", "cp", "--python-version", "3.11", "--constraint",
                   str(ROOT / "constraints.txt"), *(f"--platform={name}" for name in PLATFORMS), *WHEELS]
        if subprocess.run(command, check=False).returncode:
            pytest.skip("no package index: this test installs wheels for aarch64")
    config = folder / "stream.yaml"
    config.write_text("source: synthetic://?size=160x120\nmodel: mien-light\nfaces: haar\nmetrics:\n  port: 9464\n")
    key = make_key(folder / "key")
    signers = trust(folder / "allowed_signers", key)
    for version in ("1.4.0", "1.5.0"):
        bundle = folder / f"{version}.mien"
        assert mien.main(["bundle", "--config", str(config), "--target", "aarch64", "--version", version, "--key",
                          str(key), "--wheels", str(wheels), "-o", str(bundle)]) == 0
        assert mien.main(["deb", str(bundle), "--signers", str(signers), "--maintainer", "Jo <jo@site.example.com>",
                          "-o", str(folder)]) == 0
    yield folder / "mien-kiosk_1.4.0_arm64.deb", folder / "mien-kiosk_1.5.0_arm64.deb"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A fresh copy of the root."""
    if not KEPT.is_dir():
        try:
            make_root(KEPT)
        except subprocess.CalledProcessError:
            pytest.skip("no Debian archive: this test makes a root of its packages")
    subprocess.run(["cp", "-a", KEPT, tmp_path / "root"], check=True)
    yield tmp_path / "root"
    for place in (tmp_path / "root", tmp_path / "Linux_for_Tegra"):
        shutil.rmtree(place, ignore_errors=True)


def run(root: Path, command: str) -> str:
    done = enter(root, ["sh", "-c", command], 1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(root: Path, deb: Path) -> None:
    shutil.copyfile(deb, root / "tmp/kiosk.deb")
    run(root, "dpkg --force-depends --force-confold --install /tmp/kiosk.deb")  # the root knows of no package


def slot_folders(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "usr/lib/mien-kiosk").glob("slot-*"))


def test_installed_it_streams_and_its_edited_configuration_outlives_an_upgrade(
    root: Path, debs: tuple[Path, Path]
) -> None:
    install(root, debs[0])
    out = run(root, "cd / && /opt/mien/current/venv/bin/python -I -m mien stream synthetic://?size=160x120 --config "
                    "/opt/mien/current/bundle/stream.yaml --max-frames 3 --json")
    found = json.loads(out[out.index("{"):])
    assert found["frames"] == 3 and found["golden_difference"] <= found["golden_bound"] and found["target"] == "cpu"
    assert os.readlink(root / "etc/systemd/system/multi-user.target.wants/mien-kiosk.service").endswith(
        "/lib/systemd/system/mien-kiosk.service")
    config = root / "etc/mien/stream.yaml"
    config.write_text(config.read_text().replace("160x120", "320x240"))
    before = (root / "opt/mien/current").readlink(), slot_folders(root)
    shutil.copyfile(debs[1], root / "tmp/kiosk.deb")
    run(root, "dpkg --force-depends --force-confold --unpack /tmp/kiosk.deb")
    assert "1.4.0" in run(root, "/opt/mien/base/bin/mien slot status 2>&1; cat /opt/mien/current/bundle/manifest.json")
    assert ((root / "opt/mien/current").readlink(), slot_folders(root)) == before  # interrupted here, the old one runs
    run(root, "dpkg --force-depends --force-confold --configure mien-kiosk")
    assert "320x240" in config.read_text() and set(before[1]) < set(slot_folders(root))
    status = json.loads(run(root, f"{SLOT} status --json"))
    assert status["current"].startswith("1.5.0-") and list(status["slots"]) == [status["current"]]
    run(root, "dpkg --remove mien-kiosk && dpkg --purge --force-depends mien-kiosk")
    left = [path for path in ("opt/mien", "usr/lib/mien-kiosk", "etc/mien", "var/lib/mien") if (root / path).exists()]
    assert left == []


def test_a_root_for_flashing_holds_a_kiosk_and_a_first_user(
    tmp_path: Path, root: Path, debs: tuple[Path, Path]
) -> None:
    """NVIDIA's tool is a stand-in that writes down what it is asked for."""
    tegra = tmp_path / "Linux_for_Tegra"
    (tegra / "tools").mkdir(parents=True)
    root.rename(tegra / "rootfs")
    (tegra / "rootfs/etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3\n")
    (tegra / "tools/l4t_create_default_user.sh").write_text('echo "$@" > asked\n')
    (tmp_path / "password").write_text("secret\n")
    program = ("import sys; from pathlib import Path; from export.forms.rootfs import install_into, plan_root; "
               "install_into(plan_root(Path(sys.argv[1]), Path(sys.argv[2]), None, 'site', Path(sys.argv[3])), True)")
    done = beside(tegra / "rootfs", ["sh", "-c", f'cd {ROOT} && exec "$@"', "sh", sys.executable, "-c", program,
                                     str(tegra), str(debs[0]), str(tmp_path / "password")], 1800)
    assert done.returncode == 0, done.stderr
    assert (tegra / "asked").read_text() == "--username site --password secret --accept-license\n"
    assert os.readlink(tegra / "rootfs/opt/mien/current").startswith("slots/1.4.0-")
    assert not list((tegra / "rootfs/var/tmp").iterdir()) and not (tegra / "rootfs/usr/sbin/policy-rc.d").exists()
