"""A site's file, strictly read, and the folder that comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import mien
from export.fleet.site import Site
from runtime.stream_config import load_config

SITE = """
name: museum
broker: mqtt.example.org
kiosks:
  - {name: lobby, address: 10.0.0.11}
  - {name: cafe, address: cafe.example.org}
"""


def test_the_command_writes_every_file_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    for name in ("first", "second"):
        assert mien.main(["fleet", "provision", str(tmp_path / "site.yaml"), "-o", str(tmp_path / name)]) == 0
    first, second = ({str(path.relative_to(tmp_path / name)): path.read_bytes()
                      for path in (tmp_path / name).rglob("*") if path.is_file()} for name in ("first", "second"))
    assert first == second and sorted(first) == [
        "grafana/mien.json", "kiosks/cafe.yaml", "kiosks/lobby.yaml", "make-certificates.sh", "mosquitto/acl",
        "mosquitto/mien.conf", "prometheus/mien-alerts.yml", "prometheus/prometheus.yml"]
    assert b"PRIVATE KEY" not in b"".join(first.values())


def test_a_kiosks_keys_are_those_of_a_stream(provisioned: Path, site: Site) -> None:
    for kiosk in site.kiosks:
        path = provisioned / "kiosks" / f"{kiosk.name}.yaml"
        path.write_text("source: 0\n" + path.read_text())
        config = load_config(path)
        assert (config.metrics.host, config.metrics.port) == (kiosk.address, 9109)
        assert (config.mqtt.topic, config.mqtt.tls, config.mqtt.username) == (f"mien/{kiosk.name}", True, "")


@pytest.mark.parametrize(("old", "new", "word"), [
    ("name: lobby", "name: '#'", "kiosk's name"), ("name: lobby", "name: 'a b'", "kiosk's name"),
    ("name: lobby", "name: 'a\n\nuser root'", "printable|kiosk's name"), ("name: lobby", "name: cafe", "cafe again"),
    ("name: lobby", "name: monitor", "monitor again"), ("name: lobby", "name: ca", "ca again"),
    ("name: lobby", "name: broker", "broker again"), ("10.0.0.11", "'10.0.0.11 x'", "address"),
    ("broker: mqtt.example.org", "broker: \"x' y\"", "broker"), ("name: museum", "name: MUSEUM", "name"),
    ("kiosks:", "quiet_hours: 0\nkiosks:", "quiet_hours"), ("kiosks:", "folder: relative\nkiosks:", "folder"),
    ("kiosks:", "folder: /a b\nkiosks:", "folder"), ("kiosks:", "brokr: x\nkiosks:", "did you mean broker")])
def test_a_site_that_cannot_be_is_refused(
        old: str, new: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yaml").write_text(SITE.replace(old, new, 1))
    assert mien.main(["fleet", "provision", str(tmp_path / "site.yaml"), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert any(each in told for each in word.split("|")), told
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    assert mien.main(["fleet", "provision", str(tmp_path / "site.yaml"), "-o", str(tmp_path)]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["site.yaml"]


def test_the_documented_site_is_one() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/fleet.md").read_text(encoding="utf-8")
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(shown)["kiosks"]
