"""Every network down the whole road: each family narrow and always, every variant at its full size with `make zoo`."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import typing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import export.zoo.record
import export.zoo.road
from export.half_range import HalfWatcher
from export.promises import broken_promises
from export.zoo.networks import Variant, make_network, zoo
from export.zoo.record import ZooRecord
from export.zoo.road import compile_graph, half_graph, travel
from runtime.engines.compile import CompileRequest
from runtime.errors import MienError
from runtime.preprocess import FaceInput, prepare_faces
from train.datasets.labelled_faces import LabelledFaces
from train.networks import NETWORKS, improved_vgg16, improved_vgg19, keras_cnns, light_vgg16, lip_vgg16, small_vgg
from train.networks.attention import AttentionKind, AttentionPosition
from train.networks.convolutions import plain_conv
from train.networks.lip import Bound, LocalImportancePooling
from train.networks.normalize import Normalize
from train.networks.vgg_classic import VGG16, VGG19

RECORD = Path(__file__).parents[3] / "docs/results/zoo.json"
FAMILIES = {variant.network: variant for variant in reversed(zoo())}  # the first of each name: the family's own form
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None

# ---- which networks there are


def test_every_network_that_a_recipe_can_name_is_in_the_zoo() -> None:
    assert {variant.network for variant in zoo()} == set(NETWORKS)


def test_no_two_variants_have_one_name() -> None:
    names = [variant.name for variant in zoo()]
    assert len(set(names)) == len(names)


def test_every_attention_stands_at_every_position() -> None:
    defaults = {"attention": "csa", "position": "before-pool"}
    forms = {tuple((defaults | v.options).values()) for v in zoo() if v.network == "light-vgg16"}
    kinds = set(typing.get_args(AttentionKind)) - {"none"}
    assert {f for f in forms if f[0] != "none"} == {(k, p) for k in kinds for p in typing.get_args(AttentionPosition)}
    assert any(kind == "none" for kind, _ in forms)


@pytest.mark.parametrize("network, wanted", [
    ("improved-vgg16", {"hidden": {0, 256, 512, 1024}}),
    ("lip-vgg16", {"pooling": {"lip", "max"}, "attention": {"none", "eca", "se"}})])
def test_every_option_the_papers_print_is_taken(network: str, wanted: dict[str, set[object]]) -> None:
    defaults = {"hidden": 0, "pooling": "lip", "attention": "none"}
    for key, values in wanted.items():
        assert {(defaults | v.options)[key] for v in zoo() if v.network == network} == values


@pytest.mark.parametrize("size", [44, 48, 90, 112, 128])
def test_every_size_of_face_the_papers_use_is_taken(size: int) -> None:
    assert any(variant.input.height == size for variant in zoo())


# ---- networks that real faces have passed through


@pytest.fixture(scope="module")
def grey(fer2013: LabelledFaces) -> np.ndarray:
    """64 evenly spaced training faces, (64, 1, 48, 48)."""
    images = fer2013.split("Training").images
    return prepare_faces(images[np.linspace(0, len(images) - 1, 64).astype(int)], FaceInput(48, 48))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every family at a sixteenth of its width, with fewer convolutions a stage: the same layers, sooner exported."""
    stages = ((8,), (16,), (16, 16), (32,), (32,))
    for module in (improved_vgg16, light_vgg16, lip_vgg16):
        monkeypatch.setattr(module, "VGG16_STAGES", stages)
    monkeypatch.setattr(improved_vgg19, "VGG19_STAGES", stages)
    monkeypatch.setattr(small_vgg, "STAGES", stages[:4])
    monkeypatch.setattr(keras_cnns, "DEEP_STAGES", (((8, 3),), ((16, 5),), ((16, 3),) * 2, ((32, 3),)))
    for network in (VGG16, VGG19):
        monkeypatch.setattr(network, "stages", stages)
    monkeypatch.setattr("train.networks.vgg_classic.HIDDEN", 64)


