"""A prefix that trusts one key, and bundles to put into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Release, make_release, stream_of, write_kiosk

from runtime.slots.slots import Slots


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Version 1.4.0, signed by the one key that is trusted."""
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def slots(tmp_path: Path, release: Release) -> Slots:
    """An empty prefix."""
    (tmp_path / "opt").mkdir()
    shutil.copyfile(release.signers, tmp_path / "opt" / "allowed_signers")
    return Slots(tmp_path / "opt", reserve_bytes=0)


@pytest.fixture
def bring(slots: Slots, release: Release, tmp_path: Path) -> Callable[..., str]:
    """A function that makes a version current, committed unless said otherwise, without running it."""

    def current(version: str, commit: bool = True, notice: bytes = b"seen\n") -> str:
        path = tmp_path / f"{version}.mien"
        write_kiosk(path, release.key, version, {**release.files, "NOTICE.txt": notice})
        slot = slots.receive(stream_of(path), force=True)
        slots.verify(slot)
        for state, after in (("prepared", "verified"), ("canary", "prepared")):
            slots.step(slot, (after,), state, lambda: "")
        slots.switch(slot)
        if commit:
            with slots.alone():
                slots.commit("by hand")
        return slot

    return current
