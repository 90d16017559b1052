"""Fault 42: an engine's weights change in silence, after the golden faces passed. It alarms within 500 faces."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from export.drift.record import perturbed
from runtime.card import load_model
from runtime.drift.alarm import alarm_line, is_engines_fault
from runtime.drift.config import DriftConfig
from runtime.drift.monitor import DriftMonitor
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.expressions import read_logits
from runtime.preprocess import prepare_faces
from train.datasets.labelled_faces import LabelledFaces

WITHIN = 500
BOX = np.array([[0.0, 0.0, 100.0, 100.0]])


def samples_to_alarm(faces: np.ndarray, share: float) -> tuple[int, str, bool]:
    """Show faces, each another person's, to mien-light's INT8 engine with weights off by a share of themselves."""
    model = load_model(Path("mien-light"))
    content = model.read_graph("int8")
    engine = OnnxRuntimeEngine(perturbed(content, share) if share else content, "int8", "int8", 1)
    answers = read_logits(engine.run({"faces": faces})["logits"], model.card.labels, model.card.temperature)
    with closing(DriftMonitor(model, "int8", "cpu", DriftConfig(seconds_between=0.0, budget=1.0))) as monitor:
        for number, (face, answer) in enumerate(zip(faces, answers), 1):
            while (status := monitor.status())["samples"] < number and not status["alarming"]:
                monitor.offer(face[None], BOX, [answer], [time.monotonic_ns()], 0.0)
                time.sleep(0.002)
            if status["alarming"]:
                break
        return number, alarm_line(status, model, "int8", "cpu"), is_engines_fault(status)


def test_42_silent_drift(fer2013: LabelledFaces, record_property: Callable[[str, object], None]) -> None:
    model = load_model(Path("mien-light"))
    chosen = fer2013.split("PrivateTest").where(np.arange(WITHIN))
    faces = prepare_faces(chosen.images, model.card.input)
    samples, line, engines_fault = samples_to_alarm(faces, 0.05)
    record_property("fault", "42 silent drift")
    record_property("injected", "the engine's weights 5 % off, real faces of FER2013")
    record_property("observed", f"an alarm after {samples} samples, which blames the engine")
    assert samples <= WITHIN and engines_fault
    assert line.startswith("the engine departs from FP32 more than it did")


def test_42_unchanged_weights_do_not_alarm(fer2013: LabelledFaces) -> None:
    model = load_model(Path("mien-light"))
    chosen = fer2013.split("PrivateTest").where(np.arange(WITHIN))
    assert samples_to_alarm(prepare_faces(chosen.images, model.card.input), 0.0)[1] == ""
