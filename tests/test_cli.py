"""The command line as a person meets it: exit codes, one line for an error, one JSON object for --json."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from runtime.machine import find_gpu

ROOT = Path(__file__).resolve().parent.parent
BAD_INPUT, UNAVAILABLE = 2, 3
LABELS = 7

# As on a machine without those packages: no finder finds them
WITHOUT = """
import sys
missing = set(sys.argv.pop(1).split(","))
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import mien
sys.exit(mien.main(sys.argv[1:]))
"""


def mien(*arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run `python mien.py …` in the repository; `without` names packages that shall not be there."""
    program = ["-c", WITHOUT, without] if without else ["mien.py"]
    return subprocess.run([sys.executable, *program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                          timeout=240, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})


def assert_refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line `mien: expected …, found …` on stderr that holds the words, nothing on stdout, and the exit code."""
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("mien: expected") and "found" in lines[0]
    assert [word for word in words if word not in lines[0]] == []
    assert result.stdout == ""


def only_object(result: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """Parse stdout as exactly one JSON object without NaN, which JSON does not have."""
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    values = json.loads(result.stdout, parse_constant=refuse)
    assert isinstance(values, dict)
    return values


# bad input

def test_no_verb_is_a_usage_error() -> None:
    result = mien()
    assert result.returncode == BAD_INPUT and "usage: mien" in result.stderr and result.stdout == ""


def test_an_unknown_verb_is_a_usage_error() -> None:
    assert mien("trian").returncode == BAD_INPUT


def test_help_names_every_verb_and_every_exit_code() -> None:
    result = mien("--help")
    assert result.returncode == 0
    for word in ("data", "train", "evaluate", "export", "calibrate", "build", "check", "prepare", "stream", "demo",
                 "doctor", "0 done or passed", "4 inconclusive"):
        assert word in result.stdout


def test_a_missing_data_path_is_named(tmp_path: Path) -> None:
    assert_refused(mien("data", "check", "fer2013", tmp_path / "nowhere"), BAD_INPUT, "fer2013.csv", "nowhere")


def test_an_empty_folder_is_no_data_set(tmp_path: Path) -> None:
    assert_refused(mien("data", "check", "fer2013", tmp_path), BAD_INPUT, "found no image", str(tmp_path))


def test_an_unknown_recipe_gets_a_suggestion(tmp_path: Path) -> None:
    result = mien("train", "--recipe", "smal-vgg", "--data", tmp_path, "--out", tmp_path / "run")
    assert_refused(result, BAD_INPUT, "did you mean small-vgg?")
    assert not (tmp_path / "run").exists()


def test_an_unknown_key_in_a_recipe_gets_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("network: small-vgg\nlearning_rat: 1e-3\n")
    result = mien("train", "--recipe", tmp_path / "mine.yaml", "--data", tmp_path, "--out", tmp_path / "run")
    assert_refused(result, BAD_INPUT, "mine.yaml", "did you mean learning_rate?")


def test_one_flipped_byte_in_a_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    content = bytearray((tiny_model / "fp32.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tiny_model / "fp32.onnx").write_bytes(content)
    result = mien("build", tiny_model, "--precision", "fp32", "--gpu", "sm86", "--out", tmp_path / "engines")
    assert_refused(result, BAD_INPUT, "hash", "fp32.onnx")
    assert not (tmp_path / "engines").exists()


def test_a_missing_model_is_answered_with_the_shipped_ones() -> None:
    assert_refused(mien("build", "nowhere", "--precision", "fp32"), BAD_INPUT, "shipped models: mien-face, mien-light")


def test_a_cpu_build_is_refused_because_none_is_needed(tiny_model: Path) -> None:
    result = mien("build", tiny_model, "--precision", "fp32", "--target", "cpu")
    assert_refused(result, BAD_INPUT, "needs no build")


def test_a_graph_the_model_lacks_is_refused_with_the_verb_that_makes_it(tiny_model: Path) -> None:
    assert_refused(mien("build", tiny_model, "--precision", "int8", "--gpu", "sm86"), BAD_INPUT, "mien calibrate")


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    assert_refused(mien("export", tmp_path, "--out", tmp_path / "model"), BAD_INPUT, "checkpoint")


def test_a_stream_without_a_source_is_refused() -> None:
    assert_refused(mien("stream"), BAD_INPUT, "--config")


def test_a_folder_of_somebody_elses_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    assert_refused(mien("demo", "--out", tmp_path), BAD_INPUT, "would be lost")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(mien("demo", "--out", tmp_path / "file" / "demo"), BAD_INPUT, "choose another place")


# what is missing on this machine

@pytest.mark.parametrize(("package", "extra", "arguments"), [
    ("torch", "train", ("train", "--recipe", "small-vgg", "--data", ".", "--out", "/tmp/never")),
    ("torch", "train", ("export", "runs/x/best", "--out", "/tmp/never")),
    ("onnx", "export", ("calibrate", "mien-light", "--images", ".")),
    ("matplotlib", "report", ("demo", "--out", "/tmp/never"))])
def test_a_missing_extra_says_which_pip_install_brings_it(package: str, extra: str, arguments: tuple[str, ...]) -> None:
    result = mien(*arguments, without=package)
    assert_refused(result, UNAVAILABLE, package, f'pip install "mien[{extra}]"')


def test_a_broken_compiler_says_which_pip_install_brings_it(
        tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # before the real one on the compiling child's path, if that is here at all: its shared library does not load
    (tmp_path / "tensorrt_rtx.py").write_text("raise OSError('libnvinfer_rtx.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = mien("build", tiny_model, "--precision", "fp32", "--gpu", "sm86", "--out", tmp_path / "engines")
    assert_refused(result, UNAVAILABLE, "libnvinfer_rtx.so", 'pip install "mien[rtx]"')


def test_a_missing_camera_is_no_bad_input() -> None:
    assert_refused(mien("stream", "v4l2:///dev/video97"), UNAVAILABLE, "/dev/video97")


@pytest.mark.skipif(bool(find_gpu(Path("/"))), reason="this machine has an NVIDIA GPU")
@pytest.mark.parametrize("arguments", [("stream", "nowhere.mp4"), ("prepare", "mien-light")])
def test_a_gpu_target_without_a_gpu_points_to_the_cpu(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = mien(*arguments, "--target", "tensorrt-rtx", "--cache", tmp_path / "engines")
    assert_refused(result, UNAVAILABLE, "NVIDIA GPU", "--target cpu")
    assert list(tmp_path.iterdir()) == []


def test_doctor_succeeds_where_the_stream_runs() -> None:
    result = mien("doctor")
    assert result.returncode == 0 and result.stdout == ""
    assert "load the shipped models: mien-face (fp32, fp16, int8, int8-gpu); mien-light" in result.stderr


def test_doctor_fails_where_the_stream_cannot_run() -> None:
    result = mien("doctor", without="onnxruntime")
    assert result.returncode == UNAVAILABLE
    line = next(line for line in result.stderr.splitlines() if "run on the CPU" in line)
    assert line.startswith("no  run on the CPU (ONNX Runtime): expected the package onnxruntime, found none that loads")
    assert line.endswith("→  pip install mien")


def test_doctor_says_how_to_get_what_is_missing() -> None:
    result = mien("doctor", "--json", without="torch,tensorrt_rtx")
    assert result.returncode == 0  # the stream needs neither
    missing = {f["what"]: f["fix"] for f in only_object(result)["findings"] if not f["works"]}  # type: ignore[attr-defined]
    assert missing["train (PyTorch)"] == 'pip install "mien[train]"'
    assert missing["compile for desktop GPUs (TensorRT-RTX)"] == 'pip install "mien[rtx]"'


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen([sys.executable, "mien.py", "doctor", "--json"], cwd=ROOT, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # type: ignore[union-attr]
        said = process.stderr.read()  # type: ignore[union-attr]
    assert (process.returncode, said) == (0, b"")


# the road, once, on noise: what every verb prints with --json

def write_noise(path: Path) -> Path:
    """Write a fer2013.csv whose classes differ in brightness, so that there is something to learn."""
    random, rows = np.random.default_rng(0), ["emotion,pixels,Usage"]
    for usage, count in (("Training", 64), ("PublicTest", 21), ("PrivateTest", 21)):
        for number in range(count):
            label = number % LABELS
            face = np.clip(random.normal(30 + 30 * label, 20, 48 * 48), 0, 255).astype(int)
            rows.append(f"{label},{' '.join(map(str, face))},{usage}")
    path.write_text("\n".join(rows) + "\n")
    return path


RECIPE = "network: small-vgg\nepochs: 1\nbatch_size: 16\nimage_sizes: [[0.0, 48]]\n"


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """data check → train → evaluate → export → calibrate → build → check, each with --json."""
    place = tmp_path_factory.mktemp("road")
    data = write_noise(place / "fer2013.csv")
    (place / "quick.yaml").write_text(RECIPE)
    model, best = place / "model", place / "run" / "best"
    commands: dict[str, tuple[object, ...]] = {
        "data": ("data", "check", "fer2013", data),
        "train": ("train", "--recipe", place / "quick.yaml", "--data", data, "--out", place / "run"),
        "evaluate": ("evaluate", best, "--data", data, "--out", place / "figures"),
        "export": ("export", best, "--out", model),
        "calibrate": ("calibrate", model, "--images", data, "-n", "32"),
        "check": ("check", model, "--data", data, "--record", place / "check.json"),
        "check-gpu-form": ("check", model, "--data", data, "--form", "gpu"),
        "check-strict": ("check", model, "--data", data, "--kl", "0", "--split", "PublicTest"),
        "check-against-pytorch": ("check", model, "--data", data, "--precision", "fp32", "--checkpoint", best,
                                  "--accuracy-drop", "50", "--agreement", "0.5"),  # 21 faces prove no less
        "evaluate-model": ("evaluate", model, "--precision", "int8", "--data", data, "--split", "PrivateTest"),
    }
    if importlib.util.find_spec("tensorrt_rtx"):
        commands["build"] = ("build", model, "--precision", "int8", "--gpu", "sm86", "--out", place / "engines")
    return {name: mien(*command, "--json") for name, command in commands.items()}


VERBS = ("data", "train", "evaluate", "export", "calibrate", "check", "check-gpu-form", "check-strict",
         "check-against-pytorch", "evaluate-model")


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_one_object_and_nothing_else_on_stdout(road: dict, verb: str) -> None:
    assert only_object(road[verb]), road[verb].stderr


@pytest.mark.parametrize("verb", ["data", "train", "evaluate", "export", "calibrate", "check-against-pytorch"])
def test_a_stage_that_worked_ends_with_0(road: dict, verb: str) -> None:
    assert road[verb].returncode == 0, road[verb].stderr


@pytest.mark.parametrize("verb", VERBS)
def test_people_read_stderr(road: dict, verb: str) -> None:
    assert "Traceback" not in road[verb].stderr and "Warning" not in road[verb].stderr
    assert road[verb].stderr.strip() or verb == "data"


@pytest.mark.parametrize("verb", ["check", "check-gpu-form", "check-strict", "check-against-pytorch"])
def test_the_exit_code_of_a_check_is_its_verdict(road: dict, verb: str) -> None:
    verdict = only_object(road[verb])["verdict"]  # type: ignore[index]
    assert road[verb].returncode == {"pass": 0, "fail": 1, "inconclusive": 4}[verdict]


def test_a_check_that_fails_ends_with_1_and_says_why(road: dict) -> None:
    assert road["check-strict"].returncode == 1
    assert road["check-strict"].stderr.startswith("FAILED: int8.onnx departs from fp32.onnx: kl ")


@pytest.mark.parametrize("gone", [("stdout",), ("stdout", "stderr")])
def test_a_check_that_fails_ends_with_1_and_leaves_its_record_though_nobody_reads(
        road: dict, tmp_path: Path, gone: tuple[str, ...]) -> None:
    """`mien check … | head` in CI: a broken pipe is no pass."""
    read, write = os.pipe()
    os.close(read)
    streams: dict[str, int] = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL) | dict.fromkeys(gone, write)
    result = subprocess.run([*road["check-strict"].args, "--record", str(tmp_path / "check.json")], cwd=ROOT,
                            timeout=240, check=False, **streams)  # type: ignore[call-overload]
    os.close(write)
    assert result.returncode == 1
    assert json.loads((tmp_path / "check.json").read_text())["verdict"] == "fail"


def test_a_check_of_too_few_faces_ends_with_4_and_says_how_many_more(road: dict) -> None:
    said = road["check"].stderr
    assert road["check"].returncode == 4
    assert said.startswith("INCONCLUSIVE: about ") and "more images would decide" in said


def test_an_exported_graph_agrees_with_its_checkpoint(road: dict) -> None:
    found = only_object(road["check-against-pytorch"])
    assert found["agreement"] == 1.0 and found["worst_delta"] < 1e-3  # type: ignore[operator]


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
def test_a_built_engine_is_reported_as_json(road: dict) -> None:
    assert road["build"].returncode == 0, road["build"].stderr
    assert only_object(road["build"])["graph"] == "int8-gpu"


def test_the_shipped_model_is_not_calibrated_in_place() -> None:
    assert_refused(mien("calibrate", "mien-light", "--images", "nowhere"), BAD_INPUT, "copy it first")


@pytest.mark.parametrize("package", ["cv2", "numpy", "yaml", "onnxruntime"])
def test_a_missing_part_of_the_lean_runtime_is_one_line(package: str) -> None:
    assert_refused(mien("stream", "nowhere.mp4", without=package), UNAVAILABLE, package, "pip install \"mien\"")


def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    demo = subprocess.Popen([sys.executable, "mien.py", "demo", "--frames", "100000", "--out", str(tmp_path / "demo")],
                            cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".demo.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    demo.terminate()
    assert demo.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_names_those_that_are_known() -> None:
    assert_refused(mien("data", "check", "fer2014", "."), BAD_INPUT, "fer2013", "ck-plus", "fer2014")
