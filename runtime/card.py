"""The model card, and verified loading: a model is a directory, and its card binds every byte in it.

Bytes are read once, checked against the card's hash, and *those* bytes are used. Knows nothing of engines.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.config import build
from runtime.durable import write_text
from runtime.errors import BadConfig, BadInput, BadModel
from runtime.face_input import FaceInput
from runtime.onnx_weights import refuse_unsafe

SCHEMA = 1
MODELS = Path(__file__).parent / "models"  # the models that ship
PRECISIONS = ("fp32", "fp16", "int8")  # what a person asks for
GRAPHS = ("fp32", "fp16", "int8", "int8-gpu")  # what files there are; which one runs depends on the target
MAX_CARD_BYTES = 1 << 20
MAX_GRAPH_BYTES = 1 << 30


@dataclass(frozen=True)
class FileEntry:
    """One file of a model directory."""

    file: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Describe a file that lies on the disk."""
        content = path.read_bytes()
        return cls(path.name, hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class ModelCard:
    """Everything a runtime must know of a model, and where the model came from."""

    name: str
    task: Literal["expression", "face"]
    network: str
    labels: tuple[str, ...]
    input: FaceInput
    graphs: dict[str, FileEntry]
    golden: FileEntry | None = None
    # largest |Δlogit| against PyTorch that the golden faces may show, by graph: measured at export, doubled
    golden_bound: dict[str, float] = field(default_factory=dict)
    drift: FileEntry | None = None  # what a stream's monitor compares with: runtime/drift/baseline.py
    parameters: int = 0
    temperature: float = 1.0
    score_threshold: float = 0.5  # of a detector: what a face needs, chosen on scenes that chose the epoch
    input_name: str = "faces"
    output_name: str = "logits"
    batches: tuple[int, int, int] = (1, 4, 64)  # smallest, usual, largest: what engines are compiled for
    training: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or not self.labels:
            raise ValueError(f"expected distinct labels, found {self.labels}")
        if not self.temperature > 0:
            raise ValueError(f"expected a temperature above 0, found {self.temperature}")
        if not 0 < self.score_threshold < 1:
            raise ValueError(f"expected a score_threshold between 0 and 1, found {self.score_threshold}")
        if not 1 <= self.batches[0] <= self.batches[1] <= self.batches[2]:
            raise ValueError(f"expected batches that grow from at least 1, found {self.batches}")


@dataclass(frozen=True)
class GoldenFaces:
    """Pinned inputs and the PyTorch network's answers, from whole frames to labels.

    faces (N, C, H, W) uint8 and logits (N, classes) float32; each face is what the card's crop makes of
    boxes (N, 4) and landmarks (N, 5, 2) in frames (F, H, W, 3) BGR uint8 number frame_of (N,), and gave probabilities
    and labels (N,), indices into label_names (classes,) text. A detector's faces are whole grey pictures (N, 1, H, W);
    its logits (N, K, 16) are those of the cells (K,), and boxes (B, 4) are what is found in the pictures frame_of (B,).
    """

    faces: np.ndarray
    logits: np.ndarray
    frames: np.ndarray | None = None
    boxes: np.ndarray | None = None
    frame_of: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    labels: np.ndarray | None = None
    label_names: np.ndarray | None = None
    cells: np.ndarray | None = None


@dataclass(frozen=True)
class Model:
    """A model directory whose card has been read; its files are verified as they are read."""

    directory: Path
    card: ModelCard

    def read_graph(self, graph: str) -> bytes:
        """Return one graph's verified ONNX bytes. Raises BadModel."""
        entry = self.card.graphs.get(graph)
        if entry is None:
            verb = "mien calibrate" if graph.startswith("int8") else "mien export"
            raise BadModel(f"expected a graph {graph} in {self.directory}/card.json, found "
                           f"{', '.join(self.card.graphs)}; {verb} makes it")
        content = self._verified(entry)
        refuse_unsafe(content, str(self.directory / entry.file))
        return content

    def read_golden(self) -> GoldenFaces:
        """Return the golden vectors, verified. Raises BadModel."""
        if self.card.golden is None:
            raise BadModel(f"expected golden vectors in {self.directory}, found none; mien export makes them")
        try:
            with np.load(io.BytesIO(self._verified(self.card.golden)), allow_pickle=False) as arrays:
                known = {f.name for f in dataclasses.fields(GoldenFaces)}
                golden = GoldenFaces(**{name: arrays[name] for name in arrays.files if name in known})
        except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BadModel(f"expected faces and logits in {self.card.golden.file}, found {error}") from error
        of_one = (len(self.card.labels),) if golden.cells is None else (len(golden.cells), golden.logits.shape[-1])
        if golden.logits.shape != (len(golden.faces), *of_one) or (golden.cells is None) == (self.card.task == "face"):
            raise BadModel(f"expected {of_one} logits a face in {self.directory}/{self.card.golden.file}, found an "
                           f"array of {golden.logits.shape}; label count or task is wrong")
        return golden

    def read_drift(self) -> bytes | None:
        """Return the drift baseline's bytes, verified; None where the card names none. Raises BadModel."""
        return None if self.card.drift is None else self._verified(self.card.drift)

    def _verified(self, entry: FileEntry) -> bytes:
        path = self.directory / entry.file
        if Path(entry.file).name != entry.file:
            raise BadModel(f"expected a plain file name in {self.directory}/card.json, found {entry.file!r}")
        try:
            if path.stat().st_size > MAX_GRAPH_BYTES:
                raise BadModel(f"expected at most {MAX_GRAPH_BYTES} bytes in {path}, found more")
            content = path.read_bytes()
        except OSError as error:
            raise BadModel(f"expected the file {path} that the card names, found {error.strerror}; "
                           "copy the model again") from error
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BadModel(f"expected the bytes whose hash is in card.json, found others in {path}; "
                           "copy the model again")
        return content


def load_expression_model(path: Path) -> Model:
    """Read a model that reads expressions, as `load_model` does; BadInput also for one that finds faces."""
    model = load_model(path)
    if model.card.task != "expression":
        raise BadInput(f"expected a model that reads expressions, found {model.directory}, which finds faces; mien "
                       "faces calibrate, check and compare are its verbs")
    return model


def load_model(path: Path) -> Model:
    """Read a model directory's card; a bare name means a model that ships. Raises BadModel, BadInput."""
    path = Path(path)
    if not os.path.exists(path) and path.name == str(path) and os.path.isdir(MODELS / path):  # False: too long a name
        path = MODELS / path
    card_file = path / "card.json"
    if not os.path.isfile(card_file):
        shipped = ", ".join(sorted(p.name for p in MODELS.glob("*") if (p / "card.json").is_file()))
        raise BadInput(f"expected a model directory with card.json, found {path}; shipped models: {shipped or 'none'}")
    try:
        if card_file.stat().st_size > MAX_CARD_BYTES:
            raise BadModel(f"expected a card of at most {MAX_CARD_BYTES} bytes, found more in {card_file}")
        values = json.loads(card_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"expected JSON in {card_file}, found: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        found = values.get("schema") if isinstance(values, dict) else "no object"
        raise BadModel(f"expected a card of schema {SCHEMA} in {card_file}, found {found}; use a matching mien")
    if values.pop("card_sha256", None) != card_hash(values):
        raise BadModel(f"expected the card whose hash is in {card_file}, found one that was changed; "
                       "copy the model again")
    try:
        card = build(ModelCard, values, str(card_file))
    except BadConfig as error:
        raise BadModel(str(error)) from error
    unknown = set(card.graphs) - set(GRAPHS)
    if unknown:
        raise BadModel(f"expected graphs among {', '.join(GRAPHS)} in {card_file}, found {', '.join(sorted(unknown))}")
    return Model(path, card)


def save_card(directory: Path, card: ModelCard) -> None:
    """Write `card.json`, whole or not at all."""
    values = dataclasses.asdict(card)
    write_text(directory / "card.json", json.dumps(values | {"card_sha256": card_hash(values)}, indent=2) + "\n")


def card_hash(values: dict[str, Any]) -> str:
    """Return the hash of a card's values without the hash itself, however the file is laid out."""
    content = {key: value for key, value in values.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
