"""Does the monitor find what it should, and nothing else? Planted drifts, a million unchanged samples.

python -m export.drift.record mien-light --data PATH --record docs/results/drift-mien-light-cpu.json

FER2013's PrivateTest faces are what a camera sees, drawn at random with replacement: as if every sample were another
person. The statistics of each face are computed once, by what runs on the device, and replayed. What the monitor costs
a stream is measured by `runtime.bench.drift`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import numpy_helper
from tqdm import tqdm

from calibration.onnx_graph import parse_model
from export.drift.baseline import departures, watch_faces
from runtime.bench.record import layout
from runtime.card import Model, load_model
from runtime.drift.baseline import Baseline, read_baseline
from runtime.drift.bins import Bins
from runtime.drift.config import DriftConfig
from runtime.drift.detector import Detector
from runtime.drift.quantities import ABOVE_ONLY, ENGINE, WORLD
from runtime.drift.watch import LEARN, Watch, WatchRules
from runtime.durable import write_text
from runtime.engines.face_batches import Logits, run_all
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput
from runtime.machine import describe_machine
from runtime.preprocess import prepare_faces
from train.datasets.fer2013 import load_fer2013

FACES, REPLAYS, MOST_SAMPLES = 400, 40, 500  # of each planted drift
BEFORE = 600  # unchanged samples before it: what the detectors learned first must be unlearned
UNCHANGED, UNCHANGED_LEARNED = 1_000_000, 200_000
DRIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "light halved": lambda face: face // 2,
    "blurred, a deviation of one pixel": lambda face: np.asarray(cv2.GaussianBlur(face, (0, 0), 1.0)),
    "crop too tight, 0.8 of the side": lambda face: np.asarray(
        cv2.resize(_centre(face, 0.8), face.shape[::-1], interpolation=cv2.INTER_LINEAR)),
}
PERTURBED = "engine weights perturbed by 5 %"
BETWEEN = 200.0  # values between two false alarms in the check of the detector: few, so that it can be run
RUNS = 100
PRIVATE_FACES = 1500  # of PrivateTest, drawn once; all of them say the same in twice the time

Columns = dict[str, np.ndarray]  # a quantity → its value for each face


def columns_of(model: Model, faces: np.ndarray, logits: Logits) -> Columns:
    """Return every quantity of (N, C, H, W) uint8 faces, with an engine's logits beside FP32's."""
    watched = watch_faces(model, faces)
    return {ENGINE: departures(model, watched.logits, run_all(logits, faces, "engine"))[ENGINE], **watched.world}


def perturbed(content: bytes, share: float, seed: int = 0) -> bytes:
    """Return a graph whose weights are each multiplied by a normal factor of mean 1 and deviation `share`."""
    model, generator = parse_model(content, "the engine's graph"), np.random.default_rng(seed)
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.ndim < 2:  # biases, scales and shapes stay
            continue
        changed = values * (1 + share * generator.standard_normal(values.shape))
        rounded = np.clip(np.rint(changed), -127, 127) if values.dtype == np.int8 else changed
        weight.CopyFrom(numpy_helper.from_array(rounded.astype(values.dtype), weight.name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def new_watches(config: DriftConfig, baseline: Baseline | None, model: Model, graph: str) -> dict[str, Watch]:
    """Return the watches that a stream has, without the face's size, which no data set knows."""
    known: dict[str, Bins | None] = {}
    if baseline:
        known = {**baseline.of_world(model), ENGINE: baseline.of_engine(model, graph)}
    between = config.samples_between_alarms(1 + len(WORLD))
    return {name: Watch(WatchRules(config.tolerance, between, name in ABOVE_ONLY), known.get(name))
            for name in (ENGINE, *WORLD) if name != "face_side"}


def delays(watches: Callable[[], dict[str, Watch]], before: Columns, columns: Columns, seed: int = 0
           ) -> dict[str, Any]:
    """Replay a drift again and again; return after how many samples each quantity alarmed, if within 500."""
    generator, first, by = np.random.default_rng(seed), [], dict[str, list[int]]()
    for _ in range(REPLAYS):
        unchanged_first = generator.integers(0, len(before[ENGINE]), BEFORE)
        order = generator.integers(0, len(columns[ENGINE]), MOST_SAMPLES)
        found = {}
        for name, watch in watches().items():
            for value in before[name][unchanged_first].tolist():
                watch.add(value)
            place = next((n for n, value in enumerate(columns[name][order].tolist()) if watch.add(value)), None)
            if place is not None:
                found[name] = place + 1
                by.setdefault(name, []).append(place + 1)
        first.append(min(found.values(), default=MOST_SAMPLES + 1))
    return {"alarmed": sum(n <= MOST_SAMPLES for n in first), "replays": REPLAYS,
            "samples": {"median": float(np.median(first)), "most": max(first)},
            "by": {name: {"alarmed": len(ns), "median": float(np.median(ns))} for name, ns in by.items()}}


