import dataclasses
import shutil

import numpy as np
import pytest

from runtime.card import Model, load_model, save_card
from runtime.engines import open_engine
from runtime.errors import MienError
from runtime.golden import require_agreement
from runtime.preprocess import crop_faces


def shipped() -> Model:
    return load_model("mien-light")


def test_the_pinned_crops_are_what_this_machine_cuts_from_the_pinned_frames():
    model = shipped()
    golden = model.read_golden()
    for number, frame in enumerate(golden.frames):
        of_frame = golden.frame_of == number
        cut = crop_faces(frame, golden.boxes[of_frame], model.card.input)
        assert np.abs(cut.astype(int) - golden.faces[of_frame]).max() <= 2


def test_pinned_probabilities_and_labels_follow_from_the_pinned_logits():
    golden = shipped().read_golden()
    powers = np.exp(golden.logits.astype(np.float64) / shipped().card.temperature)
    np.testing.assert_allclose(golden.probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(golden.labels, golden.probabilities.argmax(1))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_shipped_model_agrees_with_pytorch_in_every_precision(precision):
    model = shipped()
    engine = open_engine(model, precision, "cpu")
    agreement = require_agreement(model, engine, precision)
    assert 0 <= agreement.largest <= agreement.bound


def test_another_crop_margin_in_the_card_is_refused_before_anything_is_scored():
    model = shipped()
    wider = dataclasses.replace(model.card, input=dataclasses.replace(model.card.input, margin=0.2))
    engine = open_engine(model, "fp32", "cpu")
    with pytest.raises(MienError, match="golden crops"):
        require_agreement(Model(model.directory, wider), engine, "fp32")


def test_labels_in_another_order_are_refused_even_where_the_card_was_signed_anew(tmp_path):
    directory = tmp_path / "mien-light"
    shutil.copytree(shipped().directory, directory)
    card = load_model(directory).card
    save_card(directory, dataclasses.replace(card, labels=card.labels[::-1]))
    model = load_model(directory)
    with pytest.raises(MienError, match="expected the labels angry"):
        require_agreement(model, open_engine(model, "fp32", "cpu"), "fp32")


def test_another_temperature_in_the_card_is_refused():
    model = shipped()
    warmer = Model(model.directory, dataclasses.replace(model.card, temperature=2.0))
    with pytest.raises(MienError, match="golden probabilities"):
        require_agreement(warmer, open_engine(model, "fp32", "cpu"), "fp32")
