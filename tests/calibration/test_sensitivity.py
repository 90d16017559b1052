"""Sensitivity: every figure is what the graphs say, the search keeps its budget, and nothing is measured twice."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration import sensitivity
from calibration.exposed_graph import open_with_outputs
from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from calibration.sensitivity import Cost, Mix, Trial, fewest_float, front
from runtime.errors import BadInput

RANDOM = np.random.default_rng(0)
LABELS = np.arange(96) % 4
# four patterns, each at another brightness and under noise
FACES = np.clip(RANDOM.integers(0, 200, (4, 1, 8, 8))[LABELS] * RANDOM.uniform(0.6, 1, (96, 1, 1, 1))
                + RANDOM.normal(0, 20, (96, 1, 8, 8)), 0, 255).astype(np.uint8)


def network(dense: np.ndarray | None = None) -> onnx.ModelProto:
    """Three convolutions and a dense layer; the second makes one channel 300 times larger, which ruins the others.

    dense: (4, 9) weights and biases that tell the patterns apart; without them the "logits" are the features.
    """
    random = np.random.default_rng(1)
    dense = np.eye(8, 9) if dense is None else dense
    first = random.normal(0, 0.3, (8, 1, 3, 3))
    second = random.normal(0, 0.2, (8, 8, 3, 3))
    second[0] *= 300
    third = random.normal(0, 0.2, (8, 8, 3, 3))
    third[:, 0] /= 300  # and takes it back: the function is an ordinary one
    weights = {"w1": first, "w2": second, "w3": third, "w4": dense[:, :8], "b4": dense[:, 8]}
    nodes = [helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT, name="cast"),
             helper.make_node("Mul", ["pixels", "share"], ["scaled"], name="scale")]
    source = "scaled"
    for number in (1, 2, 3):
        nodes += [helper.make_node("Conv", [source, f"w{number}"], [f"c{number}"], name=f"conv{number}",
                                   pads=[1, 1, 1, 1]),
                  helper.make_node("Relu", [f"c{number}"], [f"r{number}"], name=f"relu{number}")]
        source = f"r{number}"
    nodes += [helper.make_node("GlobalAveragePool", [source], ["mean"], name="mean"),
              helper.make_node("Flatten", ["mean"], ["flat"], name="flat"),
              helper.make_node("Gemm", ["flat", "w4", "b4"], ["logits"], name="dense", transB=1)]
    graph = helper.make_graph(
        nodes, "uneven", [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(dense)])],
        [numpy_helper.from_array(w.astype(np.float32), k) for k, w in weights.items()]
        + [numpy_helper.from_array(np.float32(1 / 255), "share")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return parse_model(onnx.shape_inference.infer_shapes(made).SerializeToString(), "uneven")


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """Its dense layer is fitted to the patterns by least squares."""
    features = np.hstack([logits_of(network()), np.ones((96, 1))])
    return network(np.linalg.lstsq(features, 6.0 * np.eye(4)[LABELS], rcond=None)[0].T)


@pytest.fixture(scope="module")
def scales(model: onnx.ModelProto) -> dict[str, np.float32]:
    return {name: scale_of(h.largest) for name, h in observe(model, plan(model).tensors, FACES[:32]).items()}


@pytest.fixture(scope="module")
def labels(model: onnx.ModelProto) -> np.ndarray:
    """The patterns; the float network knows nearly all of them."""
    assert (logits_of(model).argmax(1) == LABELS).mean() > 0.95
    return LABELS


def logits_of(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"faces": FACES})[0], np.float64)


@pytest.fixture
def trial(model: onnx.ModelProto, scales: dict[str, np.float32], labels: np.ndarray) -> Trial:
    return Trial(model, scales, FACES, labels)


def test_nothing_quantized_costs_nothing(trial: Trial) -> None:
    everything = trial.mix(trial.plan.nodes)
    assert everything.cost == Cost(0.0, 1.0, 0.0) and everything.int8_share == 0


def test_a_cost_is_what_the_quantized_graph_says(trial: Trial, model: onnx.ModelProto, scales: dict[str, np.float32],
                                                 labels: np.ndarray) -> None:
    said = logits_of(quantize(model, plan(model), scales, "cpu")).argmax(1)
    cost = trial.cost([])
    reference = logits_of(model).argmax(1)
    assert cost.agreement == pytest.approx((said == reference).mean())
    assert cost.accuracy_drop == pytest.approx(100 * float(np.mean(reference == labels) - np.mean(said == labels)),
                                               abs=1e-3)
    assert cost.kl > 0


def test_a_layers_output_is_never_held_for_all_faces_at_once(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    class Watched:
        def __init__(self, session: onnxruntime.InferenceSession):
            self.session, self.get_inputs = session, session.get_inputs

        def run(self, wanted: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            found = self.session.run(wanted, feeds)
            if "c1" in wanted:
                kept.extend(weakref.ref(array) for array in found)
                alive.append(sum(ref() is not None for ref in kept))
            return list(found)

    monkeypatch.setattr(sensitivity, "BATCH", 8)
    monkeypatch.setattr(sensitivity, "open_with_outputs", lambda *asked: Watched(open_with_outputs(*asked)))
    trial.layer("conv1")
    assert len(alive) == 2 * len(FACES) / 8 and max(alive) <= 4  # two batches, and the next two


def test_the_layer_whose_input_is_uneven_costs_most_alone(trial: Trial) -> None:
    layers = trial.layers()
    assert [layer.name for layer in layers] == ["conv1", "conv2", "conv3", "dense"]
    worst = max(layers, key=lambda layer: layer.cost.kl)
    assert worst.name == "conv3" and worst.sqnr == min(layer.sqnr for layer in layers) < 20
    assert min(layer.sqnr for layer in layers[:2]) > 25


def test_multiply_adds_are_those_of_one_face(trial: Trial) -> None:
    assert {layer.name: layer.multiply_adds for layer in trial.layers()} == {
        "conv1": 8 * 9 * 64, "conv2": 8 * 8 * 9 * 64, "conv3": 8 * 8 * 9 * 64, "dense": 32}


def test_the_search_keeps_the_budget_and_leaves_the_uneven_layer_in_float(trial: Trial) -> None:
    assert trial.cost([]).accuracy_drop > 2
    found = fewest_float(trial, 5.0, trial.layers())
    assert found.mix is not None and found.mix.cost.accuracy_drop <= 5.0
    assert found.mix.kept_float == ("conv3",) and 0.4 < found.mix.int8_share < 0.6


def test_a_budget_that_int8_keeps_leaves_nothing_in_float(trial: Trial) -> None:
    found = fewest_float(trial, 100.0, trial.layers())
    assert found.mix == trial.mix([]) and found.mix.int8_share == 1


def test_a_budget_that_nothing_keeps_finds_nothing(trial: Trial) -> None:
    assert fewest_float(trial, -0.1, trial.layers()).mix is None


def test_what_was_measured_is_not_measured_again(model: onnx.ModelProto, scales: dict[str, np.float32],
                                                 labels: np.ndarray, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    once = Trial(model, scales, FACES, labels, tmp_path / "state.json")
    found = fewest_float(once, 2.0, once.layers())

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    again = Trial(model, scales, FACES, labels, tmp_path / "state.json")
    monkeypatch.setattr(sensitivity, "quantize", never)
    assert fewest_float(again, 2.0, again.layers()) == found


def test_a_search_cut_short_goes_on(model: onnx.ModelProto, scales: dict[str, np.float32], labels: np.ndarray,
                                    tmp_path: Path) -> None:
    cut = Trial(model, scales, FACES, labels, tmp_path / "state.json")
    cut.layer("conv1")
    kept = json.loads((tmp_path / "state.json").read_text())["measured"]
    whole = Trial(model, scales, FACES, labels, tmp_path / "state.json")
    assert len(kept) == 2 and whole.layers() == Trial(model, scales, FACES, labels).layers()


@pytest.mark.parametrize("content", ["", "[]", '{"of": "x"}', '{"of": "x", "measured": {}}'])
def test_a_strange_state_is_refused(model: onnx.ModelProto, scales: dict[str, np.float32], labels: np.ndarray,
                                    tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(BadInput, match="expected the state of"):
        Trial(model, scales, FACES, labels, tmp_path / "state.json")


def test_faces_without_labels_are_refused(model: onnx.ModelProto, scales: dict[str, np.float32]) -> None:
    with pytest.raises(BadInput, match="as many labels, found 96 and 3"):
        Trial(model, scales, FACES, np.zeros(3, np.int64))


def test_the_front_holds_what_no_mix_beats() -> None:
    def mix(share: float, drop: float) -> Mix:
        return Mix((f"{share}",), share, Cost(drop, 1.0, 0.0))

    kept = front([mix(0.2, 0.0), mix(1.0, 3.0), mix(0.8, 3.5), mix(0.5, 0.1)])
    assert [m.int8_share for m in kept] == [1.0, 0.5, 0.2]
