"""`mien calibrate`'s work: from a pool of faces, from a list, from histograms; and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_graphs import random_faces

from calibration.image_list import encode_list, list_images, read_list
from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images
from calibration.quantize import plan
from export.int8 import int8_from_onnx as int8_module
from export.int8.calibrate import Selection, calibrate_from_histograms, calibrate_on_faces, pick, pool_features
from export.int8.calibration_faces import FacePool, load_pool
from export.int8.int8_from_onnx import LIST_FILE, RANGES_FILE, Rounding
from export.int8.observe_model import observe_model
from export.lineage import lineage_of
from runtime.card import Model, load_model
from runtime.engines import open_engine, open_graph_on_cpu
from runtime.errors import BadInput
from runtime.preprocess import FaceInput
from runtime.ranges_file import read_ranges, write_ranges

NAMES = ("happy", "sad")
SOURCE = {"name": "fer2013", "split": "Training", "sha256": "f" * 64}


@pytest.fixture
def model(tiny_export, tmp_path: Path) -> Model:
    return load_model(shutil.copytree(tiny_export.directory, tmp_path / "model"))


def pool_of(count: int = 60, seed: int = 0, labels: np.ndarray | None = None) -> FacePool:
    labels = np.arange(count) % 2 if labels is None else labels
    return FacePool(random_faces(count, seed), [f"{i}.png" for i in range(count)], SOURCE, labels, NAMES)


def unlabelled(pool: FacePool) -> FacePool:
    return FacePool(pool.faces, pool.names, {"name": "crops"})


@pytest.mark.parametrize("choice", ["random", "stratified", "k-center", "herding"])
def test_every_choice_calibrates_and_leaves_its_list(model: Model, choice: str) -> None:
    pool = pool_of()
    card = calibrate_on_faces(model, pool, Selection(choice, 12, 3), Rounding("entropy"))
    images = read_list(model.directory / LIST_FILE)
    assert (len(images.names), images.choice, images.seed) == (12, choice, 3)
    assert card.calibration["images_from"] == {**SOURCE, "choice": choice, "seed": 3, "list_sha256": images.sha256()}
    assert card.calibration["images_sha256"] == images.images_sha256
    picked = pool.faces[[int(name.split(".")[0]) for name in images.names]]
    assert hash_images(picked) == images.images_sha256
    assert read_ranges(model.directory / RANGES_FILE).images == 12


def test_the_card_binds_list_and_histograms(model: Model) -> None:
    card = calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("percentile", 99.9))
    for what, name in (("list", LIST_FILE), ("ranges", RANGES_FILE)):
        assert card.calibration["files"][what]["file"] == name
        assert card.calibration["files"][what]["bytes"] == (model.directory / name).stat().st_size


def test_the_list_says_how_well_it_covers_the_set(model: Model) -> None:
    calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("max"), coverage=True)
    coverage = json.loads((model.directory / LIST_FILE).read_text())["coverage"]
    assert coverage["list"] == 12 and coverage["set"] == 60
    assert set(coverage) >= {"brightness", "contrast", "sharpness", "classes", "feature_distance"}


def test_k_centers_leave_no_face_as_far_as_random_picks_do(model: Model) -> None:
    pool = pool_of(300)
    features = pool_features(model, pool)

    def radius(choice: str) -> float:
        chosen = features[pick(pool, Selection(choice, 20, 0), features)]
        return float(np.linalg.norm(features[:, None] - chosen[None], axis=-1).min(axis=1).max())

    assert radius("k-center") < radius("random")


def test_a_list_gives_the_same_integers_again(model: Model) -> None:
    first = calibrate_on_faces(model, pool_of(), Selection("k-center", 12, 3), Rounding("mse"))
    images = read_list(model.directory / LIST_FILE)
    again = calibrate_on_faces(load_model(model.directory), pool_of(), Selection("random", 50), Rounding("mse"), images)
    assert again.graphs["int8"] == first.graphs["int8"]
    for what in ("images_sha256", "images_from", "thresholds"):
        assert again.calibration[what] == first.calibration[what]


def test_a_list_of_other_pixels_is_refused_and_nothing_is_written(model: Model) -> None:
    calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("max"))
    images = read_list(model.directory / LIST_FILE)
    before = {p.name: p.read_bytes() for p in model.directory.iterdir()}
    with pytest.raises(BadInput, match="choose again: mien calibrate"):
        calibrate_on_faces(load_model(model.directory), pool_of(seed=1), Selection(), Rounding("max"), images)
    assert {p.name: p.read_bytes() for p in model.directory.iterdir()} == before


def test_a_list_of_one_class_is_refused(model: Model) -> None:
    with pytest.raises(BadInput, match="two or more classes, found 10, all sad"):
        calibrate_on_faces(model, pool_of(labels=np.ones(60, int)), Selection("random", 10), Rounding("max"))


def test_crops_without_labels_cannot_be_stratified(model: Model) -> None:
    with pytest.raises(BadInput, match="expected labelled faces to stratify"):
        calibrate_on_faces(model, unlabelled(pool_of()), Selection("stratified", 10), Rounding("max"))


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(BadInput, match="random, stratified, k-center, herding, found 'best'"):
        pick(pool_of(), Selection("best", 3))  # type: ignore[arg-type]


# without images

def histograms(model: Model, path: Path, faces: np.ndarray) -> Path:
    """Write what a device would export."""
    write_ranges(path, observe_model(model, faces))
    return path


def test_histograms_merge_with_the_original_as_if_all_faces_had_been_seen(model: Model, tmp_path: Path) -> None:
    files = [histograms(model, tmp_path / f"{seed}.hist", random_faces(20, seed)) for seed in (5, 6)]
    calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("percentile", 99.9))
    card = calibrate_from_histograms(load_model(model.directory), files, Rounding("percentile", 99.9))
    pool = np.concatenate([random_faces(20, seed) for seed in (0, 5, 6)])
    together = FacePool(pool, [str(i) for i in range(60)], SOURCE)
    wanted = calibrate_on_faces(load_model(model.directory), together, Selection("random", 60),
                                Rounding("percentile", 99.9))
    assert card.calibration["images"] == 60
    assert card.calibration["thresholds"] == wanted.calibration["thresholds"]
    assert card.graphs["int8"] == wanted.graphs["int8"]


def test_histograms_alone_leave_the_original_out(model: Model, tmp_path: Path) -> None:
    file = histograms(model, tmp_path / "a.hist", random_faces(20, 5))
    card = calibrate_from_histograms(model, [file], Rounding("max"), alone=True)
    assert card.calibration["images"] == 20


def test_a_merged_model_can_take_more_histograms_but_none_twice(model: Model, tmp_path: Path) -> None:
    first, second = (histograms(model, tmp_path / f"{s}.hist", random_faces(20, s)) for s in (5, 6))
    calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("max"))
    calibrate_from_histograms(load_model(model.directory), [first], Rounding("max"))
    with pytest.raises(BadInput, match=r"5\.hist for the second time"):
        calibrate_from_histograms(load_model(model.directory), [first], Rounding("max"))
    card = calibrate_from_histograms(load_model(model.directory), [second], Rounding("max"))
    assert card.calibration["images"] == 60 and len(card.calibration["images_from"]["merged"]) == 2


def test_a_models_own_histograms_are_not_merged_with_themselves(model: Model, tmp_path: Path) -> None:
    calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("max"))
    copied = shutil.copy(model.directory / RANGES_FILE, tmp_path / "copy.hist")
    with pytest.raises(BadInput, match="for the second time"):
        calibrate_from_histograms(load_model(model.directory), [copied], Rounding("max"))


def test_the_list_stays_beside_merged_histograms_as_what_they_began_with(model: Model, tmp_path: Path) -> None:
    file = histograms(model, tmp_path / "a.hist", random_faces(20, 5))
    before = calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("max"))
    card = calibrate_from_histograms(load_model(model.directory), [file], Rounding("max"))
    assert card.calibration["files"]["list"] == before.calibration["files"]["list"]
    assert read_list(model.directory / LIST_FILE).sha256() == card.calibration["images_from"]["list_sha256"]
    links = {link.name: link.state for link in lineage_of(load_model(model.directory), []).links}
    assert links["image list"] == "verified"


def test_a_list_that_was_exchanged_does_not_stay(model: Model, tmp_path: Path) -> None:
    file = histograms(model, tmp_path / "a.hist", random_faces(20, 5))
    calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("max"))
    with open(model.directory / LIST_FILE, "a") as listed:
        listed.write(" ")
    card = calibrate_from_histograms(load_model(model.directory), [file], Rounding("max"))
    assert not (model.directory / LIST_FILE).exists() and set(card.calibration["files"]) == {"ranges"}


def test_the_list_goes_with_the_histograms_that_alone_leaves_out(model: Model, tmp_path: Path) -> None:
    file = histograms(model, tmp_path / "a.hist", random_faces(20, 5))
    calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("max"))
    card = calibrate_from_histograms(load_model(model.directory), [file], Rounding("max"), alone=True)
    assert "list_sha256" not in card.calibration["images_from"]
    assert not (model.directory / LIST_FILE).exists() and set(card.calibration["files"]) == {"ranges"}


def test_a_model_without_its_own_histograms_says_how_to_go_on(model: Model, tmp_path: Path) -> None:
    file = histograms(model, tmp_path / "a.hist", random_faces(20, 5))
    with pytest.raises(BadInput, match="mien calibrate .* --images PATH makes it, --alone does without"):
        calibrate_from_histograms(model, [file], Rounding("max"))


def test_exchanged_histograms_are_refused(model: Model, tmp_path: Path) -> None:
    file = histograms(model, tmp_path / "a.hist", random_faces(20, 5))
    calibrate_on_faces(model, pool_of(20), Selection("random", 20), Rounding("max"))
    shutil.copy(file, model.directory / RANGES_FILE)
    with pytest.raises(BadInput, match="ranges.hist whose hash is in"):
        calibrate_from_histograms(load_model(model.directory), [file], Rounding("max"))


def test_histograms_of_another_graph_are_refused(model: Model, shipped: Model, tmp_path: Path) -> None:
    file = histograms(shipped, tmp_path / "a.hist", np.zeros((2, 1, 48, 48), np.uint8))
    with pytest.raises(BadInput, match="found those of another graph"):
        calibrate_from_histograms(model, [file], Rounding("max"), alone=True)


# where the faces come from

def test_a_folder_of_crops_of_any_size_is_prepared_as_the_card_says(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for name, shape in (("b10.png", (40, 30, 3)), ("b9.png", (16, 16)), ("a.jpg", (100, 100, 3))):
        cv2.imwrite(str(tmp_path / name), random.integers(0, 256, shape, dtype=np.uint8))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    pool = load_pool(tmp_path, "crops", FaceInput(16, 16))
    assert pool.faces.shape == (3, 1, 16, 16) and pool.names == ["a.jpg", "b9.png", "b10.png"]
    assert pool.labels is None and pool.source["name"] == "crops"
    assert "broken.png" in capsys.readouterr().err


def test_crops_may_lie_in_folders_of_their_classes(tmp_path: Path) -> None:
    for label in ("b", "a"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "1.png"), random_faces(1)[0, 0])
    assert load_pool(tmp_path, "crops", FaceInput(16, 16)).names == ["a/1.png", "b/1.png"]


def test_a_crops_name_need_not_be_utf_8(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), random_faces(1)[0, 0])
    (tmp_path / "1.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    pool = load_pool(tmp_path, "crops", FaceInput(16, 16))
    assert os.fsencode(pool.names[0]) == b"caf\xe9.png"
    listed = list_images(pool.names, pool.faces, "random", 0, pool.source)
    (tmp_path / "images.json").write_bytes(encode_list(listed))
    assert read_list(tmp_path / "images.json") == listed


def test_a_class_without_crops_is_said_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("empty", "full"):
        (tmp_path / label).mkdir()
    with pytest.raises(BadInput, match="expected face crops in the folders of"):
        load_pool(tmp_path, "crops", FaceInput(16, 16))
    capsys.readouterr()
    cv2.imwrite(str(tmp_path / "full" / "1.png"), random_faces(1)[0, 0])
    assert load_pool(tmp_path, "crops", FaceInput(16, 16)).names == ["full/1.png"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "empty, found none (left out)" in said[0]


def test_a_folder_of_nothing_but_damaged_crops_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(BadInput, match="all 1 images damaged"):
        load_pool(tmp_path, "crops", FaceInput(16, 16))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected images"):
        load_pool(tmp_path, "crops", FaceInput(16, 16))


# layers left in float

def test_a_layer_left_in_float_has_no_pair_in_either_form_and_is_in_the_card(model: Model) -> None:
    kept = plan(parse_model(model.read_graph("fp32"), "fp32")).nodes[0]
    card = calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("max", keep_float=(kept,)))
    assert kept in card.calibration["kept_float"]
    pixels = next(n.input[0] for n in parse_model(model.read_graph("fp32"), "fp32").graph.node if n.name == kept)
    assert card.calibration["exact_pixels"] is None
    seen = read_ranges(model.directory / RANGES_FILE).histograms[pixels]
    assert card.calibration["thresholds"][pixels] == seen.largest
    quantized = load_model(model.directory)
    for graph in ("int8", "int8-gpu"):
        nodes = parse_model(quantized.read_graph(graph), graph).graph.node
        inputs = {node.name: list(node.input) for node in nodes}
        assert not inputs[kept][1].endswith("_dq") and any(n.op_type == "QuantizeLinear" for n in nodes)


def test_a_layer_that_is_not_there_cannot_be_left_in_float(model: Model) -> None:
    with pytest.raises(BadInput, match="layers that INT8 would quantize, found nowhere; they are"):
        calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("max", keep_float=("nowhere",)))


def test_corrected_biases_move_the_means_of_int8_towards_those_of_fp32(model: Model) -> None:
    pool, picks = pool_of(), Selection("random", 40)
    worst = []
    for correct in (False, True):
        card = calibrate_on_faces(load_model(model.directory), pool, picks, Rounding("percentile", 97.0,
                                                                                     correct_biases=correct))
        assert card.calibration["biases_corrected"] is correct
        opened = load_model(model.directory)
        fp32, int8 = (open_engine(opened, p, "cpu").run({"faces": pool.faces})["logits"] for p in ("fp32", "int8"))
        worst.append(float(np.abs(int8.mean(axis=0) - fp32.mean(axis=0)).max()))
    assert worst[1] < worst[0] / 2


def test_biases_that_were_corrected_in_vain_are_said(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, picks, how = pool_of(), Selection("random", 40), Rounding("percentile", 97.0, correct_biases=True)
    card = calibrate_on_faces(load_model(model.directory), pool, picks, how)
    assert card.calibration["warnings"] == []  # they helped: so many values are clipped
    right = int8_module.correct_biases

    def twice(fp32: onnx.ModelProto, *rest: object) -> onnx.ModelProto:
        corrected = right(fp32, *rest)  # type: ignore[arg-type]
        own = {w.name: numpy_helper.to_array(w) for w in fp32.graph.initializer}
        for weight in corrected.graph.initializer:
            value = numpy_helper.to_array(weight)
            if value.ndim == 1 and weight.name in own:
                weight.CopyFrom(numpy_helper.from_array(4 * value - 3 * own[weight.name], weight.name))
        return corrected

    monkeypatch.setattr(int8_module, "correct_biases", twice)
    said = calibrate_on_faces(load_model(model.directory), pool, picks, how).calibration["warnings"]
    assert len(said) == 1 and "took INT8 away from FP32" in said[0] and "without --correct-biases" in said[0]


def test_biases_cannot_be_corrected_from_histograms(model: Model) -> None:
    calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("max"))
    file = histograms(load_model(model.directory), model.directory.parent / "wall.hist", random_faces(8, 3))
    with pytest.raises(BadInput, match="calibration faces to correct biases on"):
        calibrate_from_histograms(load_model(model.directory), [file], Rounding("max", correct_biases=True))


def test_golden_bounds_derived_from_legal_backends_hold_on_this_machine(model: Model) -> None:
    card = calibrate_on_faces(model, pool_of(), Selection("random", 12), Rounding("max", draws=5))
    assert card.calibration["golden_bound_from"] == "5 legal backends"
    opened = load_model(model.directory)
    golden = opened.read_golden()
    for graph in ("int8", "int8-gpu"):
        said = open_graph_on_cpu(opened, graph).run({"faces": golden.faces})["logits"]
        assert np.abs(said - golden.logits).max() <= card.golden_bound[graph]
