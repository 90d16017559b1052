"""The device's secret: made once, for one user's eyes, and refused where others may have seen it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runtime.engines.device_secret import SECRET_BYTES, make_secret, read_secret
from runtime.errors import BadInput


def test_a_made_secret_is_read_again(tmp_path: Path) -> None:
    secret = make_secret(tmp_path / "state" / "engines.key")
    assert read_secret(tmp_path / "state" / "engines.key") == secret and len(secret) == SECRET_BYTES
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["engines.key"]


def test_two_secrets_differ(tmp_path: Path) -> None:
    assert make_secret(tmp_path / "a") != make_secret(tmp_path / "b")


def test_only_its_user_may_read_it_from_its_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (modes.append(stat.S_IMODE(os.stat(old).st_mode)),
                                                         replace(old, new)))
    before = os.umask(0)
    try:
        make_secret(tmp_path / "engines.key")
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_a_missing_secret_is_none(tmp_path: Path) -> None:
    assert read_secret(tmp_path / "engines.key") is None


@pytest.mark.parametrize("length", [0, SECRET_BYTES - 1])
def test_a_torn_secret_is_none(tmp_path: Path, length: int) -> None:
    (tmp_path / "engines.key").write_bytes(b"x" * length)
    (tmp_path / "engines.key").chmod(0o600)
    assert read_secret(tmp_path / "engines.key") is None


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602, 0o601])
def test_a_secret_that_others_may_know_is_refused(tmp_path: Path, mode: int) -> None:
    make_secret(tmp_path / "engines.key")
    (tmp_path / "engines.key").chmod(mode)
    with pytest.raises(BadInput, match=f"found 0{mode:o}: others may know it; remove it"):
        read_secret(tmp_path / "engines.key")


def test_a_service_of_the_secrets_group_may_check(tmp_path: Path) -> None:
    secret = make_secret(tmp_path / "engines.key")
    (tmp_path / "engines.key").chmod(0o640)
    assert read_secret(tmp_path / "engines.key") == secret


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_another_users_secret_is_refused(tmp_path: Path) -> None:
    make_secret(tmp_path / "engines.key")
    os.chown(tmp_path / "engines.key", 65534, 65534)
    with pytest.raises(BadInput, match="found user 65534's"):
        read_secret(tmp_path / "engines.key")


def test_a_link_to_a_secret_is_refused(tmp_path: Path) -> None:
    make_secret(tmp_path / "real")
    (tmp_path / "engines.key").symlink_to(tmp_path / "real")
    with pytest.raises(BadInput):
        read_secret(tmp_path / "engines.key")
