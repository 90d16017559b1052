"""A model directory: proven against PyTorch, and whole or absent."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_graphs import random_faces

import mien
from export.model_from_checkpoint import BOUNDS, ENOUGH, generated_faces, model_from_checkpoint
from runtime.agreement import softmax
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.errors import BadInput, MienError
from runtime.golden import require_agreement
from runtime.preprocess import FaceInput
from train.expression.task import predict


def departing(network: torch.nn.Module, by: float) -> torch.nn.Module:
    """Return the network with another answer in the exported graph than in PyTorch: a broken exporter, in effect."""
    class Departing(type(network)):  # type: ignore[misc]
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits = super().forward(pixels)
            return logits + by if torch.compiler.is_exporting() else logits

    planted = Departing()
    planted.load_state_dict(network.state_dict())
    return planted.eval()


def test_the_directory_holds_what_the_card_names(tiny_export) -> None:
    card = load_model(tiny_export.directory).card
    named = {e.file for e in card.graphs.values()} | {card.golden.file, "card.json"}
    assert {p.name for p in tiny_export.directory.iterdir()} == named
    assert set(card.graphs) == {"fp32", "fp16"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_written_graph_agrees_with_its_golden_faces(tiny_export, precision: str) -> None:
    model = load_model(tiny_export.directory)
    assert require_agreement(model, open_engine(model, precision, "cpu"), precision).faces == 30


def test_the_golden_logits_are_pytorchs(tiny_export) -> None:
    golden = load_model(tiny_export.directory).read_golden()
    assert np.allclose(predict(tiny_export.network, golden.faces), golden.logits, atol=1e-5)


def test_the_measured_departure_stands_in_the_card(tiny_export) -> None:
    proof = load_model(tiny_export.directory).card.metrics["export"]
    assert proof["images"] == ENOUGH and proof["images_are"] == "real"
    assert 0 <= proof["worst_delta"]["fp32"] <= BOUNDS["fp32"] < proof["worst_delta"]["fp16"] * 1e4
    assert 0 < proof["worst_delta"]["fp16"] <= BOUNDS["fp16"]


def test_the_card_says_where_the_weights_came_from(tiny_export) -> None:
    card = load_model(tiny_export.directory).card
    assert card.training["checkpoint_sha256"] == tiny_export.facts["sha256"]
    assert card.training["data"] == {"name": "noise"} and card.parameters > 0


def test_the_cards_command_trains_with_the_epochs_and_the_seed_that_were_used(tiny_export) -> None:
    command = load_model(tiny_export.directory).card.training["command"]
    args = mien.make_parser().parse_args(command.split()[1:])
    assert (args.recipe, args.epochs, args.seed) == ("tiny", 2, 5)


def test_a_temperature_is_fitted_on_labels_and_none_is_without(tiny_export, tmp_path: Path) -> None:
    assert load_model(tiny_export.directory).card.temperature == 1.0
    faces = random_faces(ENOUGH)
    said = predict(tiny_export.network, faces).argmax(1)
    labels = np.where(np.arange(ENOUGH) % 2, said, (said + 1) % 7)  # right half the time
    model_from_checkpoint(tiny_export.network, copy.deepcopy(tiny_export.facts), tmp_path / "model", faces, 0.0, labels)
    model = load_model(tmp_path / "model")
    figures = model.card.metrics["temperature"]
    assert model.card.temperature != 1.0 and figures["images"] == ENOUGH
    assert figures["after"]["nll"] < figures["before"]["nll"]
    golden = model.read_golden()
    assert np.allclose(golden.probabilities, softmax(golden.logits, model.card.temperature), atol=1e-5)


def test_a_planted_departure_is_refused_and_nothing_is_written(tiny_export, tmp_path: Path) -> None:
    with pytest.raises(MienError, match=r"fp32 within 0.001 of PyTorch on 512 images, found .*nothing was written"):
        model_from_checkpoint(departing(tiny_export.network, 0.01), copy.deepcopy(tiny_export.facts),
                              tmp_path / "model", random_faces(ENOUGH), 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("faces", [np.zeros((ENOUGH - 1, 1, 16, 16), np.uint8),
                                   np.zeros((ENOUGH, 1, 48, 48), np.uint8)])
def test_a_proof_on_too_few_or_other_faces_is_refused(tiny_export, tmp_path: Path, faces: np.ndarray) -> None:
    with pytest.raises(BadInput, match="at least 512 faces of"):
        model_from_checkpoint(tiny_export.network, copy.deepcopy(tiny_export.facts), tmp_path / "m", faces, 0.0)


def test_a_folder_that_is_no_model_is_not_replaced(tiny_export, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="would be lost"):
        model_from_checkpoint(tiny_export.network, copy.deepcopy(tiny_export.facts), tmp_path, random_faces(ENOUGH),
                              0.0)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_generated_faces_are_many_and_different() -> None:
    faces = generated_faces(FaceInput(16, 16))
    assert faces.shape == (ENOUGH, 1, 16, 16) and faces.dtype == np.uint8
    assert len({face.tobytes() for face in faces}) == ENOUGH
    assert faces.min() == 0 and faces.max() == 255


def test_generated_faces_are_the_same_every_time() -> None:
    assert np.array_equal(generated_faces(FaceInput(16, 16), 32), generated_faces(FaceInput(16, 16), 32))


def test_a_margin_that_no_crop_has_is_bad_input(tiny_export, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected a crop margin of .*, found -1\.0"):
        model_from_checkpoint(tiny_export.network, tiny_export.facts, tmp_path / "model", None, -1.0)
    assert list(tmp_path.iterdir()) == []
