"""What a record says of the machine it was made on."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.machine import describe_machine, int8_instructions


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
