"""Durable writes: whole or absent, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.durable import exchange, replacing, replacing_directory, sweep, write_bytes, write_text
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


def leave_halves(path: Path, monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Write `path` as a file and as a directory, each cut off before anything could be removed."""
    before = set(path.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("runtime.durable.os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        patch.setattr("runtime.durable.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            write_bytes(path, b"half")
        with pytest.raises(KeyboardInterrupt), replacing_directory(path):
            pass
    return set(path.parent.iterdir()) - before


@pytest.mark.parametrize("name", ["a.engine", "a"])
def test_what_killed_writers_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert len(leave_halves(tmp_path / name, monkeypatch)) == 2
    sweep(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_sweeping_leaves_other_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = leave_halves(tmp_path / "b.key", monkeypatch)
    for name in ("a.engine", ".a.engine.notes.txt", ".hidden"):
        (tmp_path / name).touch()
    before = set(tmp_path.iterdir())
    sweep(tmp_path, "*.engine")
    assert set(tmp_path.iterdir()) == before >= others


def test_sweeping_one_ending_leaves_the_lock_of_a_name_with_a_date(tmp_path: Path) -> None:
    left = [".model.0a1b2c3d.tmp", ".model.20261123.lock", ".model.20261123.0a1b2c3d.tmp"]
    for name in left:
        (tmp_path / name).touch()
    sweep(tmp_path, "model", "tmp")
    assert {path.name for path in tmp_path.iterdir()} == set(left[1:])


def test_a_link_to_a_directory_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "v3").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links/current").symlink_to(tmp_path / "v3")
    with replacing_directory(tmp_path / "links/current") as directory:
        (directory / "new").touch()
    assert [path.name for path in (tmp_path / "v3").iterdir()] == ["new"]
    assert [path.readlink() for path in (tmp_path / "links").iterdir()] == [tmp_path / "v3"]


def test_a_name_that_is_not_utf_8_is_written_as_escapes(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "gr\udcfcn é")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "gr\\udcfcn é"
