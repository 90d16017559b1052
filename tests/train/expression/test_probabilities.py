"""One image of a face, read by real networks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from runtime.agreement import softmax
from runtime.errors import BadInput
from runtime.preprocess import prepare_face
from train.expression.open_network import open_network
from train.expression.probabilities import read_face

FACE = (slice(105, 327), slice(155, 377))  # of the photograph


def test_any_image_is_read_as_the_runtime_would_prepare_it(face_photo: np.ndarray) -> None:
    network, image = open_network(Path("mien-light"), "int8"), face_photo[FACE]
    read = read_face([network], image, "single")
    prepared = prepare_face(image, network.input)
    np.testing.assert_array_equal(read.face, prepared)
    np.testing.assert_allclose(read.probabilities, softmax(network.logits(prepared[None])[0], network.temperature or 1))


def test_probabilities_come_best_first_and_sum_to_one(face_photo: np.ndarray) -> None:
    read = read_face([open_network(Path("mien-light"), "int8")], face_photo[FACE], "ten-crop")
    shares = [share for _, share in read.best_first()]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    assert {label for label, _ in read.best_first()} == set(read.labels)


def test_a_temperature_makes_the_answer_less_sure_not_another(face_photo: np.ndarray) -> None:
    network = open_network(Path("mien-light"), "int8")
    plain, warm = (read_face([dataclasses.replace(network, temperature=t)], face_photo[FACE], "mirror") for t in (1, 3))
    assert [label for label, _ in plain.best_first()] == [label for label, _ in warm.best_first()]
    assert warm.probabilities.max() < plain.probabilities.max()


def test_several_networks_share_the_answer(face_photo: np.ndarray) -> None:
    first, second = (open_network(Path("mien-light"), precision) for precision in ("fp32", "int8"))
    alone = [read_face([network], face_photo[FACE], "single").probabilities for network in (first, second)]
    both = read_face([first, second], face_photo[FACE], "single").probabilities
    np.testing.assert_allclose(both, np.mean(alone, axis=0))
    assert not np.allclose(alone[0], alone[1])


def test_networks_of_other_labels_are_refused(face_photo: np.ndarray) -> None:
    network = open_network(Path("mien-light"), "int8")
    with pytest.raises(BadInput, match="the same labels"):
        read_face([network, dataclasses.replace(network, labels=("yes", "no"))], face_photo, "single")
