"""Where a model, an engine or a bundle came from, link by link: data → checkpoint → graphs → images → ranges → gate.

An imported model begins with its ONNX file: what lies before is not known. Each link is verified against what is at
hand; what only stands in a card is called *named*. Judges no accuracy itself: the gate did, and left a record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calibration.image_list import read_list
from runtime.card import FileEntry, Model
from runtime.errors import BadInput, MienError
from runtime.ranges_file import read_ranges

State = Literal["verified", "named", "missing", "broken"]
ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS, RECORDS = ROOT / "train" / "checkpoints", ROOT / "docs" / "results"


@dataclass(frozen=True)
class Link:
    """One step of the way: its name, whether it holds, and a line on what was found."""

    name: str
    state: State
    found: str

    @property
    def holds(self) -> bool:
        """Neither missing nor broken."""
        return self.state in ("verified", "named")

    def to_text(self) -> str:
        """Return one line for a person."""
        return f"{self.name}: {self.state}, {self.found}"


@dataclass(frozen=True)
class Lineage:
    """All links of one model, the hashes that a bundle signs, and the gate's records that were counted."""

    model: str
    links: tuple[Link, ...]
    hashes: dict[str, Any]  # the same wherever the links are walked
    records: tuple[Path, ...]


def lineage_of(model: Model, records: Sequence[Path] | None = None, checkpoint: Path | None = None,
               data: Path | None = None) -> Lineage:
    """Walk a model's links. records: files of mien check (docs/results otherwise); checkpoint, data: to verify with."""
    card = model.card
    gate, kept = _gate_links(model, RECORDS.glob("*.json") if records is None else records)
    links = [*_origin_links(model, checkpoint, data),
             *(_graph_link(model, graph) for graph in card.graphs), *_calibration_links(model), *gate]
    calibration = card.calibration
    hashes = {
        "data_sha256": card.training.get("data", {}).get("sha256"),
        "checkpoint_sha256": card.training.get("checkpoint_sha256"),
        **({"onnx_sha256": card.training["onnx"]["sha256"]} if "onnx" in card.training else {}),
        "graphs": {graph: entry.sha256 for graph, entry in card.graphs.items()},
        "images_sha256": calibration.get("images_sha256"),
        "ranges_sha256": calibration.get("files", {}).get("ranges", {}).get("sha256"),
        "records": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}}
    return Lineage(card.name, tuple(links), hashes, kept)


def _origin_links(model: Model, given: Path | None, data: Path | None) -> list[Link]:
    """Return the links before the graphs. Raises BadInput for a data set to verify an imported model with."""
    imported = model.card.training.get("onnx")
    if imported is None:
        return [_data_link(model, data), _checkpoint_link(model, given)]
    if data is not None:
        raise BadInput(f"expected no --data for {model.directory}, which mien import made of an ONNX file, found "
                       f"{data}: what it was trained on is not known; leave it out")
    named = f"{imported['file']} {imported['sha256'][:12]}"
    if given is None:
        return [Link("onnx", "named", f"{named} in the card, trained on what is not known; --checkpoint FILE.onnx "
                                      "verifies it")]
    found = hashlib.sha256(given.read_bytes()).hexdigest() if given.is_file() else ""
    if found != imported["sha256"]:
        return [Link("onnx", "broken", f"{named} in the card, {found[:12] or 'nothing'} in {given}")]
    return [Link("onnx", "verified", f"{named}, {given}; trained on what is not known")]


def _data_link(model: Model, path: Path | None) -> Link:
    named = model.card.training.get("data", {})
    sha256 = named.get("sha256")
    if not sha256:
        return Link("data", "missing", f"no hash of the training data in {model.directory}/card.json")
    what = f"{named.get('name', '?')} {sha256[:12]}"
    if path is None:
        return Link("data", "named", f"{what} in the card; --data PATH verifies it")
    from runtime.config import build
    from train.expression.parts import load_faces
    from train.recipe import Recipe

    recipe = build(Recipe, model.card.training.get("recipe", {}), "the card's recipe")
    found = load_faces(recipe, path).sha256()
    if found != sha256:
        return Link("data", "broken", f"{what} in the card, {found[:12]} in {path}")
    return Link("data", "verified", what)


