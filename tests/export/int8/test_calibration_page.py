"""The page of a calibration: well-formed, alone, true to what was measured; no face in it that may not be shown."""

from __future__ import annotations

import argparse
import base64
import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from html_reader import Page
from tiny_graphs import random_faces
from tiny_model import LABELS

import mien
from calibration.clipping import clipped_share
from export.int8.calibrate import Selection, calibrate_on_faces
from export.int8.calibration_faces import FacePool
from export.int8.calibration_page import Calibration, calibration_page
from export.int8.calibration_pictures import contact_sheet, share_text, spread_over
from export.int8.int8_from_onnx import Rounding
from export.int8.measure_int8 import HeldOut, Int8Figures, measure_int8
from export.int8.report_verbs import require_report, write_report
from runtime.agreement import wilson_interval
from runtime.card import Model, load_model
from runtime.errors import BadInput

EVIL = "<script>alert(1)</script>&amp;'\"$x_1$"
SOURCE = {"name": "fer2013", "split": "Training", "sha256": "f" * 64}


def flags(*more: str) -> argparse.Namespace:
    return mien.make_parser().parse_args(["calibrate", "x", *more])


@pytest.fixture(scope="module")
def pool() -> FacePool:
    return FacePool(random_faces(40), [f"{i}.png" for i in range(40)], SOURCE, np.arange(40) % 2, ("happy", "sad"))


@pytest.fixture(scope="module")
def model(tiny_export, pool: FacePool, tmp_path_factory: pytest.TempPathFactory) -> Model:
    directory = shutil.copytree(tiny_export.directory, tmp_path_factory.mktemp("page") / "model")
    calibrate_on_faces(load_model(directory), pool, Selection("random", 16), Rounding("percentile", 99.0),
                       coverage=True)
    return load_model(directory)


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return HeldOut(random_faces(96, 5), np.arange(96) % 7, LABELS,
                   {"name": "fer2013", "split": "PublicTest", "sha256": "e" * 64})


@pytest.fixture(scope="module")
def measured(model: Model, held_out: HeldOut) -> Int8Figures:
    return measure_int8(model, held_out, 50.0, layer_faces=32)


