"""Triton's repository: its own schema reads it, and the step in between answers as the stream does."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from triton_standin import parameters_of

import mien
from export.new_folder import write_new_folder
from export.triton.config_text import Name, protobuf_text
from export.triton.copied_runtime import copied_runtime
from export.triton.repository import Serving, repository_files
from runtime.card import Model, load_model
from runtime.engines import open_engine
from runtime.errors import BadInput, BadModel
from runtime.expressions import ExpressionReader
from runtime.faces import open_detector

ROOT = Path(__file__).resolve().parents[3]
LIGHT, FACE = load_model(Path("mien-light")), load_model(Path("mien-face"))
TYPES = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


@pytest.fixture(scope="session")
def schema() -> ModuleType:
    """Triton's model_config.proto as tritonclient compiled it; that file alone, which needs protobuf and no gRPC."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:
        pytest.skip("tritonclient is not installed: pip install --no-deps tritonclient")
    place = Path(package.submodule_search_locations[0]) / "grpc/model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(schema: ModuleType, text: bytes) -> Any:
    text_format = pytest.importorskip("google.protobuf.text_format")
    return text_format.Parse(text, schema.ModelConfig())


def sizes_of(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(("target", "precision"), [
    ("cpu", "fp32"), ("cpu", "fp16"), ("cpu", "int8"), ("tensorrt", "fp16"), ("tensorrt", "int8")])
def test_tritons_schema_reads_the_configurations_and_they_say_what_the_graphs_say(
        schema: ModuleType, precision: str, target: str) -> None:
    serving = Serving(target, precision, precision)  # type: ignore[arg-type]
    files = repository_files(LIGHT, FACE, serving)
    for model in (LIGHT, FACE):
        name = model.card.name
        config = parsed(schema, files[f"{name}/config.pbtxt"])
        form = "int8-gpu" if precision == "int8" else precision
        path = f"{name}/1/model.onnx" if target == "cpu" else f"{name}/graph/{form}.onnx"
        graph = onnx.load_model_from_string(files[path]).graph
        platform = {"cpu": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}[target]
        assert (config.name, config.platform) == (name, platform)
        for told, real in zip([*config.input, *config.output], [*graph.input, *graph.output], strict=True):
            kind = schema.DataType.Name(told.data_type)
            assert (told.name, kind) == (real.name, TYPES[real.type.tensor_type.elem_type])
            free, *sizes = sizes_of(real)
            assert free == -1 and config.max_batch_size >= 1  # Triton's batch is the graph's free first size
            assert all(real_size in (-1, size) for size, real_size in zip(told.dims, sizes, strict=True))
            assert target == "cpu" or -1 not in told.dims
        assert config.HasField("dynamic_batching") and config.version_policy.latest.num_versions == 1
        assert [schema.ModelInstanceGroup.Kind.Name(group.kind) for group in config.instance_group] == [
            {"cpu": "KIND_CPU", "tensorrt": "KIND_GPU"}[target]]


def test_the_step_in_between_is_a_python_model_with_a_frame_a_request(schema: ModuleType) -> None:
    text = repository_files(LIGHT, FACE, Serving(at_once=3, max_faces=5))["mien/config.pbtxt"]
    config = parsed(schema, text)
    assert (config.backend, config.max_batch_size, config.instance_group[0].count) == ("python", 0, 3)
    told = {key: {"string_value": parameter.string_value} for key, parameter in config.parameters.items()}
    assert told == parameters_of(text.decode())
    assert config.parameters["max_faces"].string_value == "5"
    assert [(o.name, list(o.dims)) for o in config.output] == [
        ("boxes", [-1, 4]), ("landmarks", [-1, 5, 2]), ("scores", [-1]), ("probabilities", [-1, 7]), ("labels", [-1])]


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])), dims=st.lists(st.integers(-1, 2**31 - 1)))
def test_whatever_is_written_is_read_back(schema: ModuleType, text: str, dims: list[int]) -> None:
    written = protobuf_text({"name": text, "input": {"dims": dims, "data_type": Name("TYPE_UINT8")}})
    config = parsed(schema, written.encode())
    assert (config.name, list(config.input[0].dims)) == (text, dims)


# the step in between

