"""`mien deb`: what a package holds, that its bytes are decided, and that Debian's own tools take it."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from bundles import NEEDED, kiosk_files, kiosk_wheels, make_key, trust, write_kiosk
from hypothesis import given, settings
from hypothesis import strategies as st

import mien
from export.bundle.contents import units, wheel_name
from export.forms.deb_file import TIME, gzipped
from export.forms.deb_from_bundle import DATE, required_python
from export.forms.installed_config import target_in_deb
from runtime.errors import BadInput

MAINTAINER = "Jo Doe <jo@site.example.com>"


def make_deb(folder: Path, *, files: dict[str, bytes] | None = None, target: str = "jetson-orin") -> Path:
    """Make a bundle and its package; return the package."""
    key = folder / "key" if (folder / "key").exists() else make_key(folder / "key")
    signers = trust(folder / "allowed_signers", key)
    files = files or kiosk_files(folder) | units() | kiosk_wheels(*NEEDED)
    write_kiosk(folder / "kiosk.mien", key, "1.4.0", files, target)
    out = folder / "out"
    assert mien.main(["deb", str(folder / "kiosk.mien"), "--signers", str(signers), "--maintainer", MAINTAINER, "--out",
                      str(out)]) == 0
    return next(out.iterdir())


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_deb(tmp_path_factory.mktemp("deb"))


def asked(tool: str, *words: object) -> str:
    """Return what one of Debian's tools says."""
    if not shutil.which(tool):
        pytest.skip(f"no {tool}: this test shows it the package (apt install {'dpkg' if tool != 'lintian' else tool})")
    done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_name_and_what_it_needs(deb: Path) -> None:
    assert deb.name == "mien-kiosk_1.4.0_arm64.deb"
    fields = dict(line.split(": ", 1) for line in asked("dpkg-deb", "--field", deb).splitlines() if line[0] != " ")
    assert fields["Depends"].startswith("python3 (>= 3.10), python3 (<< 3.11), python3-venv")
    assert "python3-libnvinfer" in fields["Recommends"] and "tensorrt" not in fields["Depends"]


def test_the_configuration_and_the_signers_stay_as_a_person_left_them(deb: Path, tmp_path: Path) -> None:
    asked("dpkg-deb", "--raw-extract", deb, tmp_path / "x")
    found = (tmp_path / "x/DEBIAN/conffiles").read_text().splitlines()
    assert found == ["/etc/mien/stream.yaml", "/etc/mien/allowed_signers"]
    link = tmp_path / "x/usr/lib/mien-kiosk/bundle/stream.yaml"
    assert os.readlink(link) == "/etc/mien/stream.yaml"
    assert (tmp_path / "x/lib/systemd/system/mien-kiosk.service").read_bytes() == units()["units/mien-kiosk.service"]


def test_everything_is_roots_and_nothing_lies_in_opt(deb: Path) -> None:
    lines = asked("dpkg-deb", "--contents", deb).splitlines()
    assert {line.split()[1] for line in lines} == {"root/root"}
    assert not [line for line in lines if "./opt" in line or "./usr/local" in line]


def test_scripts_compile_no_engine_and_ask_no_index(deb: Path, tmp_path: Path) -> None:
    asked("dpkg-deb", "--control", deb, tmp_path)
    for name in ("postinst", "prerm", "postrm"):
        text = "\n".join(line for line in (tmp_path / name).read_text().splitlines() if not line.startswith("#"))
        assert "@" not in text.replace('"$@"', "") and not re.search(r"prepare|build|stream|canary|nvidia", text), name
        subprocess.run(["sh", "-n", tmp_path / name], check=True)
    postinst = (tmp_path / "postinst").read_text()
    assert "--no-index" in postinst and "--system-site-packages" in postinst


@pytest.mark.slow  # a quarter of a minute
def test_lintian_finds_no_error(deb: Path) -> None:
    said = asked("lintian", "--allow-root", "--fail-on", "error", deb)
    assert not [line for line in said.splitlines() if line.startswith("E:")]


