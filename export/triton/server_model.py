"""A frame → its faces and their expressions, as Triton's Python backend runs it: model.py of the repository's `mien`.

The detector and the reader are the stream's own, copied beside this file; only their engines differ, whose every run is
a request to another model of the same server. Knows nothing of those models' backends, of time, or of the frame before.
https://github.com/triton-inference-server/python_backend#business-logic-scripting
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # before a mien that is installed, which may be another

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # exists inside the server only

from runtime.card import Model, load_model
from runtime.engines.engine import TensorSpec
from runtime.errors import MienError
from runtime.expressions import ExpressionReader
from runtime.faces.model_detector import ModelDetector

HERE = Path(__file__).resolve().parent
NOT_FINITE = "not finite"  # the label of a face whose network answered NaN or infinity


class ServedEngine:
    """Another model of this server as an engine."""

    target = "triton"

    def __init__(self, model: Model, precision: str, size: tuple[int | None, int | None]):
        """Name the model and its input's height and width; None: each request decides."""
        self.precision, self.compiled_sha256, self._name = precision, "", model.card.name
        dims = (None, model.card.input.channels, *size)
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec(model.card.input_name, np.dtype("u1"), dims),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec(model.card.output_name, np.dtype("f4"), ()),)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Ask once, and wait. Raises MienError with the server's words."""
        answer = pb_utils.InferenceRequest(
            model_name=self._name, requested_output_names=[spec.name for spec in self.outputs],
            inputs=[pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in arrays.items()],
            # a plan's answer would otherwise stay on the GPU, where numpy cannot read it
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)).exec()
        if answer.has_error():
            raise MienError(f"expected an answer from {self._name}, found: {answer.error().message()}; see the "
                            "server's log")
        return {spec.name: pb_utils.get_output_tensor_by_name(answer, spec.name).as_numpy() for spec in self.outputs}

    def close(self) -> None:
        """Hold nothing."""


class TritonPythonModel:
    """What the Python backend loads; an instance answers one frame after the other."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the two cards, and the parameters of config.pbtxt."""
        written = json.loads(args["model_config"])["parameters"]
        told = {name: value["string_value"] for name, value in written.items()}
        finder, network = (load_model(HERE / "models" / told[which]) for which in ("faces", "model"))
        fixed = (finder.card.input.height, finder.card.input.width) if told["fixed_size"] == "yes" else (None, None)
        self._detector = ModelDetector(
            finder, ServedEngine(finder, told["face_precision"], fixed), int(told["max_faces"]),
            float(told["face_threshold"]) or finder.card.score_threshold, int(told["face_side"]))
        face = network.card.input
        self._reader = ExpressionReader(
            network, ServedEngine(network, told["precision"], (face.height, face.width)), float(told["threshold"]))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, with an error where its frame is none or a model failed."""
        responses = []
        for request in requests:
            try:
                frame = pb_utils.get_input_tensor_by_name(request, "frame").as_numpy()
                responses.append(pb_utils.InferenceResponse(output_tensors=self._read(frame)))
            except MienError as error:
                responses.append(pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(error))))
        return responses

    def _read(self, frame: np.ndarray) -> list[Any]:
        faces = self._detector.detect(frame)
        landmarks = np.zeros((len(faces), 5, 2), np.float32) if faces.landmarks is None else faces.landmarks
        answers = self._reader.infer(self._reader.crop(frame, faces.boxes, landmarks))
        unknown = np.full(len(self._reader.labels), np.nan, np.float32)
        probabilities = [unknown if answer is None else answer.probabilities for answer in answers]
        labels = [NOT_FINITE if answer is None else answer.label for answer in answers]
        arrays = {"boxes": faces.boxes, "landmarks": landmarks, "scores": faces.scores,
                  "probabilities": np.reshape(np.array(probabilities, np.float32), (-1, len(unknown)))}
        return [*(pb_utils.Tensor(name, np.ascontiguousarray(array, np.float32)) for name, array in arrays.items()),
                pb_utils.Tensor("labels", np.array([label.encode() for label in labels], np.object_))]
