"""Durable writes: whole or absent, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.durable import exchange, replacing, replacing_directory, write_bytes, write_text
from runtime.errors import BadInput


def test_a_written_file_has_its_content_and_no_neighbour(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "größer")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größer"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_name_keeps_the_ending(tmp_path: Path) -> None:
    with replacing(tmp_path / "clip.mp4") as temporary:  # writers pick a format by it
        assert temporary.suffix == ".mp4"
        temporary.touch()


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c", b"x")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"x"


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(BadInput, match="expected a folder"):
        write_bytes(tmp_path / "a" / "b", b"x")


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with replacing_directory(tmp_path / "model") as temporary:
        (temporary / "new").touch()
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_error_keeps_the_old_directory(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with pytest.raises(RuntimeError), replacing_directory(tmp_path / "model") as temporary:
        (temporary / "new").touch()
        raise RuntimeError
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_old_directory_and_a_new_one_change_places_in_one_step(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    assert exchange(old, new)
    assert (old / "name").read_text() == "new" and (new / "name").read_text() == "old"


def test_a_directory_is_replaced_where_the_system_cannot_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.durable.exchange", lambda first, second: False)
    target = tmp_path / "run"
    for text in ("first", "second"):
        with replacing_directory(target) as folder:
            (folder / "file").write_text(text)
    assert (target / "file").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
