"""`mien rootfs`: what it would do to Linux_for_Tegra, and what it refuses to begin. Nothing is installed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import kiosk_files

import mien
from export.forms import rootfs
from export.forms.deb_file import Deb, write_deb
from export.forms.rootfs import INSTALL, PLACE, USER_TOOL, install_into, plan_root
from runtime.errors import BadInput


def kiosk_deb(path: Path, target: str = "auto") -> Path:
    """Write a package that holds a configuration only."""
    config = kiosk_files(path.parent, target=target)["stream.yaml"]
    write_deb(path, Deb({"Package": "mien-kiosk"}, {}, {"/etc/mien/stream.yaml": config}, ()))
    return path


@pytest.fixture
def tegra(tmp_path: Path) -> Path:
    """Linux_for_Tegra after apply_binaries.sh, as far as it is looked at; a password; NVIDIA's packages."""
    for name in ("rootfs/etc/nv_tegra_release", "tools/l4t_create_default_user.sh"):
        path = tmp_path / "Linux_for_Tegra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "debs").mkdir()
    for name in ("python3-libnvinfer_10.3.0_arm64.deb", "cuda-cudart-12-6_12.6_arm64.deb"):
        (tmp_path / "debs" / name).touch()
    kiosk_deb(tmp_path / "mien-kiosk_1.4.0_arm64.deb")
    return tmp_path / "Linux_for_Tegra"


def dry_run(tegra: Path, *flags: str) -> int:
    beside = tegra.parent
    return mien.main(["rootfs", str(beside / "mien-kiosk_1.4.0_arm64.deb"), str(tegra), "--user", "site",
                      "--password-file", str(beside / "password"), "--dry-run", "--json", *flags])


def test_nvidias_packages_come_before_the_kiosk(tegra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run(tegra, "--debs", str(tegra.parent / "debs")) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    names = [name.partition("_")[0] for name in found["debs"]]
    assert names == ["cuda-cudart-12-6", "python3-libnvinfer", "mien-kiosk"]
    assert found["tensorrt"] and "oem-config is skipped" in said and "secret" not in said + out
    assert list((tegra / "rootfs").rglob("*.deb")) == []


def test_without_tensorrt_it_says_that_the_cpu_works(tegra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run(tegra) == 0
    assert "starts on the CPU" in capsys.readouterr().err


def test_tensorrt_that_is_in_the_root_counts(tegra: Path) -> None:
    status = tegra / "rootfs/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    kiosk, password = tegra.parent / "mien-kiosk_1.4.0_arm64.deb", tegra.parent / "password"
    for state, counts in (("deinstall ok config-files", False), ("install ok installed", True)):
        status.write_text(f"Package: python3-libnvinfer\nStatus: {state}\n")
        assert plan_root(tegra, kiosk, None, "site", password).has_tensorrt is counts


def test_a_configuration_that_asks_for_tensorrt_needs_its_packages(tegra: Path) -> None:
    kiosk = kiosk_deb(tegra.parent / "asks.deb", "tensorrt")
    with pytest.raises(BadInput, match=r"target: auto"):
        plan_root(tegra, kiosk, None, "site", tegra.parent / "password")
    assert plan_root(tegra, kiosk, tegra.parent / "debs", "site", tegra.parent / "password").has_tensorrt


@pytest.mark.parametrize(("broken", "says"), [
    ("rootfs/etc/nv_tegra_release", "apply_binaries.sh"), ("tools/l4t_create_default_user.sh", "driver package")])
def test_a_tree_that_nvidia_did_not_finish_is_refused(
    tegra: Path, broken: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tegra / broken).unlink()
    assert dry_run(tegra) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "says"), [
    (["--user", "mien"], "other than mien"), (["--password-file", "/nonexistent"], "password"),
    (["--debs", "/nonexistent"], "SDK Manager")])
def test_what_is_missing_is_said_before_anything_is_done(
    tegra: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(tegra, *flags) == 2
    assert says in capsys.readouterr().err


def test_no_service_starts_in_the_root_and_nothing_stays_there() -> None:
    script = INSTALL.format(place=PLACE, flags="")
    assert "exit 101" in script and f'rm -rf "$root/{PLACE}" "$root/usr/sbin/policy-rc.d"' in script


def test_nvidias_tool_is_run_by_the_shell_that_it_is_written_for(tegra: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's sh knows neither arrays nor `function`."""
    (tegra / USER_TOOL).write_text('function asked { all=("$@"); echo "${all[1]}" > asked; }\nasked "$@"\n')
    run = rootfs._run
    monkeypatch.setattr(rootfs, "_run", lambda command, *rest: None if command[0] == "unshare" else run(command, *rest))
    kiosk, password = tegra.parent / "mien-kiosk_1.4.0_arm64.deb", tegra.parent / "password"
    install_into(plan_root(tegra, kiosk, None, "site", password))
    assert (tegra / "asked").read_text() == "site\n"
