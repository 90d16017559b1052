"""stream.yaml's dashboard section: what is refused before anything is bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.dashboard.settings import DashboardConfig, is_loopback
from runtime.errors import BadConfig
from runtime.stream_config import load_config

TOKEN, PEM = "token_file: t", "certificate: c.pem, key: k.pem"


def loaded(tmp_path: Path, section: str) -> DashboardConfig:
    (tmp_path / "s.yaml").write_text("source: '0'\ndashboard: {port: 8765, " + section + "}")
    return load_config(tmp_path / "s.yaml").dashboard


@pytest.mark.parametrize(("section", "told"), [
    ("host: 0.0.0.0", "token_file with host 0.0.0.0"), ("host: kiosk.example", "token_file with host kiosk.example"),
    (f"host: 0.0.0.0, {PEM}", "token_file"), (f"host: '::', {TOKEN}", "certificate and key with host ::"),
    ("behind_tunnel: true", "token_file with behind_tunnel"), ("certificate: c.pem", "found one of them"),
    ("host: ''", "expected a host"), ("names: [Kiosk.example]", "lower case"), ("names: ['a:80']", "no port"),
    ("port: 65536", "duplicate"), ("preview: 1", "expected bool"), ("tokenfile: t", "did you mean")])
def test_a_page_that_strangers_could_open_is_refused(tmp_path: Path, section: str, told: str) -> None:
    with pytest.raises(BadConfig, match=told):
        loaded(tmp_path, section)


@pytest.mark.parametrize("section", [
    "host: 127.0.0.1", "host: '::1'", "host: localhost", f"host: 0.0.0.0, {TOKEN}, {PEM}",
    f"host: 0.0.0.0, behind_tunnel: true, {TOKEN}", f"behind_tunnel: true, {TOKEN}"])
def test_a_page_for_this_machine_or_behind_token_and_encryption_is_taken(tmp_path: Path, section: str) -> None:
    assert loaded(tmp_path, section).port == 8765


def test_relative_paths_lie_beside_the_file(tmp_path: Path) -> None:
    found = loaded(tmp_path, f"folder: run, {TOKEN}, {PEM}")
    assert (found.folder, found.token_file, found.key) == (tmp_path / "run", tmp_path / "t", tmp_path / "k.pem")


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
    ("192.168.1.5", False), ("localhost.evil.example", False), ("", False)])
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
