"""Defects that real deployments meet, planted one at a time: each fails, and the first line names cause or link."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import calibration.quantize
import runtime.golden
import runtime.preprocess
from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.pixel_grid import choose_scales
from calibration.quantize import plan, quantize
from export.gate.form import open_form
from runtime.card import Model
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from train.datasets.labelled_faces import LabelledFaces

CROPS = "FAILED: frame → crop → answer departs from the card"


def graph_of(model: Model, graph: str) -> onnx.ModelProto:
    return parse_model(model.read_graph(graph), graph)


def replaced(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    """Return the graph with one constant changed; its type stays."""
    weight = next(w for w in model.graph.initializer if w.name == name)
    value = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.asarray(change(value)).astype(value.dtype).reshape(value.shape), name))
    return model


def normalization(model: onnx.ModelProto) -> tuple[str, str]:
    """Return the names of the constants that pixels are multiplied with and that are added."""
    constants = {w.name for w in model.graph.initializer}
    multiply = next(node for node in model.graph.node if node.op_type == "Mul")
    add = next(node for node in model.graph.node if node.op_type == "Add")
    return (next(i for i in multiply.input if i in constants), next(i for i in add.input if i in constants))


# in the graph

def test_normalization_missing(shipped: Model, changed: Callable, check: Callable) -> None:
    graph = graph_of(shipped, "int8")
    multiply, add = normalization(graph)
    graph = replaced(replaced(graph, multiply, np.ones_like), add, np.zeros_like)
    line = check(changed({"int8": graph})).headline
    assert line.startswith("FAILED: int8.onnx departs from fp32.onnx") and "features.0.0" in line


def test_normalization_twice(shipped: Model, changed: Callable, check: Callable) -> None:
    graph = graph_of(shipped, "int8")
    multiply, add = normalization(graph)
    a, b = (numpy_helper.to_array(w) for name in (multiply, add) for w in graph.graph.initializer if w.name == name)
    graph = replaced(replaced(graph, multiply, lambda _: a * a), add, lambda _: a * b + b)
    line = check(changed({"int8": graph})).headline
    assert line.startswith("FAILED: int8.onnx departs from fp32.onnx") and "features.0.0" in line


def test_labels_permuted_on_the_card(shipped: Model, changed: Callable, check: Callable) -> None:
    labels = list(shipped.card.labels)
    labels[3], labels[4] = labels[4], labels[3]
    line = check(changed(labels=tuple(labels))).headline
    assert line.startswith(f"{CROPS}: expected the labels angry")


def test_outputs_permuted_in_the_graph(shipped: Model, changed: Callable, check: Callable) -> None:
    graph = graph_of(shipped, "fp32")
    last = next(node for node in reversed(graph.graph.node) if node.op_type == "Gemm")
    turned = replaced(graph, last.input[1], lambda w: np.roll(w, 1, axis=0 if w.shape[0] == 7 else 1))
    line = check(changed({"fp32": turned}), "fp32").headline
    assert line.startswith("FAILED: fp32.onnx departs from PyTorch's recorded logits")


def int8_of(model: Model, faces: np.ndarray, percentile: float = 99.999) -> onnx.ModelProto:
    """Return the CPU form as `mien calibrate` makes it from these faces."""
    fp32 = graph_of(model, "fp32")
    histograms = observe(fp32, plan(fp32).tensors, faces)
    scales = choose_scales(fp32, histograms, "percentile", percentile)
    return quantize(fp32, plan(fp32), scales, "cpu")


@pytest.fixture(scope="module")
def calibration_faces(fer2013: LabelledFaces) -> np.ndarray:
    training = fer2013.split("Training")
    return training.images[:64, None]


def test_the_clean_road_passes_what_the_defects_fail(shipped: Model, changed: Callable, check: Callable,
                                                     calibration_faces: np.ndarray) -> None:
    report = check(changed({"int8": int8_of(shipped, calibration_faces)}))
    assert report.verdict != "fail", report.headline  # 384 faces are too few for every class to pass


def test_saturated_ranges(shipped: Model, changed: Callable, check: Callable, calibration_faces: np.ndarray) -> None:
    line = check(changed({"int8": int8_of(shipped, calibration_faces, percentile=90)})).headline
    assert line.startswith("FAILED: int8.onnx departs from fp32.onnx") and "first layer" in line


def test_calibration_on_the_wrong_set(shipped: Model, changed: Callable, check: Callable,
                                      calibration_faces: np.ndarray) -> None:
    dark = (calibration_faces // 16).astype(np.uint8)
    line = check(changed({"int8": int8_of(shipped, dark)})).headline
    assert line.startswith("FAILED: int8.onnx departs from") and "first layer" in line


def test_per_tensor_weights(shipped: Model, changed: Callable, check: Callable, calibration_faces: np.ndarray,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    def one_scale(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        scale = np.float32(np.abs(weights).max() / 127)
        return (np.clip(np.rint(weights / scale), -127, 127).astype(np.int8),
                np.full(weights.shape[axis], scale, np.float32))

    # four bits' worth of spread between channels, as folded batch norms leave it; per-channel scales undo it
    monkeypatch.setattr(calibration.quantize, "quantize_weights", one_scale)
    fp32 = graph_of(shipped, "fp32")
    first, second = [n for n in fp32.graph.node if n.op_type == "Conv"][4:6]
    spread = 16.0 ** np.linspace(-1, 1, numpy_helper.to_array(
        next(w for w in fp32.graph.initializer if w.name == first.input[1])).shape[0])
    for name, change in ((first.input[1], lambda w: w * spread[:, None, None, None]),
                         (first.input[2], lambda b: b * spread),
                         (second.input[1], lambda w: w / spread[None, :, None, None])):
        fp32 = replaced(fp32, name, change)
    model = changed({"fp32": fp32})
    line = check(changed_graph(model, int8_of(model, calibration_faces))).headline
    assert line.startswith("FAILED: int8.onnx departs from") and "fp32.onnx" not in line.partition(" departs")[0]


def changed_graph(model: Model, int8: onnx.ModelProto) -> Model:
    """Put an INT8 graph into a model directory that is a copy already."""
    from runtime.card import FileEntry, load_model, save_card

    onnx.save(int8, model.directory / "int8.onnx")
    entries = model.card.graphs | {"int8": FileEntry.of(model.directory / "int8.onnx")}
    save_card(model.directory, dataclasses.replace(model.card, graphs=entries))
    return load_model(model.directory)


def test_one_layers_scale_off_by_two(shipped: Model, changed: Callable, check: Callable) -> None:
    graph = replaced(graph_of(shipped, "int8"), "features.4.0.weight_s", lambda scales: 2 * scales)
    line = check(changed({"int8": graph})).headline
    assert line.startswith("FAILED: int8.onnx departs from fp32.onnx") and "features.4.0" in line


@pytest.fixture
def overflowing(shipped: Model, changed: Callable) -> Model:
    """A model whose fp16 graph is right in float32 and overflows in half precision."""
    graph = graph_of(shipped, "fp16")
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    big = np.float32(2.0**13)
    for name, by in ((convolutions[2].input[1], big), (convolutions[2].input[2], big),
                     (convolutions[3].input[1], 1 / big)):
        graph = replaced(graph, name, lambda value, by=by: value.astype(np.float32) * by)
    return changed({"fp16": graph})


def test_half_precision_overflows(overflowing: Model, check: Callable) -> None:
    report = check(overflowing, form=open_form(overflowing, "fp16"))
    assert report.headline.startswith("FAILED: fp16.onnx departs from")
    assert report.as_dict()["form"] == "gpu" and "fp16 in half arithmetic on cpu" in report.what


def test_a_cpus_own_kernels_hide_an_overflow_and_the_report_says_so(overflowing: Model, check: Callable) -> None:
    report = check(overflowing, form=open_form(overflowing, "fp16", name="cpu"))
    assert report.verdict != "fail" and report.as_dict()["form"] == "cpu"
    assert "fp16 in float32 arithmetic on cpu" in report.what and "what overflows is not seen" in report.lines()[-1]


def test_half_precision_overflows_beside_the_graph_that_is_checked(overflowing: Model, check: Callable) -> None:
    report = check(overflowing, "int8", chain=True)
    assert report.headline.startswith("FAILED: fp16.onnx departs from fp32.onnx")


def test_answers_that_are_no_numbers(shipped: Model, changed: Callable, check: Callable) -> None:
    class Broken(OnnxRuntimeEngine):
        def run(self, arrays: dict) -> dict:
            found = super().run(arrays)
            found["logits"][::50] = np.nan
            return found

    line = check(shipped, "int8", Broken(shipped.read_graph("int8"), "broken", "int8")).headline
    assert line.startswith("FAILED: int8.onnx departs from fp32.onnx") and "not finite" in line


def test_a_stale_engine(shipped: Model, check: Callable) -> None:
    class Stale(OnnxRuntimeEngine):
        """An engine of last month's weights, on a target whose layers nobody sees."""

    old = replaced(graph_of(shipped, "fp32"), "features.7.0.weight", lambda w: 0.7 * w)
    engine = Stale(old.SerializeToString(), "stale", "int8")
    engine.target = "tensorrt"
    report = check(shipped, "int8-gpu", engine)
    assert report.headline.startswith("FAILED: tensorrt engine departs from")
    assert all(link.verdict != "fail" for link in report.links if link.name.endswith(".onnx"))


# before the graph: the golden frames replay them

def test_colours_swapped(shipped: Model, check: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = runtime.golden.crop_faces
    monkeypatch.setattr(runtime.golden, "crop_faces",
                        lambda frame, *rest: crop(np.ascontiguousarray(frame[..., ::-1]), *rest))
    assert check(shipped).headline.startswith(f"{CROPS}: expected the golden crops")


def test_another_interpolation(shipped: Model, check: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    resize = cv2.resize
    monkeypatch.setattr(runtime.preprocess.cv2, "resize",
                        lambda image, size, interpolation: resize(image, size, interpolation=cv2.INTER_NEAREST))
    assert check(shipped).headline.startswith(f"{CROPS}: expected the golden crops")


def test_another_crop_margin(shipped: Model, changed: Callable, check: Callable) -> None:
    model = changed(input=dataclasses.replace(shipped.card.input, margin=0.1))
    assert check(model).headline.startswith(f"{CROPS}: expected the golden crops")


def test_temperature_dropped(shipped: Model, changed: Callable, check: Callable) -> None:
    line = check(changed(temperature=1.0)).headline
    assert line.startswith(f"{CROPS}: expected the golden probabilities")
