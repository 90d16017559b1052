"""One network's figures on labelled faces, or the mean of several networks: how often right, how sure, and on what.

Takes functions from faces to logits, so a checkpoint and an engine are judged by the same code. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.agreement import negative_log_likelihood, reliability, softmax, wilson_interval
from runtime.errors import MienError
from train.expression.measured_faces import MeasuredFaces, Measurement, require_alike
from train.expression.metrics import score_labels
from train.expression.open_network import OpenNetwork
from train.expression.task import channels_first
from train.expression.temperature import fit_temperature
from train.expression.views import Views, centre_of, mean_log_probabilities, views_of, with_room


@dataclass(frozen=True)
class Answers:
    """What was said of N faces, (N, classes) float64 each: logits, or the logarithm of mean probabilities.

    `averaged` is the mean over views; None where only the single view was asked for.
    """

    single: np.ndarray
    averaged: np.ndarray | None


def answer(network: OpenNetwork, faces: np.ndarray, views: Views) -> Answers:
    """Ask a network about whole faces, (N, C, H, W) uint8, larger than its input where it sees a crop.

    Raises MienError where it says NaN or infinity.
    """
    side = network.input.height
    centre = centre_of(faces, side)
    single = network.logits(centre).astype(np.float64)
    bad = ~np.isfinite(single).all(axis=1)
    if bad.any():
        raise MienError(f"expected finite logits of {network.what['name']}, found NaN or infinity on {bad.sum()} of "
                        f"{len(faces)} faces; check its weights")
    if views == "single":
        return Answers(single, None)
    crops = views_of(with_room(faces, side) if views == "ten-crop" else faces, views, side)
    said = [single if np.array_equal(crop, centre) else network.logits(crop) for crop in crops]  # the centre was asked
    return Answers(single, mean_log_probabilities(said))


def mean_answers(answers: Sequence[Answers]) -> Answers:
    """Average several networks' probabilities, each network's over its own views."""
    if len(answers) == 1:
        return answers[0]

    averaged = [a.averaged for a in answers if a.averaged is not None]
    return Answers(mean_log_probabilities([a.single for a in answers]),
                   mean_log_probabilities(averaged) if averaged else None)


def evaluate(networks: Sequence[OpenNetwork], measured: Measurement, views: Views) -> dict[str, Any]:
    """Return the figures of a network, or of several and their mean, as the plain values of `figures.json`.

    A temperature is fitted where the measurement has a set for that. Raises BadInput where networks cannot be averaged.
    """
    require_alike(networks)
    labels = networks[0].labels
    asked = {part.name: [answer(network, channels_first(part.faces), views) for network in networks]
             for part in measured.sets}
    own = {part.name: _is_no_copy(part) for part in measured.sets}

    def figures(answers: dict[str, Answers]) -> dict[str, Any]:
        return _figures(answers, measured, own, labels)

    report = {"network": _what(networks), "labels": list(labels), "views": views,
              **figures({name: mean_answers(found) for name, found in asked.items()})}
    if len(networks) > 1:
        report["members"] = [{"network": network.what, **figures({name: found[i] for name, found in asked.items()})}
                             for i, network in enumerate(networks)]
    data = {"name": measured.data, "sha256": measured.sha256, "left_out": measured.left_out}
    return report | {"data": data}


def _what(networks: Sequence[OpenNetwork]) -> dict[str, Any]:
    if len(networks) > 1:
        return {"name": f"mean of {', '.join(n.what['name'] for n in networks)}",
                "parameters": sum(n.what["parameters"] for n in networks)}
    carried = {} if networks[0].temperature is None else {"card_temperature": networks[0].temperature}
    return networks[0].what | carried


def _figures(answers: dict[str, Answers], measured: Measurement, own: dict[str, np.ndarray | None],
             labels: tuple[str, ...]) -> dict[str, Any]:
    """Return {"temperature", "splits"} of one network's, or one mean's, answers."""
    temperatures: dict[str, float] = {}
    for part in measured.sets:
        if part.name == measured.fitted_on:
            found = answers[part.name]
            temperatures["single"] = fit_temperature(found.single, part.faces.labels)
            if found.averaged is not None:
                temperatures["averaged"] = fit_temperature(found.averaged, part.faces.labels)
    splits: dict[str, Any] = {}
    for part in measured.sets:
        found, kept = answers[part.name], own[part.name]
        splits[part.name] = figures_of(found.single, part.faces.labels, labels, kept, temperatures.get("single"))
        if found.averaged is not None:
            splits[part.name]["averaged"] = figures_of(found.averaged, part.faces.labels, labels, kept,
                                                       temperatures.get("averaged"))
    fitted = {"fitted_on": measured.fitted_on, **temperatures} if temperatures else None
    return {"temperature": fitted, "splits": splits}


def figures_of(logits: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...], own: np.ndarray | None = None,
               temperature: float | None = None) -> dict[str, Any]:
    """Return every figure of (N, classes) logits against (N,) labels as plain values: shares of 0–1, None undefined.

    own: (N,) bool, faces whose pixels do not stand in the training set; None where that is not known. temperature: say
    how sure the answers are after it, too.
    """
    scores = score_labels(labels, logits.argmax(1), len(label_names))
    hits = int(np.diag(scores.confusion).sum())
    entry: dict[str, Any] = {
        "images": scores.images, "accuracy": scores.accuracy, "interval_95": list(wilson_interval(hits, len(labels))),
        "macro_f1": scores.macro_f1,
        "recall": {name: None if np.isnan(r) else r for name, r in zip(label_names, scores.recall)},
        "confusion": scores.confusion.tolist(), "calibration": _calibration(logits, labels, 1.0)}
    if temperature is not None:
        entry["calibration_after"] = _calibration(logits, labels, temperature)
    if own is not None and own.any():
        kept = score_labels(labels[own], logits.argmax(1)[own], len(label_names))
        entry["without_training_copies"] = {"images": kept.images, "accuracy": kept.accuracy,
                                            "macro_f1": kept.macro_f1}
    return entry


def _calibration(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    probabilities = softmax(logits, temperature)
    bins = reliability(probabilities, labels)
    return {"temperature": temperature, "nll": negative_log_likelihood(probabilities, labels), "ece": bins.error,
            "bins": {"images": bins.images.tolist(),
                     "confidence": [None if np.isnan(v) else v for v in bins.confidence.tolist()],
                     "accuracy": [None if np.isnan(v) else v for v in bins.accuracy.tolist()]}}


def _is_no_copy(part: MeasuredFaces) -> np.ndarray | None:
    """Return (N,) bool: which faces do not stand in the training set, pixel for pixel; None where there is no set."""
    if not len(part.training):
        return None
    return np.asarray(~np.isin(part.faces.pixel_hashes(), part.training.pixel_hashes()))