def faces_for(variant: Variant, grey: np.ndarray) -> np.ndarray:
    return prepare_faces(grey[:, 0], variant.input)


@pytest.mark.parametrize("network", ["improved-vgg16", "lip-vgg16", "deep-cnn"])
def test_batch_norm_holds_the_statistics_of_the_faces(narrow: None, grey: np.ndarray, network: str) -> None:
    made = make_network(Variant(network, ""), grey)
    norm = next(layer for layer in made.modules() if isinstance(layer, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        made(torch.from_numpy(grey))
    assert torch.allclose(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=1e-4)
    assert not made.training and not norm.training


def test_a_channel_that_fires_on_hardly_any_face_does_not_burst_on_others(narrow: None, grey: np.ndarray) -> None:
    made = make_network(Variant("deep-cnn", ""), grey)
    for norm in (layer for layer in made.modules() if isinstance(layer, nn.BatchNorm2d)):
        assert norm.running_var is not None and norm.running_var.min() > 0.05 * norm.running_var.mean()
    others = np.random.default_rng(1).integers(0, 256, grey.shape, dtype=np.uint8)
    with torch.no_grad():
        assert made(torch.from_numpy(others)).abs().max() < 100


def test_labels_depend_on_the_face(narrow: None, grey: np.ndarray) -> None:
    with torch.no_grad():
        logits = make_network(Variant("light-vgg16", ""), grey)(torch.from_numpy(grey))
    assert torch.allclose(logits.mean(dim=0), torch.zeros(7), atol=1e-3)
    assert torch.allclose(logits.std(dim=0), torch.ones(7), atol=1e-3)
    assert len(logits.argmax(1).unique()) >= 4


def test_lip_weighs_places_unequally(narrow: None, grey: np.ndarray) -> None:
    """Its own start, all weights equal, would make every graph of it an average pooling."""
    made = make_network(Variant("lip-vgg16", ""), grey)
    pools = [layer for layer in made.modules() if isinstance(layer, LocalImportancePooling)]
    assert pools and all(layer.mix.weight.std() > 0 for layer in pools)


# ---- the road


@pytest.mark.parametrize("network", NETWORKS)
def test_a_family_goes_down_the_whole_road(narrow: None, grey: np.ndarray, network: str) -> None:
    """Narrow, on 64 faces; the forms with most operators in all precisions of NVIDIA's compiler, the others in INT8's,
    whose graph has half precision's nodes as well."""
    variant = FAMILIES[network]
    everything = ("fp32", "fp16", "int8-gpu") if network in ("light-vgg16", "lip-vgg16") else ("int8-gpu",)
    faces = faces_for(variant, grey)
    figures = travel(make_network(variant, faces), faces[:32], faces, compiled=everything if HAS_RTX else ())
    assert broken_promises(figures.as_dict()) == []
    assert figures.half.faces == 64 and 0 < figures.half.largest < 65_504
    assert figures.onnx_bytes["fp16"] < figures.onnx_bytes["fp32"]
    assert figures.quantized_nodes > figures.kept_float


class LipNetwork(nn.Module):
    """One convolution, one Local Importance Pooling, one dense layer; the same weights for each bound."""

    def __init__(self, bound: Bound) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.normalize, self.features = Normalize(), plain_conv(1, 8)
        self.lip = LocalImportancePooling(8, bound)
        self.classify = nn.Linear(8, 7)
        nn.init.kaiming_normal_(self.lip.mix.weight)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classify(self.lip(self.features(self.normalize(pixels))).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def lip_ranges(grey: np.ndarray) -> dict[str, tuple[np.ndarray, typing.Any]]:
    """Logits and ranges of both bounds' half-precision graphs on real faces, and what PyTorch says in float32."""
    with torch.no_grad():
        wanted = LipNetwork("authors").eval()(torch.from_numpy(grey)).numpy()
    said = {bound: HalfWatcher(half_graph(LipNetwork(bound), (1, 48, 48))).run(grey)
            for bound in typing.get_args(Bound) if bound != "unbounded"}
    return said | {"float32": (wanted, None)}


def test_lip_under_the_authors_bound_overflows_half_precision_on_real_faces(lip_ranges) -> None:
    _, seen = lip_ranges["authors"]  # exp(0…12) reaches 162,755
    assert seen.non_finite > 0 and seen.largest == np.inf


def test_lip_under_our_bound_stays_finite_and_says_what_float32_does(lip_ranges) -> None:
    logits, seen = lip_ranges["half-safe"]  # exp(-9…3) ends at 20
    assert seen.non_finite == 0 and seen.largest < 6_550  # a tenth of what half precision holds
    assert np.abs(logits - lip_ranges["float32"][0]).max() < 5e-3


# ---- promises


@pytest.fixture(scope="module")
def sound() -> dict[str, typing.Any]:
    """Figures that hold."""
    against = {name: {"agreement": 0.95, "delta": 0.3} for name in ("fp16", "int8", "int8-gpu")}
    half = {"faces": 64, "non_finite": 0, "largest": 20.0, "tensor": "exp"}
    return {"fp32_delta": 1e-5, "half": half, "against_fp32": against, "engines": {"fp32": {"status": "built"}}}


def test_sound_figures_break_nothing(sound: dict[str, typing.Any]) -> None:
    assert broken_promises(sound) == []


@pytest.mark.parametrize("change, said", [
    ({"fp32_delta": 0.1}, "departs from PyTorch by 0.1"),
    ({"fp32_delta": float("nan")}, "departs from PyTorch by nan"),
    ({"half": {"faces": 64, "non_finite": 0, "largest": float("inf"), "tensor": "exp"}}, "fp16 overflows in exp"),
    ({"half_over_data": {"faces": 9, "non_finite": 2, "largest": 1.0, "tensor": "exp"}}, "2 of 9 faces"),
    ({"against_fp32": {"int8": {"agreement": 0.3, "delta": 1.0}}}, "int8 keeps 30.0% of fp32's labels"),
    ({"against_fp32": {"fp16": {"agreement": 1.0, "delta": float("nan")}}}, "fp16 keeps"),
    ({"engines": {"fp16": {"status": "no such operator"}}}, "fp16 with tensorrt-rtx: no such operator")])
def test_a_broken_promise_is_said(sound: dict[str, typing.Any], change: dict[str, typing.Any], said: str) -> None:
    broken = broken_promises(sound | change)
    assert len(broken) == 1 and said in broken[0]


# ---- the record


def few(fer2013: LabelledFaces) -> LabelledFaces:
    """3,000 of all the faces, from all splits."""
    return fer2013.where(np.linspace(0, len(fer2013) - 1, 3000).astype(int))


@pytest.mark.parametrize(("wants", "status", "workspace", "asked"), [
    (0, "built", 512 << 20, [512 << 20]), (1 << 30, "built", 2 << 30, [512 << 20, 2 << 30]),
    (4 << 30, "OutOfMemory", 0, [512 << 20, 2 << 30])])
def test_a_graph_that_wants_more_scratch_memory_is_built_with_more(
        monkeypatch: pytest.MonkeyPatch, wants: int, status: str, workspace: int, asked: list[int]) -> None:
    seen: list[int] = []

    def compile_onnx(_: bytes, request: CompileRequest) -> typing.Any:
        seen.append(request.workspace_bytes)
        if request.workspace_bytes < wants:
            raise MienError("OutOfMemory")
        return SimpleNamespace(built=SimpleNamespace(content=b"engine", layers=3), seconds=1.0)

    monkeypatch.setattr(export.zoo.road, "compile_onnx", compile_onnx)
    figures = compile_graph(b"", (1, 48, 48), "sm86")
    assert (figures.status, figures.workspace_bytes, seen) == (status, workspace, asked)


@pytest.mark.usefixtures("narrow")
def test_a_pass_over_the_data_goes_on_where_it_stopped(
        grey: np.ndarray, fer2013: LabelledFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant, data = Variant("small-vgg", "mien"), few(fer2013)
    network = make_network(variant, grey)
    figures, graph = travel(network, grey, grey, compiled=()), half_graph(network, (1, 48, 48))  # the exporter is slow
    monkeypatch.setattr(export.zoo.record, "travel", lambda *_: figures)
    monkeypatch.setattr(export.zoo.record, "half_graph", lambda *_: graph)
    monkeypatch.setattr(export.zoo.record, "make_network", lambda *_: network)
    whole = ZooRecord(tmp_path / "whole.json", data).half_over_data(variant, 1500)
    assert whole.faces == 1500
    ZooRecord(tmp_path / "parts.json", data).half_over_data(variant, 1100)
    assert ZooRecord(tmp_path / "parts.json", data).half_over_data(variant, 1500) == whole
    row = json.loads((tmp_path / "parts.json").read_text())["networks"][variant.name]
    assert row["half_over_data"]["faces"] == 1500
    monkeypatch.setattr(export.zoo.record, "code_sha256", lambda: "another")  # that makes the same fp16 graph
    assert ZooRecord(tmp_path / "parts.json", data).travelled(variant)["half_over_data"] == row["half_over_data"]
    monkeypatch.setattr(export.zoo.record, "code_sha256", lambda: "a third")
    monkeypatch.setattr(export.zoo.record, "travel", lambda *_: dataclasses.replace(figures, fp16_sha256="other"))
    assert ZooRecord(tmp_path / "parts.json", data).travelled(variant)["half_over_data"]["faces"] == 0


def test_a_row_of_other_code_stays_until_it_is_made_anew(
        fer2013: LabelledFaces, tmp_path: Path, sound: dict[str, typing.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    record = ZooRecord(tmp_path / "zoo.json", few(fer2013))
    record.save(zoo()[0], sound)
    monkeypatch.setattr(export.zoo.record, "code_sha256", lambda: "another")
    record.save(zoo()[1], sound)
    rows = json.loads((tmp_path / "zoo.json").read_text())["networks"]
    assert list(rows) == [zoo()[0].name, zoo()[1].name] and set(record.rows()) == {zoo()[1].name}


def test_a_row_counts_for_its_own_code_and_data_only(
        fer2013: LabelledFaces, tmp_path: Path, sound: dict[str, typing.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    variant, data = zoo()[0], few(fer2013)
    record = ZooRecord(tmp_path / "zoo.json", data)
    record.save(variant, sound | {"code_sha256": export.zoo.record.code_sha256()})
    assert set(record.rows()) == {variant.name}
    assert ZooRecord(tmp_path / "zoo.json", data.split("Training")).rows() == {}
    monkeypatch.setattr(export.zoo.record, "code_sha256", lambda: "another")
    assert record.rows() == {}


def test_two_processes_may_fill_one_record(
        fer2013: LabelledFaces, tmp_path: Path, sound: dict[str, typing.Any]) -> None:
    data, row = few(fer2013), sound | {"code_sha256": export.zoo.record.code_sha256()}
    one, other = ZooRecord(tmp_path / "zoo.json", data), ZooRecord(tmp_path / "zoo.json", data)
    one.save(zoo()[1], row)
    other.save(zoo()[0], row)
    assert list(one.rows()) == list(other.rows()) == [zoo()[0].name, zoo()[1].name]


@pytest.mark.zoo
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("variant", zoo(), ids=lambda variant: variant.name)
def test_every_network_in_every_form_goes_down_the_whole_road(
        fer2013: LabelledFaces, tmp_path: Path, variant: Variant) -> None:
    """From the record where it was made by this code, else now; the record itself is left as it is."""
    if RECORD.is_file():
        shutil.copy(RECORD, tmp_path / "zoo.json")
    figures = ZooRecord(tmp_path / "zoo.json", fer2013).travelled(variant)
    assert broken_promises(figures) == []
    assert {name: e["status"] for name, e in figures["engines"].items()} == dict.fromkeys(
        ("fp32", "fp16", "int8-gpu"), "built")
