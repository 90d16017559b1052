"""A face model and an expression model → Triton's model repository: both, and the step between that decodes and crops.

Each network's numbers stay its own graph's; `server_model.py` joins them with the stream's own code. Never an engine: a
plan fits one GPU and one TensorRT, so the server builds it (`build_plans.py`). Knows nothing of cameras.
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from export.triton.build_plans import Plan, build_script
from export.triton.config_text import Name, protobuf_text
from export.triton.copied_runtime import copied_runtime
from export.triton.tensors import FREE, Tensor, tensors_of
from runtime.card import Model
from runtime.engines import graph_for
from runtime.errors import BadInput
from runtime.faces.anchor_free import cells_of
from runtime.faces.model_detector import LONGEST_SIDE

STEP = "mien"  # the model that clients ask: a frame in, faces and expressions out
CONTENTS = "contents.json"
VERSION = "1"  # folders under a model are versions; what is no number is no version
MODEL_FILE = Path(__file__).parent / "server_model.py"
# How long a request waits for others to share its batch: a twentieth of a frame's time at 25 frames a second
QUEUE_MICROSECONDS = 2000


@dataclass(frozen=True)
class Serving:
    """How the models shall be served; the defaults are a stream's, face_threshold 0 is the detector's own.

    at_once: frames that are worked on at a time, each in an instance of the step in between.
    """

    target: Literal["cpu", "tensorrt"] = "cpu"
    precision: str = "fp32"
    face_precision: str = "fp32"
    max_faces: int = 8
    threshold: float = 0.4
    face_threshold: float = 0.0
    face_side: int = LONGEST_SIDE
    at_once: int = 4

    def __post_init__(self) -> None:
        for name, least, most in (("max_faces", 1, 64), ("at_once", 1, 64), ("threshold", 0, 1),
                                  ("face_threshold", 0, 1), ("face_side", 64, 4096)):
            if not least <= getattr(self, name) <= most:
                flag = name.replace("_", "-")
                raise BadInput(f"expected --{flag} of {least}–{most}, found {getattr(self, name)}; give another")


def repository_files(model: Model, faces: Model, serving: Serving) -> dict[str, bytes]:
    """Return every file of the repository by path, the same bytes for the same models. Raises BadInput, BadModel."""
    for each, task in ((model, "expression"), (faces, "face")):
        if each.card.task != task:
            raise BadInput(f"expected a model whose task is {task}, found {each.directory}, whose is {each.card.task}; "
                           "give the expression model first and the detector with --faces")
    names = [STEP, _plain(model), _plain(faces)]
    if len(set(names)) != len(names):
        raise BadInput(f"expected three different names, found {', '.join(names)}; export a model under another")
    if serving.max_faces > model.card.batches[2]:
        raise BadInput(f"expected --max-faces of at most {model.card.batches[2]}, the largest batch on "
                       f"{model.card.name}'s card, found {serving.max_faces}; give fewer")
    read = _network(model, serving, serving.precision, model.card.batches)
    found = _network(faces, serving, serving.face_precision, (1, serving.at_once, serving.at_once))
    files = read.files | found.files | _step(model, faces, serving)
    if serving.target == "tensorrt":
        files["build-plans.sh"] = build_script([read.plan, found.plan])
    contents = {
        "target": serving.target,
        "models": {each.card.name: {"task": each.card.task, "graph": net.graph, "sha256": net.plan.sha256}
                   for each, net in ((model, read), (faces, found))},
        "files": {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}}
    return files | {CONTENTS: json.dumps(contents, indent=2).encode() + b"\n"}


@dataclass(frozen=True)
class _Network:
    graph: str
    files: dict[str, bytes]
    plan: Plan


def _network(model: Model, serving: Serving, precision: str, batches: tuple[int, int, int]) -> _Network:
    """Return a network's files: its graph as a version on the CPU, for TensorRT beside the versions, to be compiled."""
    card, name = model.card, model.card.name
    graph = graph_for(precision, serving.target)
    source, answer = tensors_of(model, graph)
    plan = serving.target == "tensorrt"
    if plan:
        source, answer = _fixed(model, source, answer)
    config = {
        "name": name, "platform": "tensorrt_plan" if plan else "onnxruntime_onnx", "max_batch_size": batches[2],
        "input": _described(source), "output": _described(answer), "version_policy": _latest(),
        "instance_group": [{"count": 1, "kind": Name("KIND_GPU" if plan else "KIND_CPU")}],
        "dynamic_batching": {"max_queue_delay_microseconds": QUEUE_MICROSECONDS}}
    place = f"{name}/graph/{graph}.onnx" if plan else f"{name}/{VERSION}/model.onnx"
    files = {f"{name}/config.pbtxt": protobuf_text(config).encode(), place: model.read_graph(graph)}
    return _Network(graph, files, Plan(name, place, f"{name}/{VERSION}/model.plan", card.graphs[graph].sha256,
                                       source.name, source.dims, batches))


def _fixed(model: Model, source: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Return both with the card's size, which a plan is compiled for."""
    how = model.card.input
    cells = len(cells_of((how.width, how.height))[0]) if model.card.task == "face" else FREE
    return (Tensor(source.name, source.type, (how.channels, how.height, how.width)),
            Tensor(answer.name, answer.type, tuple(cells if size == FREE else size for size in answer.dims)))


def _step(model: Model, faces: Model, serving: Serving) -> dict[str, bytes]:
    """Return the files of the step in between: configuration, model.py, the stream's code, both cards."""
    classes = len(model.card.labels)
    outputs = (Tensor("boxes", "TYPE_FP32", (FREE, 4)), Tensor("landmarks", "TYPE_FP32", (FREE, 5, 2)),
               Tensor("scores", "TYPE_FP32", (FREE,)), Tensor("probabilities", "TYPE_FP32", (FREE, classes)),
               Tensor("labels", "TYPE_STRING", (FREE,)))
    told = {"model": model.card.name, "faces": faces.card.name, "precision": serving.precision,
            "face_precision": serving.face_precision, "max_faces": serving.max_faces, "threshold": serving.threshold,
            "face_threshold": serving.face_threshold, "face_side": serving.face_side,
            "fixed_size": "yes" if serving.target == "tensorrt" else "no"}
    config = {
        "name": STEP, "backend": "python", "max_batch_size": 0,  # a frame a request: their sizes differ
        "input": _described(Tensor("frame", "TYPE_UINT8", (FREE, FREE, 3))),
        "output": [_described(output) for output in outputs], "version_policy": _latest(),
        "instance_group": [{"count": serving.at_once, "kind": Name("KIND_CPU")}],
        "parameters": [{"key": key, "value": {"string_value": str(value)}} for key, value in told.items()]}
    place = f"{STEP}/{VERSION}"
    files = {f"{STEP}/config.pbtxt": protobuf_text(config).encode(), f"{place}/model.py": MODEL_FILE.read_bytes()}
    files |= {f"{place}/{path}": content for path, content in copied_runtime().items()}
    return files | {f"{place}/models/{each.card.name}/card.json": (each.directory / "card.json").read_bytes()
                    for each in (model, faces)}


def _plain(model: Model) -> str:
    """Return a model's name, which becomes a folder's and a URL's."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,49}", model.card.name):
        raise BadInput(f"expected a model's name of letters, digits, - and _, found {model.card.name!r}; export it "
                       "under another")
    return model.card.name


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": Name(tensor.type), "dims": list(tensor.dims)}


def _latest() -> dict[str, Any]:
    return {"latest": {"num_versions": 1}}
