"""A model directory of anyone's ONNX file: the file's own answers, in every batch and precision, or nothing written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from given_networks import FIXED, FREE, LABELS, SIDE, given_graph, save_given
from onnx import helper, numpy_helper
from torch import Tensor, nn

import mien
from calibration.lint import lint
from calibration.onnx_graph import parse_model
from export.imported.given_onnx import read_given
from export.imported.model_from_onnx import Asked, model_from_onnx
from export.imported.pixel_scaling import PixelScaling
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from export.lineage import lineage_of
from runtime.agreement import softmax
from runtime.card import Model, load_model
from runtime.engines import open_engine
from runtime.errors import BadInput, MienError
from runtime.golden import require_agreement
from train.networks.normalize import IMAGENET_MEAN, IMAGENET_STD

IMAGENET = PixelScaling(IMAGENET_MEAN, IMAGENET_STD)
ASKED = Asked(LABELS, IMAGENET)
GREY = Asked(LABELS, PixelScaling((0.5,), (0.25,)))


def noise(count: int, channels: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def imported(folder: Path, model: onnx.ModelProto, asked: Asked = ASKED) -> Model:
    model_from_onnx(read_given(save_given(folder / "given.onnx", model)), asked, folder / "model")
    return load_model(folder / "model")


def given_answers(file: Path, pictures: np.ndarray) -> np.ndarray:
    """Run the file as it is, one picture at a time: nothing of mien's takes part."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: picture[None]})[0] for picture in pictures])


def engine_answers(model: Model, precision: str, faces: np.ndarray) -> np.ndarray:
    return open_engine(model, precision, "cpu").run({"faces": faces})["logits"]


def as_torchvision(faces: np.ndarray) -> np.ndarray:
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (faces.astype(np.float32) / 255 - mean) / std


@pytest.mark.parametrize(("batch", "row"), [(FREE, "Flatten"), (FIXED, "Flatten"), (FIXED, "Reshape")])
def test_a_batch_of_pixels_gets_the_files_own_logits(tmp_path: Path, batch: int | str, row: str) -> None:
    model, faces = imported(tmp_path, given_graph(3, batch, row)), noise(5, 3)
    wanted = given_answers(tmp_path / "given.onnx", as_torchvision(faces))
    np.testing.assert_allclose(engine_answers(model, "fp32", faces), wanted, atol=1e-4)
    np.testing.assert_allclose(engine_answers(model, "fp16", faces), wanted, atol=0.05)
    assert model.card.training["onnx"]["batch"] == ("free" if batch == FREE else "1, freed")


def test_a_grey_face_is_repeated_for_a_network_of_three_channels(tmp_path: Path) -> None:
    model, faces = imported(tmp_path, given_graph(3), dataclasses.replace(ASKED, colour="grey")), noise(5, 1)
    wanted = given_answers(tmp_path / "given.onnx", as_torchvision(np.repeat(faces, 3, axis=1)))
    np.testing.assert_allclose(engine_answers(model, "fp32", faces), wanted, atol=1e-4)
    assert model.card.input.channels == 1


def test_a_grey_face_is_repeated_in_int8_too_where_its_pixels_are_exact(tmp_path: Path) -> None:
    asked = Asked(LABELS, PixelScaling((0.5,), (0.5,)), colour="grey")
    model, faces = imported(tmp_path, given_graph(3), asked), noise(32, 1)
    card = int8_from_onnx(model, faces, Rounding("max"), {"name": "noise"})
    assert card.calibration["exact_pixels"] is not None
    model = load_model(model.directory)
    assert np.abs(engine_answers(model, "int8", faces) - engine_answers(model, "fp32", faces)).max() < 0.3


def test_a_graph_that_uses_our_names_keeps_its_answers(tmp_path: Path) -> None:
    last = helper.make_node("Mul", ["scores", "faces"], ["y"], name="logits")
    graph = given_graph(1, ends_in=last)
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(2), "faces"))
    model, faces = imported(tmp_path, graph, GREY), noise(5, 1)
    wanted = given_answers(tmp_path / "given.onnx", (faces.astype(np.float32) / 255 - 0.5) / 0.25)
    np.testing.assert_allclose(engine_answers(model, "fp32", faces), wanted, atol=1e-4)


