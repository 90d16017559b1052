"""A small site, and its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.fleet.provision import fleet_files
from export.fleet.site import Kiosk, Site


@pytest.fixture(scope="session")
def site() -> Site:
    return Site("museum", "127.0.0.1", (Kiosk("lobby", "10.0.0.11"), Kiosk("cafe", "fd00::12")))


@pytest.fixture
def provisioned(site: Site, tmp_path: Path) -> Path:
    """A folder with the site's files."""
    for name, content in fleet_files(site).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path
