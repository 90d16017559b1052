"""The folder between stream and page: whole files, bounded, and nobody else's."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from runtime.dashboard.channel import channel_folder, open_channel, put, take
from runtime.errors import BadInput


def test_the_folder_is_chosen_in_order(tmp_path: Path) -> None:
    everything = {"RUNTIME_DIRECTORY": "/run/mien:/run/other", "XDG_RUNTIME_DIR": "/run/user/1000"}
    assert channel_folder(tmp_path, everything) == tmp_path
    assert channel_folder(None, everything) == Path("/run/mien")
    assert channel_folder(None, {"XDG_RUNTIME_DIR": "/run/user/1000"}) == Path("/run/user/1000/mien")
    assert channel_folder(None, {}).name == f"mien-{os.geteuid()}"


def test_a_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    os.close(open_channel(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["others may write", "a link", "a file"])
def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path: Path, kind: str) -> None:
    folder, real = tmp_path / "f", tmp_path / "real"
    real.mkdir(mode=0o700)
    if kind == "a link":  # what another user of /tmp could have left
        folder.symlink_to(real)
    elif kind == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(BadInput, match=r"dashboard\.folder"):
        open_channel(folder)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    folder, seen = open_channel(tmp_path / "c"), set()
    writes = [bytes([letter]) * 5000 for letter in b"ab"]

    def write() -> None:
        for number in range(150):
            put(folder, "status.json", writes[number % 2])

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        seen.add(take(tmp_path / "c" / "status.json", 5000))
    writer.join()
    os.close(folder)
    assert seen - {None} <= set(writes) and len(seen - {None}) == 2
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["status.json"]


def test_what_is_no_bounded_regular_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "fits").write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to(tmp_path / "fits")
    os.mkfifo(tmp_path / "fifo")
    assert take(tmp_path / "fits", 10) == b"x" * 10
    assert [take(tmp_path / name, 10) for name in ("large", "empty", "link", "fifo", "absent", ".")] == [None] * 6