@pytest.mark.parametrize("first", [
    helper.make_node("Clip", ["x"], ["clipped"], name="first", min=-1.0, max=2.0),
    helper.make_node("Upsample", ["x", "twice"], ["clipped"], name="first", mode="nearest")], ids=["Clip", "Upsample"])
def test_what_an_old_opset_has_as_settings_are_weights_and_pixels_stay_float(tmp_path: Path,
                                                                             first: onnx.NodeProto) -> None:
    """The converter makes Constant nodes of them, beside which nothing took the pixels for pixels."""
    graph = given_graph(1, opset=9)
    graph.graph.node[0].input[0] = "clipped"
    graph.graph.node.insert(0, first)
    graph.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    model, faces = imported(tmp_path, graph, GREY), noise(5, 1)
    wanted = given_answers(tmp_path / "given.onnx", (faces.astype(np.float32) / 255 - 0.5) / 0.25)
    np.testing.assert_allclose(engine_answers(model, "fp32", faces), wanted, atol=1e-4)
    half = onnx.load(model.directory / "fp16.onnx").graph
    assert "Constant" not in [node.op_type for node in half.node]
    kinds = [node.op_type for node in half.node]
    to_half = next(n for n, node in enumerate(half.node) if node.op_type == "Cast"
                   and node.attribute[0].i == onnx.TensorProto.FLOAT16)
    assert max(kinds.index(kind) for kind in kinds if kind in ("Clip", "Resize")) < to_half < kinds.index("Conv")


def test_a_graph_of_uint8_is_imported_as_it_is(tmp_path: Path) -> None:
    first = imported(tmp_path, given_graph(1), GREY)
    again = model_from_onnx(read_given(first.directory / "fp32.onnx"), Asked(LABELS, None), tmp_path / "again")
    faces = noise(5, 1)
    assert np.array_equal(engine_answers(load_model(tmp_path / "again"), "fp32", faces),
                          engine_answers(first, "fp32", faces))
    assert again.training["onnx"]["mean"] is None


def test_what_is_imported_calibrates_and_agrees_with_its_golden_faces(tmp_path: Path) -> None:
    model = imported(tmp_path, given_graph(3, FIXED, "Reshape"))
    int8_from_onnx(model, noise(32, 3), Rounding("max"), {"name": "noise"})
    model = load_model(model.directory)
    for precision in ("fp32", "fp16", "int8"):
        assert require_agreement(model, open_engine(model, precision, "cpu"), precision).faces == 30
    golden = model.read_golden()
    assert golden.frames is not None and np.allclose(golden.probabilities, softmax(golden.logits), atol=1e-6)
    assert [f for f in lint(parse_model(model.read_graph("int8-gpu"), "")) if f.rule.severity == "error"] == []


def test_the_lineage_begins_with_the_file(tmp_path: Path) -> None:
    model, file = imported(tmp_path, given_graph()), tmp_path / "given.onnx"
    def first(given: Path | None) -> tuple[str, str]:
        link = lineage_of(model, [], given).links[0]
        return link.name, link.state

    assert [first(None), first(file)] == [("onnx", "named"), ("onnx", "verified")]
    assert first(save_given(tmp_path / "other.onnx", given_graph(1))) == ("onnx", "broken")
    assert lineage_of(model, []).hashes["onnx_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(BadInput, match="what it was trained on is not known"):
        lineage_of(model, [], data=tmp_path)


def mixes_pictures(graph: onnx.ModelProto) -> None:
    """Take the batch's mean from every feature, which a picture alone does not show."""
    mean = helper.make_node("ReduceMean", ["row"], ["of_all"], axes=[0], keepdims=1)
    away = helper.make_node("Sub", ["row", "of_all"], ["apart"])
    nodes = [*graph.graph.node[:7], mean, away, *graph.graph.node[7:]]
    nodes[-1].input[0] = "apart"
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def counts_one_picture(graph: onnx.ModelProto) -> None:
    """Join a row that stands for one picture only, as an exported class token does."""
    graph.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 8), np.float32), "token"))
    nodes = list(graph.graph.node)
    nodes.insert(7, helper.make_node("Concat", ["row", "token"], ["joined"], axis=1))
    nodes.insert(8, helper.make_node("Slice", ["joined", "from", "to", "axis"], ["cut"]))
    for name, value in (("from", 0), ("to", 8), ("axis", 1)):
        graph.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    nodes[-1].input[0] = "cut"
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


