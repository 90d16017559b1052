"""The doctor, on machines that are made up: a root folder stands for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.doctor import Finding, as_dict, can_stream, examine


def finding(root: Path, what: str) -> Finding:
    return next(f for f in examine(root) if f.what == what)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_cameras_are_listed(tmp_path: Path) -> None:
    for name in ("video0", "video2"):
        write(tmp_path / "dev" / name, "")
    found = finding(tmp_path, "see a camera")
    assert found.works and found.found == "/dev/video0, /dev/video2"


def test_a_machine_without_a_camera_says_what_to_do(tmp_path: Path) -> None:
    found = finding(tmp_path, "see a camera")
    assert not found.works and "stream a file" in found.fix


@pytest.mark.parametrize(("file", "text", "shown"), [
    ("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0", "NVIDIA Jetson Orin Nano Developer Kit"),
    ("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 570.1\nGCC 12\n",
     "NVRM version: NVIDIA UNIX x86_64 570.1")])
def test_an_nvidia_gpu_is_recognized(tmp_path: Path, file: str, text: str, shown: str) -> None:
    write(tmp_path / file, text)
    found = finding(tmp_path, "use an NVIDIA GPU")
    assert found.works and found.found == shown


def test_another_board_is_no_nvidia_gpu(tmp_path: Path) -> None:
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B\0")
    assert not finding(tmp_path, "use an NVIDIA GPU").works


def test_everything_missing_comes_with_a_fix(tmp_path: Path) -> None:
    assert [f.what for f in examine(tmp_path) if not f.works and not f.fix] == []


def test_this_machine_can_stream(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    assert can_stream(findings) and "mien-light (" in findings[0].found


def test_the_findings_are_plain_values(tmp_path: Path) -> None:
    found = as_dict(examine(tmp_path))
    assert {"python", "machine", "system", "findings"} == set(found)
    assert all(set(f) == {"what", "works", "found", "fix"} for f in found["findings"])
