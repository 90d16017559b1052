"""Recalibration without images: what a kiosk saw in dimmed light repairs what dimming cost INT8. No face is sent."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from calibration.pick_images import pick_random
from export.int8.calibrate import Selection, calibrate_from_histograms, calibrate_on_faces
from export.int8.calibration_faces import FacePool
from export.int8.int8_from_onnx import Rounding
from export.int8.observe_model import observe_model
from runtime.agreement import Comparison, compare
from runtime.card import Model, load_model
from runtime.engines import open_engine
from runtime.engines.face_batches import engine_logits, run_all
from runtime.ranges_file import write_ranges

GAIN = 0.2  # a kiosk's face in the evening: mean grey 26 instead of 129, 51 levels left


def dimmed(faces: np.ndarray) -> np.ndarray:
    return (faces * np.float32(GAIN)).astype(np.uint8)


@pytest.fixture(scope="module")
def evening(fer2013, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    """The shipped network's INT8 against its FP32 on 500 dimmed faces: calibrated by day, then with the evening."""
    place = tmp_path_factory.mktemp("kiosk")
    directory = shutil.copytree(load_model(Path("mien-light")).directory, place / "model")
    training, held_out = fer2013.split("Training"), fer2013.split("PublicTest")
    day, evening = np.split(training.images[pick_random(len(training), 512, 0)][:, None], [32])
    faces, labels = dimmed(held_out.images[:500, None]), held_out.labels[:500]

    def logits(precision: str) -> np.ndarray:
        model = load_model(directory)
        return run_all(engine_logits(open_engine(model, precision, "cpu"), model), faces, precision)

    reference, found = logits("fp32"), {}
    pool = FacePool(day, [str(i) for i in range(len(day))], {"name": "fer2013"})
    calibrate_on_faces(load_model(directory), pool, Selection("random", len(day)), Rounding("mse"))
    found["by day"] = compare(reference, logits("int8"), labels, held_out.label_names)
    kiosk: Model = load_model(directory)
    write_ranges(place / "ranges.hist", observe_model(kiosk, dimmed(evening)))  # all that leaves the wall
    calibrate_from_histograms(kiosk, [place / "ranges.hist"], Rounding("mse"))
    found["with the evening"] = compare(reference, logits("int8"), labels, held_out.label_names)
    return found


def test_dimming_costs_int8_labels_that_fp32_still_gets(evening: dict[str, Comparison]) -> None:
    assert evening["by day"].agreement < 0.98


def test_histograms_of_the_evening_bring_a_third_or_more_of_them_back(evening: dict[str, Comparison]) -> None:
    lost = {when: 1 - found.agreement for when, found in evening.items()}
    assert lost["with the evening"] <= 2 / 3 * lost["by day"]


def test_the_logits_come_closer_to_fp32s(evening: dict[str, Comparison]) -> None:
    # exact pixels lose nothing in dimmed light, so less is left to bring back than an observed range had: it was half
    assert evening["with the evening"].mean_kl < 0.6 * evening["by day"].mean_kl


def test_the_accuracy_that_dimming_cost_comes_back(evening: dict[str, Comparison]) -> None:
    assert evening["by day"].accuracy_drop > 0.3
    assert evening["with the evening"].accuracy_drop < evening["by day"].accuracy_drop / 2