def pictures(photo: np.ndarray) -> dict[str, np.ndarray]:
    """Real faces, one and two of other sizes, cut off at the border, none, and what is no frame; in order of name."""
    pair = np.concatenate([photo, cv2.resize(photo, None, fx=0.5, fy=0.5).repeat(2, axis=0)[:600]], axis=1)
    small = cv2.resize(photo, (640, 480), interpolation=cv2.INTER_AREA)
    return {"0": photo, "1": np.ascontiguousarray(np.concatenate([small, small[:, ::-1]], axis=1)), "2": pair,
            "3": np.ascontiguousarray(photo[:, :260]), "4": np.full((90, 160, 3), 77, np.uint8),
            "5": np.zeros((48, 48, 4), np.uint8), "6": photo}


def run_step(files: Mapping[str, bytes], folder: Path, frames: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    write_new_folder(folder / "repository", files)
    np.savez(folder / "frames.npz", **frames)
    subprocess.run([sys.executable, str(ROOT / "tests/triton_standin.py"), "repository", "frames.npz", "answers.npz"],
                   cwd=folder, check=True, timeout=120, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    with np.load(folder / "answers.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_servers_numbers_are_the_streams(face_photo: np.ndarray, tmp_path: Path, precision: str) -> None:
    frames = pictures(face_photo)
    served = run_step(repository_files(LIGHT, FACE, Serving(precision=precision)), tmp_path, frames)
    detector = open_detector("mien-face", threads=1)
    reader = ExpressionReader(LIGHT, open_engine(LIGHT, precision, "cpu", threads=1), 0.4)
    seen = 0
    for number, frame in frames.items():
        if frame.shape[2] != 3:
            assert "expected a frame of (H, W, 3)" in str(served[f"{number}.error"])
            continue
        faces = detector.detect(frame)
        answers = reader.infer(reader.crop(frame, faces.boxes, faces.landmarks))
        assert served[f"{number}.boxes"].shape == (len(faces), 4)
        np.testing.assert_array_equal(served[f"{number}.boxes"], faces.boxes)
        np.testing.assert_array_equal(served[f"{number}.scores"], faces.scores)
        landmarks = np.zeros((0, 5, 2)) if faces.landmarks is None else faces.landmarks
        np.testing.assert_array_equal(served[f"{number}.landmarks"], landmarks)
        read = [answer for answer in answers if answer is not None]
        np.testing.assert_array_equal(served[f"{number}.probabilities"],
                                      np.reshape([answer.probabilities for answer in read], (-1, 7)))
        assert [label.decode() for label in served[f"{number}.labels"]] == [answer.label for answer in read]
        seen += len(faces)
    assert seen >= 5  # real faces were compared, not empty lists
    assert all(str(path).startswith(str(tmp_path / "repository/mien/1")) for path in served["loaded"])


def test_a_network_that_refuses_is_told_and_ends_nothing(face_photo: np.ndarray, tmp_path: Path) -> None:
    files = repository_files(LIGHT, FACE, Serving())
    files["mien-light/config.pbtxt"] = files["mien-light/config.pbtxt"].replace(b"_size: 64", b"_size: 0")
    served = run_step(files, tmp_path, {"0": face_photo, "1": np.zeros((64, 64, 3), np.uint8)})
    assert "expected an answer from mien-light, found: batch above 0" in str(served["0.error"])
    assert served["1.boxes"].shape == (0, 4)


def test_the_copied_code_needs_no_more_than_numpy_opencv_and_yaml() -> None:
    files = copied_runtime()
    program = ("import sys\nfor name in ('onnxruntime', 'onnx', 'torch', 'tqdm'): sys.modules[name] = None\n"
               "import runtime.faces.model_detector, runtime.expressions, runtime.card\n")
    assert "runtime/faces/anchor_free.py" in files and "runtime/preprocess.py" in files
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


# the folder

def test_the_same_models_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert mien.main(["export", "mien-light", "--triton", str(tmp_path / name)]) == 0
    first, second = ({p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
                     for n in ("first", "second"))
    assert first == second


def test_the_contents_name_every_files_hash() -> None:
    files = repository_files(LIGHT, FACE, Serving("tensorrt", "int8"))
    contents = json.loads(files.pop("contents.json"))
    assert contents["files"] == {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    assert contents["models"]["mien-light"]["sha256"] == LIGHT.card.graphs["int8-gpu"].sha256


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_no_engine_is_shipped(target: str) -> None:
    files = repository_files(LIGHT, FACE, Serving(target))  # type: ignore[arg-type]
    assert [path for path in files if path.endswith((".plan", ".engine", ".trt"))] == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.plan").write_text("hours of compiling")
    assert mien.main(["export", "mien-light", "--triton", str(tmp_path)]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["model.plan"]
    assert "expected" in capsys.readouterr().err


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_new_folder(tmp_path / "repository", {"a/config.pbtxt": b"", "a/config.pbtxt/1/model.onnx": b""})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "word"), [
    (["mien-face"], "task is expression"), (["mien-light", "--faces", "mien-light"], "task is face"),
    (["mien-light", "--max-faces", "65"], "--max-faces"), (["mien-light", "--at-once", "0"], "--at-once"),
    (["mien-light", "--threshold", "2"], "--threshold"), (["nowhere"], "model directory"),
    (["mien-light", "--out", "x"], "found --out"), (["mien-light", "--margin", "0"], "found --margin"),
    (["mien-light", "--deepstream", "x"], "one of --triton")])
def test_what_cannot_be_served_is_refused(
        arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["export", *arguments, "--triton", str(tmp_path / "repository")]) == 2
    assert word in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--precision=int8", "--faces=mien-face", "--target=cpu", "--at-once=4"])
def test_a_checkpoint_takes_no_flag_of_a_servers(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["export", "runs/x/best", "--out", "x", flag]) == 2
    assert f"found {flag.partition('=')[0]};" in capsys.readouterr().err


def test_a_checkpoint_still_needs_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["export", "runs/x/best"]) == 2
    assert "expected --out" in capsys.readouterr().err


def renamed(model: Model, name: str) -> Model:
    return dataclasses.replace(model, card=dataclasses.replace(model.card, name=name))


@pytest.mark.parametrize("name", ["mien", "mien-face", "../light", "a b", ""])
def test_a_name_that_is_taken_or_no_folders_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="name"):
        repository_files(renamed(LIGHT, name), FACE, Serving())


def test_a_card_whose_graph_says_otherwise_is_refused() -> None:
    card = dataclasses.replace(LIGHT.card, input_name="pictures")
    with pytest.raises(BadModel, match="faces, logits"):
        repository_files(dataclasses.replace(LIGHT, card=card), FACE, Serving())


# plans

FAKE_TRTEXEC = """#!/bin/sh
for word; do case $word in --saveEngine=*) echo "$*" > "${word#--saveEngine=}";; esac; done
[ -z "$FAIL" ]
"""


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "trtexec").write_text(FAKE_TRTEXEC)
    (folder / "trtexec").chmod(0o755)
    told = {**os.environ, "TRTEXEC": str(folder / "trtexec"), "FAIL": "", **environment}
    return subprocess.run(["sh", str(folder / "repository/build-plans.sh")], capture_output=True, check=False, env=told,
                          cwd="/")


def test_the_script_builds_each_plan_where_triton_looks_for_it(tmp_path: Path) -> None:
    write_new_folder(tmp_path / "repository", repository_files(LIGHT, FACE, Serving("tensorrt", "int8", "fp16")))
    assert build(tmp_path).returncode == 0
    read = (tmp_path / "repository/mien-light/1/model.plan").read_text().split()
    found = (tmp_path / "repository/mien-face/1/model.plan").read_text().split()
    assert {"--onnx=mien-light/graph/int8-gpu.onnx", "--stronglyTyped", "--minShapes=faces:1x1x48x48",
            "--maxShapes=faces:64x1x48x48"} <= set(read)
    assert {"--onnx=mien-face/graph/fp16.onnx", "--maxShapes=pictures:4x1x480x640"} <= set(found)


def test_a_graph_that_was_changed_is_not_compiled(tmp_path: Path) -> None:
    write_new_folder(tmp_path / "repository", repository_files(LIGHT, FACE, Serving("tensorrt")))
    with open(tmp_path / "repository/mien-light/graph/fp32.onnx", "ab") as graph:
        graph.write(b"\0")
    assert build(tmp_path).returncode != 0
    assert list(tmp_path.rglob("model.plan*")) == []


def test_a_plan_that_failed_is_none(tmp_path: Path) -> None:
    write_new_folder(tmp_path / "repository", repository_files(LIGHT, FACE, Serving("tensorrt")))
    assert build(tmp_path, FAIL="yes").returncode != 0
    assert list(tmp_path.rglob("model.plan")) == []
