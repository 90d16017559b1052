"""The kernels beside an engine: found again by the device that sealed them, for the engine they belong to, else not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.engines.engine_file import seal
from runtime.engines.jit_kernels import KernelFile

SECRET = b"s" * 32


@pytest.fixture
def file(tmp_path: Path) -> KernelFile:
    return KernelFile(tmp_path / "e.kernels", SECRET, "ab" * 32)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_what_was_saved_is_found(file: KernelFile, kernels: bytes) -> None:
    file.save(kernels)
    assert file.load() == kernels


def test_nothing_is_found_where_nothing_was_saved(file: KernelFile) -> None:
    assert file.load() is None


@pytest.mark.parametrize("place", [3, 40, 85, 120, -1])
def test_one_changed_bit_is_refused(file: KernelFile, place: int) -> None:
    file.save(b"kernels" * 20)
    content = bytearray(file.path.read_bytes())
    content[place] ^= 1
    file.path.write_bytes(content)
    assert file.load() is None


def test_kernels_of_another_engine_or_device_are_refused(file: KernelFile) -> None:
    file.save(b"kernels")
    assert KernelFile(file.path, SECRET, "cd" * 32).load() is None
    assert KernelFile(file.path, b"t" * 32, file.engine_sha256).load() is None


def test_a_sealed_engine_is_no_kernels(file: KernelFile) -> None:
    file.path.write_bytes(seal(b"an engine", {"key": {}}, SECRET))
    assert file.load() is None


def test_what_may_not_be_written_is_done_without(file: KernelFile) -> None:
    file.path.mkdir()
    (file.path / "full").touch()
    file.save(b"kernels")
    assert file.load() is None
    assert [p.name for p in file.path.parent.iterdir()] == ["e.kernels"]