def test_the_same_bundle_gives_the_same_bytes(deb: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    source = deb.parent.parent
    assert mien.main(["deb", str(source / "kiosk.mien"), "--signers", str(source / "allowed_signers"), "--maintainer",
                      MAINTAINER, "--out", str(again)]) == 0
    assert (again / deb.name).read_bytes() == deb.read_bytes()


def test_the_changelogs_date_is_that_of_the_files() -> None:
    assert time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(TIME)) == DATE


def test_a_bundle_that_others_signed_is_not_packaged(
    deb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signers = trust(tmp_path / "signers", make_key(tmp_path / "other"))
    assert mien.main(["deb", str(deb.parent.parent / "kiosk.mien"), "--signers", str(signers), "--maintainer",
                      MAINTAINER, "--out", str(tmp_path / "out")]) == 2
    assert "found another's" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_nameless_maintainer_is_refused(deb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["deb", str(deb.parent.parent / "kiosk.mien"), "--signers",
                      str(deb.parent.parent / "allowed_signers"), "--maintainer", "jo", "--out", str(tmp_path)]) == 2
    assert "Jo Doe <" in capsys.readouterr().err


@pytest.mark.parametrize(("found", "says"), [
    (kiosk_wheels(*NEEDED[1:]), "found none of numpy"), (kiosk_wheels(*NEEDED[:-1]), "found none of prometheus-client"),
    (kiosk_wheels(*NEEDED, "tensorrt_cu12-10.3-cp310-none-any"), "no TensorRT"),
    ({"wheels/x-1-py3-none-any.whl": b""}, "mien's own"),
    (kiosk_wheels(*NEEDED, "x-1-cp312-cp312-linux_aarch64"), "one Python")])
def test_wheels_that_make_no_kiosk_are_refused(found: dict[str, bytes], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        required_python(found)


@pytest.mark.parametrize(("config", "lacks"), [
    ({"mqtt": {"host": "broker"}}, "paho-mqtt"), ({"mqtt": {"host": ""}}, ""),
    ({"dashboard": {"port": 8765}}, "starlette, uvicorn"), ({"dashboard": {"port": 0}}, ""),
    ({"target": "tensorrt"}, "cuda-python"), ({"target": "auto"}, "")])
def test_what_the_configuration_uses_must_come_along(config: dict[str, object], lacks: str, tmp_path: Path) -> None:
    files = kiosk_files(tmp_path, **config) | kiosk_wheels(*NEEDED)
    if lacks:
        with pytest.raises(BadInput, match=f"found none of {lacks};"):
            required_python(files)
        files |= kiosk_wheels(*NEEDED, *(f"{name.replace('-', '_')}-1.0-py3-none-any" for name in lacks.split(", ")))
    assert required_python(files) == (3, 10)


def test_the_target_is_read_back_from_the_package(deb: Path, tmp_path: Path) -> None:
    assert target_in_deb(deb) == json.loads(kiosk_files(tmp_path)["stream.yaml"])["target"]
    (tmp_path / "no.deb").write_bytes(deb.read_bytes()[:200])
    with pytest.raises(BadInput, match="mien deb made"):
        target_in_deb(tmp_path / "no.deb")


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3))
def test_what_is_stored_as_gzip_is_read_back(content: bytes, many: int) -> None:
    whole = content + bytes(65535) * many
    assert gzip.decompress(gzipped(whole)) == whole


def test_a_wheels_name_keeps_one_platform() -> None:
    long = "pyyaml-6.0.3-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl"
    assert wheel_name(long) == "pyyaml-6.0.3-cp311-cp311-manylinux2014_aarch64.whl"
    assert wheel_name("tqdm-4.70.1-py3-none-any.whl") == "tqdm-4.70.1-py3-none-any.whl"
