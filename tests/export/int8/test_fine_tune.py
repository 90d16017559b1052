"""Fine-tuning: PyTorch rounds as the exported graph does, and what it learns is in the INT8 model that comes out."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from tiny_graphs import random_faces
from torch import nn

import mien
from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from export.int8.fine_tune import carry_over_int8, compare_fine_tuned, input_grids, thresholds_of
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from export.model_from_checkpoint import model_from_checkpoint
from export.onnx_from_torch import onnx_from_torch
from runtime.agreement import kl_divergence
from runtime.card import Model, ModelCard, load_model
from runtime.errors import BadInput
from train.checkpoint import load_checkpoint
from train.datasets.labelled_faces import LabelledFaces
from train.expression.fine_tune import FineTuned, FineTuning, fine_tune
from train.expression.run import load_network
from train.expression.task import predict
from train.fake_quantize import InputGrid, RoundedConv2d, RoundedLinear, fake_quantize, fold_batch_norms
from train.networks.attention import attention_layers
from train.networks.convolutions import plain_conv, separable_conv
from train.networks.pooled_classifier import PooledClassifier

SHIPPED = Path(__file__).resolve().parents[3] / "train/checkpoints/mien-light"


def observed_thresholds(fp32: onnx.ModelProto, at: float = 4.0) -> dict[str, float]:
    return {tensor: at for tensor in plan(fp32).tensors}


def exported(network: nn.Module) -> onnx.ModelProto:
    return parse_model(onnx_from_torch(network, (1, 16, 16), "faces", "logits").content, "tiny")


# the same rounding

def exact_network() -> nn.Module:
    """Weights, biases and scales on grids of powers of two: every sum is exact in float32, in whatever order."""
    torch.manual_seed(3)
    made = PooledClassifier(1, [plain_conv(1, 8), nn.MaxPool2d(2), plain_conv(8, 8), plain_conv(8, 16)], 16, 7, 0.0)
    for module in fold_batch_norms(made).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            flat = torch.randint(-90, 91, (len(module.weight), module.weight[0].numel())).float()
            flat[:, 0] = 127
            module.weight.data = flat.reshape(module.weight.shape) / 512
        if isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.bias.data = torch.randint(-64, 65, module.bias.shape).float() / 64
    return made.eval()


def test_every_q_holds_equal_integers_where_arithmetic_is_exact() -> None:
    network = exact_network()
    fp32 = exported(network)
    thresholds = observed_thresholds(fp32, 127 / 32)
    scales = {name: scale_of(t) for name, t in thresholds.items()}
    graph = quantize(fp32, plan(fp32), scales, "gpu")
    quantizers = [n for n in graph.graph.node if n.op_type == "QuantizeLinear"]
    for node in quantizers:
        graph.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], TensorProto.INT8, None))
    faces = random_faces(16)
    names = ["logits", *(n.output[0] for n in quantizers)]
    logits, *integers = as_written(graph).run(names, {"faces": faces})
    rounded = fake_quantize(network, input_grids(fp32, thresholds, network)).eval()
    seen: list[np.ndarray] = []
    for module in rounded.modules():
        if hasattr(module, "input_scale"):
            module.register_forward_pre_hook(lambda m, i: seen.append(
                (i[0] / m.input_scale).round().clamp(-128, 127).numpy().astype(np.int8)))
    assert np.array_equal(predict(rounded, faces), logits)
    assert len(seen) == len(integers) == 5
    pooled = [s.reshape(i.shape) if s.size == i.size else i for s, i in zip(seen, integers)]
    assert [n for n, a, b in zip(names[1:], pooled, integers) if not np.array_equal(a, b)] == []
    assert all(np.unique(i).size > 20 for i in integers)


def as_written(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_the_shipped_network_under_fake_quantizers_is_its_int8_graph_on_real_faces(
        shipped: Model, fer2013: LabelledFaces, run_onnx: Callable[..., np.ndarray]) -> None:
    faces = fer2013.split("PublicTest").images[:48, None]
    network, _ = load_network(SHIPPED)
    fp32 = parse_model(shipped.read_graph("fp32"), "fp32.onnx")
    rounded = fake_quantize(copy.deepcopy(network), input_grids(fp32, thresholds_of(shipped), network))
    mine, wanted, floats = predict(rounded, faces), run_onnx(shipped.read_graph("int8"), faces), predict(network, faces)
    assert np.array_equal(mine.argmax(1), wanted.argmax(1))
    # sums in another order now and then fall on the other side of a half: a few units of the last place elsewhere
    assert np.median(np.abs(mine - wanted)) < 1e-5 < 0.05 < np.abs(floats - wanted).max()
    assert np.abs(mine - wanted).max() < 0.05


# which module has which scale

def test_gates_have_no_scale_and_layers_have_their_own() -> None:
    torch.manual_seed(0)
    network = PooledClassifier(1, [separable_conv(1, 8), *attention_layers("csa", 8), nn.MaxPool2d(2),
                                   separable_conv(8, 8)], 8, 7, 0.0).eval()
    fp32 = exported(network)
    thresholds = {tensor: 2.0**i for i, tensor in enumerate(plan(fp32).tensors)}
    found = input_grids(fp32, thresholds, network)
    assert list(found) == ["features.0.0", "features.0.3", "features.3.0", "features.3.3", "pool", "classify"]
    assert len(set(found.values())) == 6 and found["features.0.0"] == InputGrid(float(scale_of(1.0)))


def test_another_networks_checkpoint_is_refused(tiny_export) -> None:
    fp32 = exported(tiny_export.network)
    torch.manual_seed(7)
    other = type(tiny_export.network)().eval()
    with pytest.raises(BadInput, match="found other weights in features.0.0.weight"):
        input_grids(fp32, observed_thresholds(fp32), other)


def test_ranges_of_other_tensors_are_refused(tiny_export) -> None:
    with pytest.raises(BadInput, match="ranges of this graph's tensors"):
        input_grids(exported(tiny_export.network), {"relu": 1.0}, tiny_export.network)


def test_a_model_without_ranges_is_refused(tiny_export) -> None:
    with pytest.raises(BadInput, match="mien calibrate"):
        thresholds_of(load_model(tiny_export.directory))


# the whole way

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def faces_of(network: nn.Module, count: int = 192) -> LabelledFaces:
    """Faces with the labels that the float network gives them, so that accuracy is agreement."""
    faces, splits = random_faces(count), np.array(["Training", "PublicTest", "PrivateTest"])[np.arange(count) % 3]
    labels = predict(network, faces).argmax(1).astype(np.int64)
    return LabelledFaces(faces[:, 0], labels, splits, [str(i) for i in range(count)], LABELS)


@pytest.fixture(scope="module")
def tuned(tiny_export, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model, FineTuned, Path]:
    """A model whose ranges were cut far too low, fine-tuned with them; before, after, and the run."""
    folder = tmp_path_factory.mktemp("tuned")
    before = calibrated(tiny_export.directory, folder / "before")
    network = copy.deepcopy(tiny_export.network)
    fp32 = parse_model(before.read_graph("fp32"), "fp32.onnx")
    recipe = {"name": "tiny", "network": "small-vgg", "size": 16, "batch_size": 8}
    facts: dict[str, Any] = {**tiny_export.facts, "recipe": recipe, "format": 1, "task": "expression"}
    done = fine_tune(network, facts, input_grids(fp32, thresholds_of(before), network), faces_of(network),
                     folder / "run", FineTuning(epochs=6, images=64, batch_size=8, learning_rate=3e-4))
    plain = type(tiny_export.network)()
    tensors, saved = load_checkpoint(folder / "run" / "best")
    plain.load_state_dict(tensors)
    model_from_checkpoint(plain, saved, folder / "after", random_faces(512), 0.0)
    carry_over_int8(load_model(folder / "after"), before.card)
    return before, load_model(folder / "after"), done, folder / "run"


def calibrated(source: Path, directory: Path) -> Model:
    model = load_model(shutil.copytree(source, directory))
    int8_from_onnx(model, random_faces(32), Rounding("percentile", 97.0), {"name": "noise"})
    return load_model(directory)


def test_the_fine_tuned_int8_graph_has_the_same_ranges(tuned) -> None:
    before, after, _, _ = tuned
    assert after.card.calibration["thresholds"] == before.card.calibration["thresholds"]
    assert after.card.calibration["ranges_of_fp32"] == before.card.graphs["fp32"].sha256
    assert after.card.calibration["exact_pixels"] == before.card.calibration["exact_pixels"] is not None
    scales = [{w.name: numpy_helper.to_array(w).tolist() for w in parse_model(m.read_graph("int8"), "x")
               .graph.initializer if w.name.endswith("_scale")} for m in (before, after)]
    assert scales[0] and scales[0] == scales[1]


def kept_float(card: ModelCard, *layers: str) -> ModelCard:
    return dataclasses.replace(card, calibration=card.calibration | {"kept_float": list(layers),
                                                                      "biases_corrected": True})


def test_what_was_kept_float_stays_float(tuned, tiny_export, tmp_path: Path) -> None:
    before, after, _, _ = tuned
    fp32 = parse_model(before.read_graph("fp32"), "fp32.onnx")
    layers = plan(fp32).nodes
    grids = input_grids(fp32, thresholds_of(before), tiny_export.network, [layers[1]])
    whole = input_grids(fp32, thresholds_of(before), tiny_export.network)
    assert len(whole) - len(grids) == 1 and set(grids) < set(whole)
    again = load_model(shutil.copytree(after.directory, tmp_path / "again"))
    card = carry_over_int8(again, kept_float(before.card, layers[1]))
    assert card.graphs["int8"].sha256 != after.card.graphs["int8"].sha256
    assert card.calibration["kept_float"] == [layers[1]] and not card.calibration["biases_corrected"]
    assert card.calibration["quantized_nodes"] == len(layers) - 1
    assert card.calibration["exact_pixels"] == before.card.calibration["exact_pixels"]


def test_a_layer_kept_float_that_the_graph_lacks_is_refused(tuned, tmp_path: Path) -> None:
    before, after, _, _ = tuned
    again = load_model(shutil.copytree(after.directory, tmp_path / "again"))
    with pytest.raises(BadInput, match="expected the layer nothing, which was kept float"):
        carry_over_int8(again, kept_float(before.card, "nothing"))
    assert load_model(again.directory).card == after.card


def test_fine_tuning_brings_int8_nearer_to_float(tuned, run_onnx: Callable[..., np.ndarray]) -> None:
    before, after, _, _ = tuned
    faces = random_faces(64, seed=5)
    wanted = run_onnx(before.read_graph("fp32"), faces)
    first, then = (kl_divergence(wanted, run_onnx(m.read_graph("int8"), faces)).mean() for m in (before, after))
    assert first > 5e-5 and then < first / 2


def test_the_int8_graph_says_what_was_trained(tuned, tiny_export, run_onnx: Callable[..., np.ndarray]) -> None:
    _, after, _, run = tuned
    tensors, saved = load_checkpoint(run / "best")
    network = type(tiny_export.network)()
    network.load_state_dict(tensors)
    rounded = fake_quantize(network, {name: InputGrid(**grid) for name, grid in saved["input_grids"].items()})
    assert sum(isinstance(m, RoundedConv2d | RoundedLinear) for m in rounded.modules()) == 4
    faces = random_faces(64, seed=5)
    mine, found = predict(rounded, faces), run_onnx(after.read_graph("int8"), faces)
    assert np.median(np.abs(mine - found)) < 1e-5 and np.abs(mine - found).max() < 0.05


def test_the_checkpoint_says_where_it_comes_from(tuned, tiny_export) -> None:
    _, _, done, run = tuned
    _, saved = load_checkpoint(run / "best")
    assert saved["fine_tuned_from"]["sha256"] == tiny_export.facts["sha256"]
    assert saved["recipe"]["name"] == "tiny-fine-tuned" and saved["recipe"]["precision"] == "float32"
    assert saved["before"] == done.before and saved["data"]["training_images"] == 64


def test_a_comparison_holds_both_against_float_before(tuned) -> None:
    before, after, _, _ = tuned
    faces = random_faces(32, seed=5)
    found = compare_fine_tuned(before, after, faces, np.zeros(32, np.int64))
    assert found["images"] == 32 and found["int8"]["mean_kl"] > found["fine_tuned_int8"]["mean_kl"] > 0


def test_too_few_faces_are_refused(tiny_export, tmp_path: Path) -> None:
    facts = {**tiny_export.facts, "recipe": {"name": "tiny", "network": "small-vgg", "size": 16, "batch_size": 8}}
    with pytest.raises(BadInput, match="8 faces or more to fine-tune on, found 4"):
        fine_tune(copy.deepcopy(tiny_export.network), facts, {}, faces_of(tiny_export.network), tmp_path / "run",
                  FineTuning(images=4, batch_size=8))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flags", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": float("nan")}])
def test_what_no_recipe_has_is_bad_input(tiny_export, tmp_path: Path, flags: dict[str, Any]) -> None:
    how = FineTuning(**flags)
    facts = {**tiny_export.facts, "recipe": {"name": "tiny", "network": "small-vgg", "size": 16}}
    with pytest.raises(BadInput, match="expected"):
        fine_tune(copy.deepcopy(tiny_export.network), facts, {}, faces_of(tiny_export.network), tmp_path / "run", how)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("flags", "words"), [
    (["--seed", "-1"], "--seed of 0 or more, found -1"), (["--split", "Publictest"], "PublicTest, PrivateTest, found"),
    ([], "a new folder for --out, found")])
def test_the_verb_refuses_before_it_loads_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                   flags: list[str], words: str) -> None:
    out = tmp_path / "run"
    if not flags:
        (out / "last").mkdir(parents=True)
    nowhere = ["--model", "nowhere", "--data", "nowhere", "--out", str(out)]
    assert mien.main(["fine-tune", "nowhere", *nowhere, *flags]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1