def _checkpoint_link(model: Model, given: Path | None) -> Link:
    sha256 = model.card.training.get("checkpoint_sha256")
    if not sha256:
        return Link("checkpoint", "missing", f"no hash of a checkpoint in {model.directory}/card.json")
    places = [given] if given else sorted(path.parent for path in CHECKPOINTS.glob("*/checkpoint.json"))
    for place in places:
        weights = place / "weights.safetensors"
        found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else ""
        if found == sha256:
            return Link("checkpoint", "verified", f"{sha256[:12]}, {place}")
        if given:
            return Link("checkpoint", "broken", f"{sha256[:12]} in the card, {found[:12] or 'nothing'} in {weights}")
    return Link("checkpoint", "named", f"{sha256[:12]} in the card; --checkpoint verifies it")


def _graph_link(model: Model, graph: str) -> Link:
    name = f"graph {graph}"
    try:
        model.read_graph(graph)
    except MienError as error:
        return Link(name, "broken", str(error))
    return Link(name, "verified", model.card.graphs[graph].sha256[:12])


def _calibration_links(model: Model) -> list[Link]:
    """Return the image list and the ranges; none where nothing was calibrated."""
    card = model.card
    if not any(graph.startswith("int8") for graph in card.graphs):
        return []
    files = card.calibration.get("files", {})
    return [_file_link(model, "image list", files.get("list"), _judge_list),
            _file_link(model, "ranges", files.get("ranges"), _judge_ranges)]


def _file_link(model: Model, name: str, values: dict[str, Any] | None, judge: Callable[[Model, Path], str]) -> Link:
    if values is None:
        return Link(name, "missing", f"none in {model.directory}/card.json; mien calibrate --images leaves it")
    path = model.directory / FileEntry(**values).file
    try:
        if FileEntry.of(path) != FileEntry(**values):
            return Link(name, "broken", f"other bytes in {path} than the card's")
        wrong = judge(model, path)
    except (OSError, MienError) as error:
        return Link(name, "broken", str(error))
    return Link(name, "broken", wrong) if wrong else Link(name, "verified", values["sha256"][:12])


def _judge_list(model: Model, path: Path) -> str:
    listed, card = read_list(path), model.card.calibration
    source = card.get("images_from", {})
    same = (listed.sha256() == source.get("list_sha256") if source.get("merged")  # devices' histograms came on top
            else listed.images_sha256 == card.get("images_sha256"))
    if not same:
        return f"{path} lists other images than the card's calibration took"
    return ""


def _judge_ranges(model: Model, path: Path) -> str:
    ranges, graph = read_ranges(path), model.card.graphs["fp32"]
    if ranges.graph_sha256 != graph.sha256:
        return f"{path} was taken with graph {ranges.graph_sha256[:12]}, and the card's is {graph.sha256[:12]}"
    return ""


def _gate_links(model: Model, paths: Iterable[Path]) -> tuple[list[Link], tuple[Path, ...]]:
    """Return a link for each graph that is not the reference, and the records of it that passed."""
    verdicts: dict[str, list[tuple[bool, Path]]] = {graph: [] for graph in model.card.graphs if graph != "fp32"}
    for path in sorted(paths):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"expected a record of mien check, found {path}: {error}; mien check --record") from error
        graph = record.get("graph") if isinstance(record, dict) else None
        if (isinstance(graph, str) and graph in verdicts and _tells(record)
                and record.get("sha256") == model.card.graphs[graph].sha256):
            verdicts[graph].append((record["passed"] is True, path))
    links = [_gate_link(graph, found) for graph, found in verdicts.items()]
    return links, tuple(sorted({path for found in verdicts.values() for passed, path in found if passed}))


def _tells(record: dict[str, Any]) -> bool:
    """Does a record decide? fp16 that passed in a CPU's float32 kernels, in which nothing overflows, does not."""
    if "passed" not in record or record.get("verdict") == "inconclusive":
        return False
    in_float32 = record["graph"] == "fp16" and record.get("target") == "cpu" and record.get("form") != "gpu"
    return not (in_float32 and record["passed"] is True)


def _gate_link(graph: str, found: list[tuple[bool, Path]]) -> Link:
    name = f"gate of {graph}"
    if not found:
        half = " in half arithmetic" if graph == "fp16" else ""
        return Link(name, "missing", f"no record of mien check on this very graph{half}; mien check --record")
    failed = [path.name for passed, path in found if not passed]
    if failed:
        return Link(name, "broken", f"{', '.join(failed)} says that it failed")
    return Link(name, "verified", f"passed: {', '.join(path.name for _, path in found)}")
