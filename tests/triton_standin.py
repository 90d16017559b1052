"""Runs a repository's `mien` as Triton's Python backend would, with ONNX Runtime for the networks behind it.

`python tests/triton_standin.py REPOSITORY FRAMES.npz ANSWERS.npz`, in a process of its own: the code that runs must be
what lies in the repository, not this checkout. What stands for triton_python_backend_utils has the names and arguments
of https://github.com/triton-inference-server/python_backend (README and src/pb_stub.cc); the path and the module's name
are set as there: `1.model`, its folder and the one above appended. Knows nothing of faces.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime

TRITONSERVER_MEMORY_CPU = 0


class Tensor:
    def __init__(self, name: str, array: np.ndarray):
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        self._array.flags.writeable = False  # the real one's lies in shared memory, and is not the model's to change
        return self._array


class TritonError:
    def __init__(self, message: str):
        self._message = message

    def message(self) -> str:
        return self._message


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor], error: TritonError | None = None):
        self._tensors, self._error = output_tensors, error

    def output_tensors(self) -> list[Tensor]:
        return self._tensors

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error


class PreferredMemory:
    def __init__(self, preferred_memory_type: int, preferred_device_id: int = 0):
        self.kind = preferred_memory_type


class Server:
    """The networks of a repository, and how many requests' rows each was shown."""

    def __init__(self, repository: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._sessions = {path.parent.parent.name: onnxruntime.InferenceSession(path, options)
                          for path in repository.glob("*/1/model.onnx")}
        self._most = {name: int(_one(r"max_batch_size: (\d+)", (repository / name / "config.pbtxt").read_text()))
                      for name in self._sessions}

    def answer(self, model: str, inputs: list[Tensor], names: list[str]) -> InferenceResponse:
        if max(len(tensor.as_numpy()) for tensor in inputs) > self._most[model]:
            return InferenceResponse([], TritonError(f"batch above {self._most[model]} for {model}"))
        given = {tensor.name(): tensor.as_numpy() for tensor in inputs}
        return InferenceResponse([*map(Tensor, names, self._sessions[model].run(names, given))])


def backend_utils(server: Server) -> ModuleType:
    """Return the module that a model.py imports."""
    class InferenceRequest:
        def __init__(self, *, model_name: str, requested_output_names: list[str], inputs: list[Tensor],
                     preferred_memory: PreferredMemory):
            self._asked = (model_name, inputs, requested_output_names)
            assert preferred_memory.kind == TRITONSERVER_MEMORY_CPU

        def exec(self) -> InferenceResponse:
            return server.answer(*self._asked)

    module = ModuleType("triton_python_backend_utils")
    module.__dict__.update(
        Tensor=Tensor, TritonError=TritonError, InferenceResponse=InferenceResponse, InferenceRequest=InferenceRequest,
        PreferredMemory=PreferredMemory, TRITONSERVER_MEMORY_CPU=TRITONSERVER_MEMORY_CPU,
        get_input_tensor_by_name=lambda request, name: request[name],
        get_output_tensor_by_name=lambda response, name: {t.name(): t for t in response.output_tensors()}[name])
    return module


def parameters_of(config: str) -> dict[str, dict[str, str]]:
    """Return the parameters of a config.pbtxt as Triton hands them to a model: {name: {"string_value": …}}."""
    found = re.findall(r'parameters \{\n  key: "(.*)"\n  value \{\n    string_value: "(.*)"', config)
    return {key: {"string_value": value} for key, value in found}


def _one(pattern: str, text: str) -> str:
    (found,) = re.findall(pattern, text)
    return str(found)


def main(repository: Path, frames: Path, answers: Path) -> None:
    """Answer every frame of a file; `N.name` are the arrays, `N.error` the words."""
    sys.modules["triton_python_backend_utils"] = backend_utils(Server(repository))
    model = repository / "mien"
    sys.path += [str(model / "1"), str(model)]
    step = importlib.import_module("1.model").TritonPythonModel()
    arguments = {"model_config": json.dumps({"parameters": parameters_of((model / "config.pbtxt").read_text())})}
    step.initialize(arguments)
    with np.load(frames) as arrays:
        requests = [{"frame": Tensor("frame", arrays[name])} for name in sorted(arrays.files)]
    found: dict[str, Any] = {}
    for number, response in enumerate(step.execute(requests)):
        if response.has_error():
            found[f"{number}.error"] = np.array(response.error().message())
        for tensor in response.output_tensors():
            array = tensor.as_numpy()
            found[f"{number}.{tensor.name()}"] = array.astype("S") if array.dtype == object else array
    ours = sorted(m.__file__ or "" for name, m in sys.modules.items() if name.partition(".")[0] == "runtime")
    found["loaded"] = np.array(ours)
    np.savez(answers, **found)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
