"""Where engines are kept: what is told, what is the user's, and what cannot hold them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.engines.cache import EngineCache, default_folder, engine_folder
from runtime.errors import BadInput


def test_a_told_folder_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_folder(Path("~/engines")) == tmp_path / "engines"
    assert engine_folder(Path("engines")) == Path("engines") and engine_folder(None) == default_folder()


@pytest.mark.parametrize("told", ["/", "~nobody-of-this-name/engines"])
def test_a_folder_that_cannot_hold_engines_is_refused(told: str) -> None:
    with pytest.raises(BadInput, match="expected a folder to keep engines in"):
        engine_folder(Path(told))


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "mien" / "engines"


@pytest.mark.parametrize("told", ["", "relative/path"])
def test_a_relative_cache_home_is_ignored_as_the_specification_says(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", told)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "mien" / "engines"


def test_without_a_home_the_folder_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(BadInput, match="say --cache FOLDER"):
        default_folder()


def test_the_secret_is_beside_the_folder_that_is_copied_not_in_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert EngineCache(Path("engines")).secret_file == tmp_path / "engines.key"
