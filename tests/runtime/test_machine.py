"""What a record says of the machine it was made on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from boards import make_jetson, write

from runtime.machine import (
    ROOT,
    cuda_version,
    describe_machine,
    driver_version,
    gpu_name,
    int8_instructions,
    l4t_release,
    peak_memory,
)


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


def test_a_jetsons_record_names_its_board_release_and_mode(tmp_path: Path) -> None:
    facts = describe_machine(make_jetson(tmp_path))
    assert {name: facts[name] for name in ("gpu", "driver", "l4t", "cuda", "power_mode")} == {
        "gpu": "NVIDIA Jetson Orin Nano Developer Kit", "driver": "540.4.0", "l4t": "36.4.3", "cuda": "12.6.11",
        "power_mode": "MAXN_SUPER (2)"}


def test_a_machine_without_a_gpu_says_nothing_of_one(tmp_path: Path) -> None:
    assert not {"gpu", "driver", "l4t", "cuda", "power_mode"} & set(describe_machine(tmp_path))


@pytest.mark.parametrize(("line", "wanted"), [
    ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "36.4.3"),
    ("# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic", "39.2.0"),
    ("# R36 (release), REVISION: 4, GCID: 1", "36.4.0"), ("# R36 (beta)", ""), ("", "")])
def test_the_l4t_release_has_three_numbers(tmp_path: Path, line: str, wanted: str) -> None:
    write(tmp_path / "etc/nv_tegra_release", line + "\n")
    assert l4t_release(tmp_path) == wanted


@pytest.mark.parametrize(("line", "wanted"), [
    ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26\nGCC version: 12.2.0", "570.124.06"),
    ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  595.78  Release Build", "595.78"), ("", "")])
def test_the_drivers_version_is_found_in_its_line(tmp_path: Path, line: str, wanted: str) -> None:
    write(tmp_path / "proc/driver/nvidia/version", line)
    assert driver_version(tmp_path) == wanted


def test_a_desktops_gpu_has_its_model(tmp_path: Path) -> None:
    write(tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA RTX A2000\nIRQ: 12\n")
    assert gpu_name(tmp_path) == "NVIDIA RTX A2000"


def test_another_board_is_no_gpu(tmp_path: Path) -> None:
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B\0")
    assert gpu_name(tmp_path) == ""


def test_a_runtime_alone_shows_cudas_version_too(tmp_path: Path) -> None:
    write(tmp_path / "usr/local/cuda/targets/aarch64-linux/lib/libcudart.so.12.6.68", "")
    assert cuda_version(tmp_path) == "12.6.68"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cuda": 12}'])
def test_a_damaged_version_file_is_no_cuda(tmp_path: Path, text: str) -> None:
    write(tmp_path / "usr/local/cuda/version.json", text)
    assert cuda_version(tmp_path) == ""
