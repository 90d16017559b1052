"""What the gate's tests share: real faces, networks that answer each face once, and damaged copies of the model."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.gate.budget import Budget
from export.gate.form import Form, open_gpu_form
from export.gate.gate import Asked, run_gate
from export.gate.report import Report
from runtime.card import FileEntry, Model, ModelCard, load_model, save_card
from runtime.engines.engine import Engine
from runtime.preprocess import prepare_faces
from train.datasets.labelled_faces import LabelledFaces

FACES = 384
GRAPHS = ("fp32", "fp16", "int8", "int8-gpu")


class Remembered:
    """An engine that runs each batch once: tests ask the sound networks for the same faces again and again."""

    def __init__(self, engine: Engine):
        self.engine, self.known = engine, dict[bytes, dict[str, np.ndarray]]()
        self.target, self.precision, self.inputs, self.outputs = (engine.target, engine.precision, engine.inputs,
                                                                  engine.outputs)
        self.compiled_sha256 = engine.compiled_sha256

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        key = b"".join(array.tobytes() for array in arrays.values())
        if key not in self.known:
            self.known[key] = self.engine.run(arrays)
        return {name: array.copy() for name, array in self.known[key].items()}

    def close(self) -> None:
        self.engine.close()


@pytest.fixture(scope="session")
def some_faces(fer2013: LabelledFaces) -> LabelledFaces:
    """Faces of PublicTest, evenly over it: what a defect is planted for is not what is reported on."""
    public = fer2013.split("PublicTest")
    return public.where(np.linspace(0, len(public) - 1, FACES).astype(int))


@pytest.fixture(scope="session")
def sound(shipped: Model) -> dict[str, Engine]:
    """The shipped graphs, each opened and asked once."""
    return {graph: Remembered(open_gpu_form(shipped, graph)) for graph in GRAPHS}


Check = Callable[..., Report]


@pytest.fixture
def check(some_faces: LabelledFaces, shipped: Model, sound: dict[str, Engine]) -> Check:
    """A function that runs the gate on some faces; graphs that are the shipped ones are not run again."""

    def run(model: Model, graph: str = "int8", engine: Engine | None = None, budget: Budget | None = None,
            form: Form | None = None, **asked: object) -> Report:
        same = {name: sound[name] for name, entry in model.card.graphs.items()
                if entry.sha256 == shipped.card.graphs[name].sha256}
        form = form or Form(graph, engine or same.get(graph) or open_gpu_form(model, graph))
        data = {"name": "fer2013", "splits": ["PublicTest"], "without_copies": False, "images": len(some_faces),
                "sha256": some_faces.sha256()}
        faces = prepare_faces(some_faces.images, shipped.card.input)
        return run_gate(Asked(model, form, faces, some_faces.labels, tuple(some_faces.names), data,
                              budget or Budget(), **asked), dict(same))  # type: ignore[arg-type]

    return run


@pytest.fixture
def changed(shipped: Model, tmp_path: Path) -> Callable[..., Model]:
    """A function that returns a copy of the shipped model with some graphs or facts of its card changed."""

    def change(graphs: Mapping[str, onnx.ModelProto] | None = None, **facts: object) -> Model:
        place = tmp_path / "model"
        shutil.copytree(shipped.directory, place)
        card: ModelCard = dataclasses.replace(shipped.card, **facts)  # type: ignore[arg-type]
        entries = dict(card.graphs)
        for graph, content in (graphs or {}).items():
            onnx.save(content, place / f"{graph}.onnx")
            entries[graph] = FileEntry.of(place / f"{graph}.onnx")
        save_card(place, dataclasses.replace(card, graphs=entries))
        return load_model(place)

    return change
