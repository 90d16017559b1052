"""What a record says of the machine it was made on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.machine import ROOT, describe_machine, int8_instructions, peak_memory


@pytest.mark.parametrize(("listing", "wanted"), [
    ("processor : 0\nflags\t\t: fpu sse2 avx2 bmi2 avx512_vnni amx_int8\n", "avx2 avx512_vnni amx_int8"),
    ("flags\t\t: fpu avx avx2\nflags\t\t: fpu avx avx2\n", "avx2"),  # such a one saturates
    ("BogoMIPS\t: 62.50\nFeatures\t: fp asimd asimddp i8mm\n", "asimddp i8mm"),
    ("model name : avx2\n", ""),
])
def test_the_int8_instructions_are_those_that_are_listed(tmp_path: Path, listing: str, wanted: str) -> None:
    (tmp_path / "cpuinfo").write_text(listing)
    assert int8_instructions(tmp_path / "cpuinfo") == wanted


def test_a_system_without_a_listing_says_nothing(tmp_path: Path) -> None:
    assert int8_instructions(tmp_path / "cpuinfo") == ""


def test_every_record_carries_them() -> None:
    assert describe_machine()["int8_instructions"] == int8_instructions()


def test_peak_memory_grows_with_what_is_held_and_ignores_the_parents() -> None:
    code = "from runtime.machine import peak_memory; a = peak_memory(); b'x' * 2**27; print(a, peak_memory())"
    held = bytearray(2**28)  # the parent's: ru_maxrss would start the child with it
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    before, after = map(int, found.stdout.split())
    assert len(held) > before > 2**20 and after - before > 2**26


def test_a_system_that_does_not_tell_has_no_peak(tmp_path: Path) -> None:
    assert peak_memory(tmp_path / "status") == 0