@pytest.fixture(scope="module")
def calibration(model: Model, pool: FacePool, held_out: HeldOut, measured: Int8Figures,
                tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """What `write_report` hands to the page, caught on its way."""
    caught: list[Calibration] = []

    def catch(found: Calibration) -> str:
        caught.append(found)
        return calibration_page(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.int8.calibration_page.calibration_page", catch)
        patch.setattr("export.int8.measure_int8.measure_int8", lambda *_: measured)
        path = tmp_path_factory.mktemp("written") / "page.html"
        write_report(flags("--images", "p", "-n", "16", "--report", str(path)), model, pool, held_out)
    assert path.read_text() == calibration_page(caught[0])
    return caught[0]


@pytest.fixture(scope="module")
def text(calibration: Calibration) -> str:
    return calibration_page(calibration)


# the page

def test_a_page_stands_alone(text: str) -> None:
    page = Page(text)
    assert not set(page.tags) & {"script", "link", "iframe", "form"} and "@import" not in text
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert "prefers-color-scheme: dark" in text and text.startswith("<!doctype html>")


def test_no_two_things_of_a_page_share_an_id(text: str) -> None:
    ids = Page(text).ids
    assert {"histograms", "layers"} <= set(ids) and len(ids) == len(set(ids))


def test_equal_calibrations_give_equal_pages(calibration: Calibration, text: str) -> None:
    assert calibration_page(calibration) == text


def test_the_verdict_stands_first_with_both_accuracies_and_their_intervals(measured: Int8Figures, text: str) -> None:
    page, form = Page(text), max(measured.forms, key=lambda form: form.comparison.accuracy_drop)
    assert text.index("class='verdict'") < text.index("<h2>")
    assert f"{100 * measured.fp32_accuracy:.1f} % → {100 * form.comparison.accuracy_engine:.1f} %" in page.all
    for low, high in (measured.fp32_interval, form.interval):
        assert f"{100 * low:.1f}–{100 * high:.1f} %" in page.words
    assert f"{100 * form.comparison.agreement:.2f} %" in page.words and f"{form.comparison.mean_kl:.5f}" in page.words


@pytest.mark.parametrize(("budget", "said"), [
    (4.9, "more than the 4.9 it may cost"), (60.0, "within the 60 it may cost")])
def test_the_verdict_holds_the_cost_against_the_budget(
        calibration: Calibration, measured: Int8Figures, budget: float, said: str) -> None:
    form = measured.forms[1]  # the second form counts as the first does
    worse = dataclasses.replace(form.comparison, accuracy_reference=0.5, accuracy_engine=0.45)
    changed = dataclasses.replace(measured, forms=(measured.forms[0], dataclasses.replace(form, comparison=worse)),
                                  sensitivity=dataclasses.replace(measured.sensitivity, budget=budget))
    page = Page(calibration_page(dataclasses.replace(calibration, measured=changed)))
    assert f"{form.graph}.onnx costs 5.00 points of accuracy, {said}" in page.all


def test_every_tensors_threshold_and_what_it_clips_are_said(calibration: Calibration, text: str) -> None:
    words = Page(text).words
    shares = {name: clipped_share(h, calibration.model.card.calibration["thresholds"][name])
              for name, h in calibration.histograms.items()}
    shares[calibration.model.card.calibration["exact_pixels"]] = 0.0
    assert max(shares.values()) > 0.005  # the 99th percentile clips
    for name, threshold in calibration.model.card.calibration["thresholds"].items():
        assert f"{threshold:.4g}" in words and share_text(shares[name]) in words


def test_pixels_that_are_not_rounded_are_named(calibration: Calibration, text: str) -> None:
    exact = calibration.model.card.calibration["exact_pixels"]
    assert exact in calibration.histograms and f"{exact} holds scaled pixels" in Page(text).all
    row = text[text.index(f"<td>{exact}</td>"):].split("</tr>")[0]
    assert clipped_share(calibration.histograms[exact], calibration.model.card.calibration["thresholds"][exact]) > 0
    assert row.endswith("<td>0 %</td>")  # black counts as 1, and nothing is cut off
    card = calibration.model.card
    other = dataclasses.replace(calibration.model, card=dataclasses.replace(
        card, calibration={k: v for k, v in card.calibration.items() if k != "exact_pixels"}))
    assert "holds scaled pixels" not in Page(calibration_page(dataclasses.replace(calibration, model=other))).all


def test_every_tensor_names_the_layers_that_read_it(calibration: Calibration) -> None:
    read = [name for names in calibration.readers.values() for name in names]
    assert set(calibration.readers) == set(calibration.histograms) and all(calibration.readers.values())
    assert {layer.name for layer in calibration.measured.sensitivity.layers} <= set(read)  # type: ignore[union-attr]


def test_every_layers_noise_and_cost_are_said(measured: Int8Figures, text: str) -> None:
    page = Page(text)
    for layer in measured.sensitivity.layers:
        assert layer.name in page.words and f"{layer.sqnr:.1f} dB" in page.words
    assert "on 32 of the 96 faces" in page.all


def test_every_hash_and_the_command_are_said(calibration: Calibration, text: str) -> None:
    words, card = Page(text).words, calibration.model.card
    hashes = [entry.sha256 for entry in card.graphs.values()]
    hashes += [entry["sha256"] for entry in card.calibration["files"].values()]
    assert {*hashes, card.calibration["images_from"]["list_sha256"], "f" * 64, "e" * 64} <= set(words)
    assert any(w.startswith("mien calibrate MODEL --images PATH") and "-n 16 --seed 0" in w for w in words)


def test_the_command_of_a_page_is_understood(calibration: Calibration) -> None:
    mien.make_parser().parse_args(calibration.command.split()[1:])


def test_the_lists_coverage_is_said(calibration: Calibration, text: str) -> None:
    page = Page(text)
    assert calibration.coverage is not None and "How the 16 stand for the 40" in page.all
    assert f"at most {calibration.coverage['feature_distance']['largest']:.2f}" in page.all


def test_warnings_and_kept_layers_are_said(calibration: Calibration) -> None:
    card = calibration.model.card
    facts = card.calibration | {"warnings": ["relu is zero on every image"], "kept_float": ["gate_1"]}
    model = Model(calibration.model.directory, dataclasses.replace(card, calibration=facts))
    words = Page(calibration_page(dataclasses.replace(calibration, model=model))).words
    assert "relu is zero on every image" in words and "gate_1" in words


def test_what_was_not_measured_is_said_to_be_absent(calibration: Calibration) -> None:
    page = Page(calibration_page(dataclasses.replace(calibration, measured=None)))
    assert "Accuracy was not measured." in page.all and "layers" not in page.ids and "histograms" in page.ids


def test_names_are_text_not_markup(calibration: Calibration, measured: Int8Figures) -> None:
    card = calibration.model.card
    first = next(iter(calibration.histograms))
    thresholds = {EVIL if k == first else k: v for k, v in card.calibration["thresholds"].items()}
    facts = card.calibration | {"thresholds": thresholds, "warnings": [EVIL], "kept_float": [EVIL], "images_from": {
        **card.calibration["images_from"], "name": EVIL}}
    layers = tuple(dataclasses.replace(layer, name=EVIL) for layer in measured.sensitivity.layers)
    evil = dataclasses.replace(
        calibration, model=Model(calibration.model.directory, dataclasses.replace(card, name=EVIL, calibration=facts)),
        histograms={EVIL if k == first else k: v for k, v in calibration.histograms.items()}, command=EVIL,
        readers={EVIL: (EVIL,)}, faces=None, no_faces=EVIL, made_on={EVIL: EVIL},
        measured=dataclasses.replace(measured, held_out={"name": EVIL},
                                     sensitivity=dataclasses.replace(measured.sensitivity, layers=layers)))
    page = Page(calibration_page(evil))
    assert "script" not in page.tags and page.words.count(EVIL) > 6


# faces

def sheet_of(address: str) -> np.ndarray:
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_the_sheet_holds_the_faces_as_they_are() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (20, 3, 6, 5), dtype=np.uint8)
    sheet = sheet_of(contact_sheet(faces))
    assert sheet.shape == (12, 80, 3)
    np.testing.assert_array_equal(sheet[6:, 15:20, ::-1].transpose(2, 0, 1), faces[19])
    assert (sheet[6:, 20:] == 255).all()


def test_a_page_shows_at_most_128_faces_evenly_over_the_list() -> None:
    chosen = spread_over(1000)
    assert len(chosen) == 128 and (chosen[0], chosen[-1]) == (0, 999) and set(np.diff(chosen)) <= {7, 8}
    np.testing.assert_array_equal(spread_over(5), range(5))


def test_a_public_sets_listed_faces_are_shown(calibration: Calibration, pool: FacePool, text: str) -> None:
    sheet = sheet_of(next(a for a in Page(text).addresses if a.startswith("data:")))
    listed = {face.tobytes() for face in pool.faces}
    assert sheet.shape[:2] == (16, 256) and all(
        sheet[:, x : x + 16, 0].tobytes() in listed for x in range(0, 256, 16))


@pytest.mark.parametrize("dataset", ["crops", "ck-plus"])
def test_faces_that_are_not_public_are_shown_only_when_asked_for(
        model: Model, pool: FacePool, tmp_path: Path, dataset: str) -> None:
    page = tmp_path / "page.html"
    asked = ["--images", "p", "--dataset", dataset, "--report", str(page)]
    write_report(flags(*asked), model, pool, None)
    assert "<img" not in page.read_text() and "data:image" not in page.read_text()
    write_report(flags(*asked, "--show-faces"), model, pool, None)
    assert "<img" in page.read_text()


def test_histograms_bring_no_face(model: Model, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_report(flags("--from-histograms", "a.hist", "--show-faces", "--report", str(page)), model, None, None)
    assert "<img" not in page.read_text() and "the ranges come from histograms" in page.read_text()


# what is measured

def test_both_forms_are_held_against_fp32_on_the_same_faces(measured: Int8Figures) -> None:
    assert [form.graph for form in measured.forms] == ["int8", "int8-gpu"]
    for form in measured.forms:
        right = round(form.comparison.accuracy_engine * measured.images)
        assert form.interval == wilson_interval(right, measured.images)
        assert form.lost - form.won == round(measured.fp32_accuracy * measured.images) - right
        assert 0.5 < form.comparison.agreement <= 1 and form.comparison.mean_kl > 0


def test_a_model_of_other_labels_is_refused(model: Model, held_out: HeldOut) -> None:
    other = dataclasses.replace(held_out, label_names=(*LABELS[:-1], "contempt"))
    with pytest.raises(BadInput, match="expected a model of the labels .*contempt.*, found .*neutral; give faces"):
        measure_int8(model, other, 0.3)


def test_no_held_out_face_is_refused(model: Model, held_out: HeldOut) -> None:
    with pytest.raises(BadInput, match="faces of PublicTest to measure on, found none"):
        measure_int8(model, dataclasses.replace(held_out, faces=held_out.faces[:0]), 0.3)


# the verb

def test_a_comparison_leaves_nothing_to_report_on(model: Model) -> None:
    with pytest.raises(BadInput, match="expected --report or --compare, found both"):
        require_report(flags("--report", "a.html", "--compare", "b.json"), model)


def test_no_layer_can_be_measured_on_no_face(model: Model) -> None:
    with pytest.raises(BadInput, match="--layer-faces of at least 1, found 0"):
        require_report(flags("--report", "a.html", "--layer-faces", "0"), model)


@pytest.mark.parametrize("given", [["--images", "p", "--dataset", "crops"], ["--from-histograms", "a.hist"]])
def test_without_held_out_faces_nothing_is_measured(model: Model, given: list[str]) -> None:
    assert require_report(flags("--report", "a.html", *given), model) is None
