"""Faces that nothing was trained on → `drift.json` in a model directory: what a stream's monitor compares with.

Each face goes through fp32.onnx as on the device, and through every graph that a CPU runs: a compiled engine rounds in
its own way, so a stream learns its departure there, after the golden faces. Knows no data set.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from export.changing_model import changing_model
from runtime.agreement import softmax
from runtime.card import PRECISIONS, FileEntry, Model, ModelCard, save_card
from runtime.drift.baseline import FILE, Baseline, EngineBaseline, hashes_of
from runtime.drift.bins import Bins
from runtime.drift.quantities import departure, log_kl, look_at, weigh
from runtime.drift.reference import Reference
from runtime.engines import graph_for, open_graph_on_cpu
from runtime.engines.face_batches import engine_logits, run_all
from runtime.errors import BadInput

LEAST_FACES = 500  # as many as a stream without a baseline learns from


@dataclass(frozen=True)
class Watched:
    """What the monitor sees of N faces: FP32's logits (N, classes), and each of the world's quantities (N,)."""

    logits: np.ndarray
    world: dict[str, np.ndarray]


def watch_faces(model: Model, faces: np.ndarray) -> Watched:
    """Run (N, C, H, W) uint8 faces through the reference that a stream runs, one by one, with a progress bar."""
    reference, rows, logits = Reference(model), [], []
    for face in tqdm(faces, desc="fp32", leave=False, disable=None, unit="face"):
        answer = reference.run(face)
        logits.append(answer.logits)
        beyond = {} if answer.beyond_range is None else {"beyond_range": answer.beyond_range}
        rows.append({**look_at(face), **weigh(answer.logits, model.card.temperature), **beyond})
    reference.close()
    return Watched(np.stack(logits), {name: np.array([row[name] for row in rows]) for name in rows[0]})


def departures(model: Model, reference: np.ndarray, logits: np.ndarray) -> dict[str, np.ndarray]:
    """Compare an engine's (N, classes) logits with FP32's: log_kl, kl, confidence_shift and agrees, each (N,)."""
    temperature = model.card.temperature
    said = softmax(logits, temperature).astype(np.float32)  # as a stream keeps them
    found = [departure(r, p if np.isfinite(p).all() else None, temperature) for r, p in zip(reference, said)]
    kl, shift, agrees = (np.array(column) for column in zip(*found))
    return {"log_kl": np.array([log_kl(v) for v in kl]), "kl": kl, "confidence_shift": shift, "agrees": agrees}


def measure_baseline(model: Model, faces: np.ndarray, faces_from: dict[str, Any]) -> Baseline:
    """Return the baseline over (N, C, H, W) uint8 faces. Raises BadInput for fewer than 500, BadModel."""
    if len(faces) < LEAST_FACES:
        raise BadInput(f"expected at least {LEAST_FACES} faces for a drift baseline, found {len(faces)}; take more")
    watched = watch_faces(model, faces)
    engines = {}
    for graph in dict.fromkeys(graph_for(precision, "cpu") for precision in PRECISIONS):
        if graph not in model.card.graphs:
            continue
        engine = open_graph_on_cpu(model, graph)
        found = departures(model, watched.logits, run_all(engine_logits(engine, model), faces, graph))
        engine.close()
        engines[graph] = EngineBaseline(
            model.card.graphs[graph].sha256, Bins.of(found["log_kl"]), round(float(found["agrees"].mean()), 5),
            round(float(found["kl"].mean()), 9), round(float(found["confidence_shift"].mean()), 6))
    return Baseline(*hashes_of(model), faces=len(faces), faces_from=faces_from,
                    world={name: Bins.of(values) for name, values in watched.world.items()}, engines=engines)


def write_baseline(model: Model, baseline: Baseline) -> ModelCard:
    """Put a baseline into a model directory and its card; returns the card. Raises as `changing_model`."""
    with changing_model(model) as directory:
        (directory / FILE).write_text(baseline.to_json(), encoding="utf-8")
        card = dataclasses.replace(model.card, drift=FileEntry.of(directory / FILE))
        save_card(directory, card)
    return card