def unchanged(watches: dict[str, Watch], columns: Columns, samples: int, seed: int = 0) -> dict[str, Any]:
    """Replay unchanged faces; return the alarms, and how far the evidence of each quantity ever came (0–1)."""
    order = np.random.default_rng(seed).integers(0, len(columns[ENGINE]), samples)
    highest = {}
    for name, watch in tqdm(watches.items(), desc="unchanged", leave=False, disable=None, unit="quantity"):
        highest[name] = 0.0
        for value in columns[name][order].tolist():
            watch.add(value)
            highest[name] = max(highest[name], watch.progress)
    return {"samples": samples, "false_alarms": {name: watch.alarms for name, watch in watches.items()},
            "highest_evidence": {name: round(value, 4) for name, value in highest.items()}}


def check_detector(seed: int = 0) -> list[dict[str, Any]]:
    """Run the detector where its promise is tightest: shares at their limits. The mean delay must be what it says.

    The last row breaks the hypothesis on purpose, so that the check can fail.
    """
    even = np.full(10, 0.1)
    rows = []
    for what, shares in (("as the baseline", even), ("seven bins at their limits", _at_limits(7)),
                         ("a bin at twice its limit", np.r_[0.3, np.full(9, 0.7 / 9)])):
        generator, runs = np.random.default_rng(seed), []
        for _ in range(RUNS):
            detector, seen, alarmed = Detector([0.15] * 10, BETWEEN), 0, False
            while not alarmed and seen < 10 * BETWEEN:
                for place in generator.choice(10, 500, p=shares).tolist():
                    seen += 1
                    alarmed = detector.add(place)
                    if alarmed:
                        break
            runs.append(seen)
        rows.append({"shares": what, "runs": RUNS, "mean_samples_to_alarm": round(float(np.mean(runs)), 1),
                     "standard_error": round(float(np.std(runs) / np.sqrt(RUNS)), 1), "promised_at_least": BETWEEN})
    return rows


def _at_limits(bins: int) -> np.ndarray:
    """Return ten shares of which as many as fit hold 0.15, and the rest what is left."""
    shares = np.zeros(10)
    shares[: bins - 1] = 0.15
    shares[bins - 1] = 1 - shares.sum()
    return shares


def measure(model: Model, precision: str, data: Path) -> dict[str, Any]:
    """Return every figure of the module's docstring. Raises BadInput for a model without a baseline."""
    baseline = read_baseline(model)
    if baseline is None:
        raise BadInput(f"expected a drift baseline in {model.directory}, found none; mien drift baseline makes it")
    reported = load_fer2013(data).split("PrivateTest")
    faces = prepare_faces(reported.images, model.card.input)
    faces = faces[np.random.default_rng(0).choice(len(faces), PRIVATE_FACES, replace=False)]
    some = np.arange(FACES)
    content = model.read_graph(precision)
    as_it_is, off = (_logits(model, graph, precision) for graph in (content, perturbed(content, 0.05)))
    config = DriftConfig()

    def watches() -> dict[str, Watch]:
        return new_watches(config, baseline, model, precision)

    columns = columns_of(model, faces, as_it_is)
    planted = {PERTURBED: {**{name: values[some] for name, values in columns.items()},
                           ENGINE: columns_of(model, faces[some], off)[ENGINE]}}
    for name, change in DRIFTS.items():
        planted[name] = columns_of(model, np.stack([np.stack([change(c) for c in face]) for face in faces[some]]),
                                   as_it_is)
    return {
        "model": model.card.name, "precision": precision, "target": "cpu",
        "sha256": model.card.graphs[precision].sha256, "baseline_sha256": model.card.drift and model.card.drift.sha256,
        "data": {"name": "fer2013", "split": "PrivateTest", "images": len(faces), "sha256": reported.sha256()},
        "config": vars(config), "samples_between_alarms_of_one": config.samples_between_alarms(1 + len(WORLD)),
        "unchanged_before_a_drift": BEFORE,
        "planted": {name: delays(watches, columns, found) for name, found in planted.items()},
        "unchanged": unchanged(watches(), columns, UNCHANGED),
        "unchanged_learned": {"learned_from": LEARN,
                              **unchanged(new_watches(config, None, model, precision), columns, UNCHANGED_LEARNED,
                                          seed=1)},
        "detector": check_detector(), "made_on": describe_machine()}


def _logits(model: Model, content: bytes, precision: str) -> Logits:
    engine = OnnxRuntimeEngine(content, precision, precision)
    name, output = model.card.input_name, model.card.output_name
    return lambda faces: engine.run({name: np.ascontiguousarray(faces)})[output]


def _centre(face: np.ndarray, share: float) -> np.ndarray:
    """Return the middle of an (H, W) picture."""
    height, width = (round(side * share) for side in face.shape)
    top, left = (face.shape[0] - height) // 2, (face.shape[1] - width) // 2
    return face[top : top + height, left : left + width]


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", default="int8", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    text = layout(measure(load_model(args.model), args.precision, args.data))
    write_text(args.record, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