@pytest.mark.parametrize(("batch", "change"), [(FREE, mixes_pictures), (FIXED, counts_one_picture)])
def test_a_graph_whose_batch_is_not_free_is_refused(tmp_path: Path, batch: int | str,
                                                    change: Callable[[onnx.ModelProto], None]) -> None:
    graph = given_graph(3, batch)
    change(graph)
    with pytest.raises(BadInput, match="dynamic_axes"):
        imported(tmp_path, graph)
    assert not (tmp_path / "model").exists()


def test_a_half_graph_that_departs_is_not_written(tmp_path: Path) -> None:
    last = helper.make_node("Mul", ["scores", "large"], ["y"])
    graph = given_graph(3, ends_in=last)
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(100), "large"))
    with pytest.raises(MienError, match=r"fp16 within 0.1 of the given graph .*nothing was written"):
        imported(tmp_path, graph)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("asked", "words"), [
    (dataclasses.replace(ASKED, labels=LABELS[:6]), "expected 7 different labels, .* found 6"),
    (dataclasses.replace(ASKED, labels=("angry",) * 7), "expected 7 different labels"),
    (dataclasses.replace(ASKED, scaling=None), "--normalize unit.signed.imagenet.none"),
    (dataclasses.replace(ASKED, scaling=PixelScaling((0.5,) * 2, (0.5,) * 2)), "or 3 of them"),
    (dataclasses.replace(ASKED, equalize=True), "equalize only with colour: grey")])
def test_flags_that_do_not_fit_the_network_are_refused(tmp_path: Path, asked: Asked, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        imported(tmp_path, given_graph(), asked)


def test_colour_for_a_network_of_one_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--colour grey for a network of one channel"):
        imported(tmp_path, given_graph(1), dataclasses.replace(GREY, colour="rgb"))


class Residual(nn.Module):
    """What a person brings: batch norm, a residual addition, and a view that names its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.block, self.classify = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 7)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        return self.classify(torch.relu(x + self.block(x)).mean((2, 3)).view(x.shape[0], -1))


def test_the_verb_imports_what_pytorch_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = Residual().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(network, (torch.zeros(1, 3, 20, 24),), str(tmp_path / "mine.onnx"), opset_version=17,
                          dynamo=False)  # the older exporter, which takes a tenth of the time
    (tmp_path / "faces").mkdir()
    for number, face in enumerate(noise(64, 3, 32)):
        cv2.imwrite(str(tmp_path / f"faces/{number}.png"), face.transpose(1, 2, 0))
    capsys.readouterr()
    code = mien.main(["import", str(tmp_path / "mine.onnx"), "--labels", ", ".join(LABELS), "--out",
                      str(tmp_path / "mine"), "--mean", "0.5", "0.4", "0.3", "--std", "0.2", "0.3", "0.4", "--images",
                      str(tmp_path / "faces"), "--json"])
    assert code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images_are"] == "real" and said["images"] == 64
    assert said["onnx"]["batch"] == "1, freed" and said["onnx"]["made_by"].startswith("pytorch")
    model = load_model(tmp_path / "mine")
    assert (model.card.labels, model.card.input.height, model.card.input.width) == (LABELS, 20, 24)
    faces = np.random.default_rng(2).integers(0, 256, (5, 3, 20, 24), dtype=np.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    with torch.no_grad():
        wanted = network((torch.from_numpy(faces) / 255 - mean) / std).numpy()
    np.testing.assert_allclose(engine_answers(model, "fp32", faces), wanted, atol=1e-4)
