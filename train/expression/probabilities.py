"""One face image → how probable each expression is, by one network or the mean of several. Knows no file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.agreement import softmax
from runtime.preprocess import prepare_face
from train.expression.evaluate import answer
from train.expression.measured_faces import require_alike
from train.expression.open_network import OpenNetwork
from train.expression.views import Views


@dataclass(frozen=True)
class FaceProbabilities:
    """The face as the first network sees it, (C, H, W) uint8, and its probabilities (classes,) in the labels' order."""

    face: np.ndarray
    probabilities: np.ndarray
    labels: tuple[str, ...]

    def best_first(self) -> list[tuple[str, float]]:
        """Return (label, probability), the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.labels[i], float(self.probabilities[i])) for i in order]


def read_face(networks: Sequence[OpenNetwork], image: np.ndarray, views: Views) -> FaceProbabilities:
    """Read one image that is a face from edge to edge, (H, W) or (H, W, 3) BGR uint8, each network at its temperature.

    Raises BadInput where the networks' answers cannot be averaged, MienError where one is not finite.
    """
    require_alike(networks)
    seen = []
    for network in networks:
        how = network.input
        size = (how.height, how.width) if how.resize is None else (how.resize, how.resize)
        whole = prepare_face(image, dataclasses.replace(how, height=size[0], width=size[1], resize=None))
        said = answer(network, whole[None], views)
        logits = said.single if said.averaged is None else said.averaged
        seen.append(softmax(logits[0], network.temperature or 1.0))
    return FaceProbabilities(prepare_face(image, networks[0].input), np.mean(seen, axis=0), networks[0].labels)
