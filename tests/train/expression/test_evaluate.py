"""Figures on labelled faces, of one network and of the mean of several, against ones counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.card import load_model
from runtime.errors import BadInput, MienError
from runtime.preprocess import FaceInput
from train.datasets.labelled_faces import LabelledFaces
from train.expression.evaluate import answer, evaluate, figures_of
from train.expression.figures_text import as_text
from train.expression.measured_faces import MeasuredFaces, Measurement
from train.expression.metrics import score_labels
from train.expression.open_network import OpenNetwork, open_network

ROOT = Path(__file__).parents[3]
NAMES = ("a", "b", "c")


def faces_of(labels: list[int]) -> LabelledFaces:
    """4×4 faces whose top left pixel is what `say_corner` answers, and that differ in their number."""
    images = np.zeros((len(labels), 4, 4), np.uint8)
    images[:, 0, 0], images[:, 3, 1] = labels, np.arange(len(labels))
    return LabelledFaces(images, np.array(labels), np.full(len(labels), "s"), [f"{i}.png" for i in range(len(labels))],
                         NAMES)


def say_corner(faces: np.ndarray) -> np.ndarray:
    """Answer the class written in the top left pixel."""
    return 5 * np.eye(3, dtype=np.float32)[faces[:, 0, 0, 0]]


def network_of(logits: Callable[[np.ndarray], np.ndarray], side: int = 4, name: str = "n",
               labels: tuple[str, ...] = NAMES, **recipe: object) -> OpenNetwork:
    """A network that sees the centre of 4×4 faces."""
    how = FaceInput(side, side, resize=4 if side < 4 else None)
    values = {"name": name, "network": "small-vgg", "size": 4, "crop": side} | recipe
    return OpenNetwork(logits, how, labels, values, None, {"name": name, "parameters": 10})


def measurement(*sets: tuple[str, LabelledFaces], training: LabelledFaces | None = None,
                fitted_on: str | None = None) -> Measurement:
    none = faces_of([0]).where(np.zeros(1, bool))
    return Measurement(tuple(MeasuredFaces(name, faces, training or none) for name, faces in sets), fitted_on,
                       "fer2013", "0" * 64, 0)


# from labels alone

def test_figures_are_those_counted_by_hand() -> None:
    scores = score_labels(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 2]), 3)
    assert scores.confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert scores.accuracy == pytest.approx(4 / 6) and scores.recall == pytest.approx((2 / 3, 1 / 2, 1))
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)  # 2·hits / (true + said)


def test_a_class_without_images_has_no_recall_and_no_weight() -> None:
    scores = score_labels(np.array([0, 1]), np.array([0, 1]), 3)
    assert np.isnan(scores.recall[2]) and scores.macro_f1 == 1


def test_a_class_that_is_only_said_costs_its_f1() -> None:
    assert score_labels(np.array([0, 0]), np.array([0, 2]), 3).macro_f1 == pytest.approx((2 / 3 + 0) / 2)


# one network

def test_a_perfect_network_is_perfect_on_every_split() -> None:
    measured = measurement(("one", faces_of([0, 1])), ("two", faces_of([2])))
    report = evaluate([network_of(say_corner)], measured, "single")
    assert [(e["accuracy"], e["images"]) for e in report["splits"].values()] == [(1, 2), (1, 1)]
    assert report["temperature"] is None and "averaged" not in report["splits"]["one"]


def test_the_mirrored_view_is_averaged_in_beside_the_single_one() -> None:
    # the mirror shows the other corner, which is 0 on every face: said twice as loudly, the mean is 0

    def louder_mirror(batch: np.ndarray) -> np.ndarray:
        return say_corner(batch) * np.where(batch[:, 0, 0, 3] > 0, 2, 1)[:, None].astype(np.float32)

    entry = evaluate([network_of(louder_mirror)], measurement(("s", faces_of([1, 2]))), "mirror")["splits"]["s"]
    assert (entry["accuracy"], entry["averaged"]["accuracy"]) == (1, 0)


def test_no_view_is_asked_twice() -> None:
    asked: list[bytes] = []

    def remember(batch: np.ndarray) -> np.ndarray:
        asked.append(batch.tobytes())
        return np.zeros((len(batch), 3), np.float32)

    faces = np.random.default_rng(0).integers(0, 256, (2, 1, 4, 4), np.uint8)
    answer(network_of(remember, side=2), faces, "ten-crop")
    assert len(asked) == len(set(asked)) == 10


def test_a_network_that_sees_a_crop_is_shown_the_centre() -> None:
    faces = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)

    def centre_is_shown(batch: np.ndarray) -> np.ndarray:
        assert batch[0, 0].tolist() == [[5, 6], [9, 10]]
        return np.zeros((1, 3), np.float32)

    answer(network_of(centre_is_shown, side=2), faces, "single")


def test_copies_of_training_images_are_left_out_beside() -> None:
    training, tested = faces_of([0]), faces_of([0, 1, 0])
    tested.images[1] = tested.images[0]  # a copy under another label: the network says 0
    training.images[0] = tested.images[0]
    report = evaluate([network_of(say_corner)], measurement(("s", tested), training=training), "single")
    assert report["splits"]["s"]["accuracy"] == pytest.approx(2 / 3)
    kept = report["splits"]["s"]["without_training_copies"]
    assert (kept["images"], kept["accuracy"]) == (1, 1)


def test_without_a_training_set_copies_are_not_known() -> None:
    report = evaluate([network_of(say_corner)], measurement(("s", faces_of([0, 1]))), "single")
    assert "without_training_copies" not in report["splits"]["s"]


def test_a_temperature_is_fitted_on_one_set_and_used_on_the_others() -> None:
    # right in 5 of 6, sure as softmax(5·e): too sure
    labels = [0, 1, 2, 0, 1, 2]
    faces = faces_of(labels)
    faces.labels[5] = 0
    report = evaluate([network_of(say_corner)], measurement(("choose", faces), ("report", faces), fitted_on="choose"),
                      "mirror")
    assert report["temperature"]["fitted_on"] == "choose" and report["temperature"]["single"] > 1
    for entry in report["splits"].values():
        assert entry["calibration_after"]["temperature"] == report["temperature"]["single"]
        assert entry["calibration_after"]["nll"] < entry["calibration"]["nll"]
        assert entry["calibration_after"]["ece"] < entry["calibration"]["ece"]
        assert entry["averaged"]["calibration_after"]["temperature"] == report["temperature"]["averaged"]


def test_the_report_is_json_even_where_a_class_is_absent() -> None:
    report = evaluate([network_of(say_corner)], measurement(("s", faces_of([0, 1]))), "single")
    assert json.loads(json.dumps(report, allow_nan=False))["splits"]["s"]["recall"] == {"a": 1, "b": 1, "c": None}


def test_an_answer_that_is_no_number_is_an_error_that_names_the_network() -> None:
    def broken(batch: np.ndarray) -> np.ndarray:
        return np.full((len(batch), 3), np.nan, np.float32)

    with pytest.raises(MienError, match="finite logits of n, found NaN or infinity on 2 of 2 faces"):
        evaluate([network_of(broken)], measurement(("s", faces_of([0, 1]))), "single")


def test_the_interval_is_around_the_accuracy() -> None:
    entry = figures_of(np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 0]), NAMES)
    low, high = entry["interval_95"]
    assert low < entry["accuracy"] == 0.75 < high


# several networks

def of_two() -> list[OpenNetwork]:
    """One that reads the corner, and one that says 0 half as surely."""
    def zero(batch: np.ndarray) -> np.ndarray:
        return np.tile(np.array([2.5, 0, 0], np.float32), (len(batch), 1))

    return [network_of(say_corner, name="reads"), network_of(zero, name="zero")]


def test_a_mean_stands_beside_its_members_with_parameters_summed() -> None:
    report = evaluate(of_two(), measurement(("s", faces_of([1, 2, 0]))), "single")
    assert report["network"] == {"name": "mean of reads, zero", "parameters": 20}
    assert [m["splits"]["s"]["accuracy"] for m in report["members"]] == [1, pytest.approx(1 / 3)]
    assert report["splits"]["s"]["accuracy"] == 1  # the surer one wins


def test_probabilities_of_members_are_averaged() -> None:
    faces = faces_of([1])
    report = evaluate(of_two(), measurement(("s", faces)), "single")
    p = [np.exp(5) / (np.exp(5) + 2), 1 / (np.exp(2.5) + 2)]
    assert report["splits"]["s"]["calibration"]["nll"] == pytest.approx(-np.log(np.mean(p)))


@pytest.mark.parametrize(("other", "said"), [
    (network_of(say_corner, labels=("a", "b", "d")), "networks of the same labels"),
    (network_of(say_corner, equalize=True), "equalize False and True"),
])
def test_networks_that_answer_other_questions_are_not_averaged(other: OpenNetwork, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        evaluate([network_of(say_corner), other], measurement(("s", faces_of([0]))), "single")


def test_networks_that_see_another_part_of_the_same_faces_are_averaged() -> None:
    def none(batch: np.ndarray) -> np.ndarray:
        return np.zeros((len(batch), 3), np.float32)

    report = evaluate([network_of(say_corner), network_of(none, side=2)], measurement(("s", faces_of([1]))), "ten-crop")
    assert report["splits"]["s"]["accuracy"] == 1


# as people read it

def test_the_text_says_each_members_figure_and_the_means() -> None:
    lines = as_text(evaluate(of_two(), measurement(("s", faces_of([1, 2, 0]))), "mirror"))
    assert lines[0].startswith("reads, s: accuracy 100.00 %") and lines[1].startswith("zero, s: accuracy 33.33 %")
    assert "20 parameters together" in lines[2] and lines[3].startswith("s: accuracy 100.00 %")


def test_a_real_engine_on_real_faces_scores_what_its_record_says(fer2013: LabelledFaces) -> None:
    faces = fer2013.split("PrivateTest")
    chosen = faces.where(np.random.default_rng(1).permutation(len(faces))[:384])
    network = open_network(Path("mien-light"), "int8")
    report = evaluate([network], measurement(("PrivateTest", chosen), training=fer2013.split("Training")), "single")
    low, high = report["splits"]["PrivateTest"]["interval_95"]
    record = json.loads((ROOT / "docs/results/mien-light-int8-cpu-PrivateTest.json").read_text())
    assert low < record["accuracy_engine"] < high  # of all 3,589
    assert 330 < report["splits"]["PrivateTest"]["without_training_copies"]["images"] < 375  # 8 % are copies
    assert report["network"]["card_temperature"] == load_model(Path("mien-light")).card.temperature
