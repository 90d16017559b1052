"""Sealed engine files: nothing comes out that this device's secret did not seal, and not one bit of it is another."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engines.engine_file import seal, unseal
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput

SECRET = b"\x01" * 32
SIDECAR = {"key": {"gpu": "Orin"}, "warnings": ["a\nb"]}


@settings(deadline=None)
@given(engine=st.binary(max_size=300), secret=st.binary(min_size=32, max_size=32))
def test_what_was_sealed_comes_out(engine: bytes, secret: bytes) -> None:
    found = unseal(seal(engine, SIDECAR, secret), secret, "e")
    assert (found.engine, found.sidecar) == (engine, SIDECAR)


@settings(deadline=None)
@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(seal(b"\n{}\nengine\n", SIDECAR, SECRET))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadInput, match="^expected .* found .*: e$"):
        unseal(bytes(sealed), SECRET, "e")


@settings(deadline=None)
@given(st.integers(0, 120))
def test_any_truncation_is_refused(length: int) -> None:
    sealed = seal(b"engine", SIDECAR, SECRET)
    with pytest.raises(BadInput):
        unseal(sealed[: min(length, len(sealed) - 1)], SECRET, "e")


def test_appended_bytes_are_refused() -> None:
    with pytest.raises(BadInput, match="damaged, changed or brought from elsewhere"):
        unseal(seal(b"engine", SIDECAR, SECRET) + b"\0", SECRET, "e")


def test_another_devices_seal_is_refused() -> None:
    with pytest.raises(BadInput, match="brought from elsewhere"):
        unseal(seal(b"engine", SIDECAR, SECRET), b"\x02" * 32, "e")


def test_an_empty_file_says_so() -> None:
    with pytest.raises(BadInput, match="found an empty file"):
        unseal(b"", SECRET, "e")


def test_a_bare_engine_is_of_another_format() -> None:
    with pytest.raises(BadInput, match="expected a file of the format 'mien-engine 1', found another"):
        unseal(b"ftrt" * 100, SECRET, "e")


def test_a_sidecar_that_is_no_json_is_never_parsed_before_the_seal_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text))
    sealed = seal(b"engine", SIDECAR, SECRET)
    with pytest.raises(BadInput):
        unseal(sealed.replace(b"Orin", b"Thor"), SECRET, "e")
    assert parsed == []


def test_a_person_reads_the_sidecar_with_head(tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(seal(b"\xff\n" * 100, SIDECAR, SECRET))
    shown = subprocess.run(["head", "-n", "2", tmp_path / "e"], capture_output=True, check=True).stdout
    assert json.loads(shown.splitlines()[1]) == SIDECAR


# reading


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "e", 10)


def test_a_file_of_the_very_most_bytes_is_read(tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(b"0123456789")
    assert read_regular_file(tmp_path / "e", 10)[0] == b"0123456789"
    with pytest.raises(BadInput, match="expected at most 9 bytes"):
        read_regular_file(tmp_path / "e", 9)


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found a directory"):
        read_regular_file(tmp_path, 10)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "e").symlink_to(tmp_path / "real")
    with pytest.raises(BadInput, match="expected a file that can be read"):
        read_regular_file(tmp_path / "e", 10)


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e")
    with pytest.raises(BadInput, match="a device or a pipe"):
        read_regular_file(tmp_path / "e", 10)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(b"x")
    (tmp_path / "e").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(BadInput, match="Permission denied"):
            read_regular_file(tmp_path / "e", 10)
    finally:
        os.seteuid(user)


def test_a_disk_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("no /proc/self/mem, whose first page answers EIO, on this system")
    with pytest.raises(BadInput, match="Input/output error"):
        read_regular_file(Path("/proc/self/mem"), 10)
