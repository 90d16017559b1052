"""The doctor, on machines that are made up: a root folder stands for each. Libraries are this Python's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boards import make_jetson, write

from runtime import doctor
from runtime.card import MODELS
from runtime.doctor import Finding, as_dict, can_stream, examine, libraries
from runtime.doctor.board import examine_board
from runtime.doctor.libraries import COMPILE, REACH_GPU, RUN_ON_CPU, examine_libraries
from runtime.engines.cuda_api import DeviceFacts

ROOT = Path(__file__).parents[3]


def on_board(root: Path, what: str, python: str = "3.10.12") -> Finding:
    return next(f for f in examine_board(root, python) if f.what == what)


def in_python(what: str, jetson: bool = False) -> Finding:
    return next(f for f in examine_libraries(jetson) if f.what == what)


# the machine

def test_a_jetson_is_named_with_what_its_release_carries(tmp_path: Path) -> None:
    found = on_board(make_jetson(tmp_path), "know this JetPack")
    assert found.works
    assert found.found == "JetPack 6.2, 6.2.1 (L4T 36.4.3): TensorRT 10.3, CUDA 12.6, unverified"


def test_a_release_beside_the_table_is_taken_for_its_neighbour_and_says_so(tmp_path: Path) -> None:
    found = on_board(make_jetson(tmp_path, "R39 (release), REVISION: 2.1"), "know this JetPack")
    assert found.works and "L4T 39.2.1, a release beside those in the table" in found.found


def test_a_jetpack_that_is_too_old_says_why_and_what_to_flash(tmp_path: Path) -> None:
    found = on_board(make_jetson(tmp_path, "R35 (release), REVISION: 4.1"), "know this JetPack")
    assert not found.works and "TensorRT 8.5.2" in found.found and "JetPack 6.2" in found.fix


def test_an_unknown_jetpack_is_not_guessed(tmp_path: Path) -> None:
    found = on_board(make_jetson(tmp_path, "R99 (release), REVISION: 1.0"), "know this JetPack")
    assert not found.works and "99.1.0" in found.found and "--devices" in found.fix


def test_another_python_than_jetpacks_cannot_see_its_tensorrt(tmp_path: Path) -> None:
    found = on_board(make_jetson(tmp_path), "import JetPack's TensorRT", python="3.12.3")
    assert not found.works and found.fix == "python3.10 -m venv --system-site-packages .venv"
    assert on_board(tmp_path, "import JetPack's TensorRT", python="3.10.12").works


def test_a_bare_l4t_image_is_told_to_bring_jetpacks_packages(tmp_path: Path) -> None:
    make_jetson(tmp_path)
    (tmp_path / "usr/local/cuda/version.json").unlink()
    found = on_board(tmp_path, "find CUDA under /usr/local/cuda")
    assert not found.works and found.fix == "sudo apt install nvidia-jetpack"


def test_a_jetson_shows_its_mode_and_its_rails(tmp_path: Path) -> None:
    make_jetson(tmp_path)
    assert on_board(tmp_path, "know the power mode").found == "MAXN_SUPER (2)"
    assert on_board(tmp_path, "measure power").found == "VDD_IN, VDD_CPU_GPU_CV, VDD_SOC"


def test_a_throttled_jetson_does_not_run_at_full_speed(tmp_path: Path) -> None:
    make_jetson(tmp_path)
    assert on_board(tmp_path, "run at full speed").works
    write(tmp_path / "sys/class/hwmon/hwmon1/oc3_event_cnt", "37\n")
    found = on_board(tmp_path, "run at full speed")
    assert not found.works and "37 over-current events (oc3)" in found.found and "51 °C" in found.found


def test_a_desktop_is_not_asked_for_a_jetsons_things(tmp_path: Path) -> None:
    asked = {f.what for f in examine_board(tmp_path)}
    assert not {"know this JetPack", "know the power mode", "measure power", "import JetPack's TensorRT"} & asked


@pytest.mark.parametrize(("file", "text", "shown"), [
    ("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0", "NVIDIA Jetson Orin Nano Developer Kit"),
    ("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 570.1\nGCC 12\n",
     "NVRM version: NVIDIA UNIX x86_64 570.1, driver 570.1")])
def test_an_nvidia_gpu_is_recognized(tmp_path: Path, file: str, text: str, shown: str) -> None:
    write(tmp_path / file, text)
    found = on_board(tmp_path, "use an NVIDIA GPU")
    assert found.works and found.found == shown


def test_another_board_is_no_nvidia_gpu(tmp_path: Path) -> None:
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B\0")
    assert not on_board(tmp_path, "use an NVIDIA GPU").works


def test_cameras_are_listed(tmp_path: Path) -> None:
    for name in ("video0", "video2"):
        write(tmp_path / "dev" / name, "")
    found = on_board(tmp_path, "see a camera")
    assert found.works and found.found == "/dev/video0, /dev/video2"


def test_a_machine_without_a_camera_says_what_to_do(tmp_path: Path) -> None:
    found = on_board(tmp_path, "see a camera")
    assert not found.works and "stream a file" in found.fix


# libraries

def test_a_compiler_that_is_there_and_does_not_load_is_no_compiler(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    found = in_python(COMPILE["tensorrt"])
    assert not found.works and "libnvinfer.so.10" in found.found and found.fix == "pip install tensorrt"


@pytest.mark.parametrize(("version", "works"), [("8.5.2.2", False), ("10.3.0", True), ("11.4.1", True)])
def test_a_compiler_has_its_version_and_an_old_one_is_not_enough(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, works: bool) -> None:
    (tmp_path / "tensorrt.py").write_text(f"__version__ = '{version}'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    found = in_python(COMPILE["tensorrt"])
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert (found.works, found.found) == (works, f"tensorrt {version}")


def test_the_real_compiler_is_loaded_and_has_its_version() -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (mien[rtx])")
    found = in_python(COMPILE["tensorrt-rtx"])
    assert (found.works, found.found) == (True, f"tensorrt-rtx {rtx.__version__}")


def test_a_gpu_that_a_binding_reaches_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "device_facts", lambda: DeviceFacts("Orin", "sm87", "12.6", True))
    found = in_python(REACH_GPU)
    assert found.works and found.found.endswith("Orin, sm87, CUDA 12.6, memory shared with the CPU")


def test_a_missing_onnx_runtime_keeps_the_stream_from_running(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    real = libraries.importlib.util.find_spec
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda m: None if m == "onnxruntime" else real(m))
    findings = examine(tmp_path)
    assert not can_stream(findings)
    assert not as_dict(findings, tmp_path)["targets"]["cpu"]
    assert next(f for f in findings if f.what == RUN_ON_CPU).fix == "pip install mien"


@pytest.mark.parametrize("source", ["raise ImportError('libcudnn.so.9:\\ncannot open')",
                                    "raise OSError('libcudnn.so.9')", "__version__ = 'what another package left'"])
def test_an_onnx_runtime_that_is_there_and_does_not_load_runs_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    (tmp_path / "onnxruntime.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    found = in_python(RUN_ON_CPU)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert not found.works and found.found and "\n" not in found.found
    assert found.fix == "pip install --force-reinstall onnxruntime"


@pytest.mark.parametrize("source", ["raise ImportError('libGL.so.1: cannot open shared object file')",
                                    "raise AttributeError('_ARRAY_API not found')"])
def test_a_broken_opencv_is_found_and_not_died_of(tmp_path: Path, source: str) -> None:
    (tmp_path / "cv2.py").write_text(source)
    done = subprocess.run([sys.executable, "mien.py", "doctor"], cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3 and "Traceback" not in done.stderr
    line, = [line for line in done.stderr.splitlines() if line.startswith("no  load OpenCV: ")]
    assert source.split("'")[1] in line and "--force-reinstall" in line
    assert "yes run on the CPU" in done.stderr and "yes load the shipped models" in done.stderr


def test_a_shipped_model_that_is_gone_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS / "mien-light", tmp_path / "mien-light")
    monkeypatch.setattr(doctor, "MODELS", tmp_path)
    found = next(f for f in examine(tmp_path) if f.what == doctor.LOAD_MODELS)
    assert not found.works and f"no mien-face under {tmp_path}" in found.found and "--force-reinstall" in found.fix


# conclusions

@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Jetson with a compiler and a binding that reaches its GPU."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/tensorrt.py").write_text("__version__ = '10.3.0'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(libraries, "device_facts", lambda: DeviceFacts("Orin", "sm87", "12.6", True))
    return make_jetson(tmp_path / "root")


def test_a_jetson_with_everything_runs_tensorrt(capable: Path) -> None:
    assert as_dict(examine(capable), capable)["targets"]["tensorrt"] is True


def test_the_first_lack_is_the_reason_why_a_target_cannot_run(capable: Path) -> None:
    (capable / "proc/device-tree/model").unlink()
    (capable / "proc/driver/nvidia/version").unlink()
    found = next(f for f in examine(capable) if f.what == "run tensorrt engines (--target tensorrt)")
    assert not found.works and found.found == "it cannot use an NVIDIA GPU"


def test_everything_missing_comes_with_a_fix(tmp_path: Path) -> None:
    assert [f.what for f in examine(tmp_path) if not f.works and not f.fix] == []


def test_this_machine_can_stream(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    assert can_stream(findings) and "mien-light (" in findings[0].found


def test_the_findings_are_plain_values(tmp_path: Path) -> None:
    found = as_dict(examine(make_jetson(tmp_path)), tmp_path)
    assert {"python", "machine", "system", "facts", "targets", "findings"} == set(found)
    assert all(set(f) == {"what", "works", "found", "fix"} for f in found["findings"])
    assert found["facts"]["l4t"] == "36.4.3" and found["targets"]["cpu"] is True


def test_a_line_for_a_person_ends_with_the_fix() -> None:
    assert Finding("fly", False, "no wings", "grow some").to_text() == "no  fly: no wings  →  grow some"
    assert Finding("walk", True, "two legs").to_text() == "yes walk: two legs"
