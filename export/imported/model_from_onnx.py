"""Anyone's ONNX file → a model directory, as `mien export` makes one of a checkpoint.

There is no PyTorch network to hold the graphs against: the file itself, run on one picture at a time, takes its place,
and the card says so. Knows neither what the network was trained on nor how well it reads faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from calibration.onnx_graph import multiply_adds
from export.changing_model import replacing_model
from export.golden import golden_bytes, make_golden
from export.half_from_onnx import half_from_onnx
from export.imported.contract_of_onnx import INPUT, OUTPUT, contract_of_onnx, refusing
from export.imported.given_onnx import FREE_BATCH, GivenNetwork, given_logits
from export.imported.pixel_scaling import PixelScaling
from export.model_from_checkpoint import BOUNDS, generated_faces
from export.photograph import load_photograph
from runtime.card import FileEntry, ModelCard, save_card
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError
from runtime.preprocess import FaceInput

FEWEST, MOST = 64, 128  # faces of the proof: the given graph takes them one at a time
_SPLITS = (1, 4)  # the proof's batches are of 1, of 3 and of all the rest: a graph right for these knows no batch


@dataclass(frozen=True)
class Asked:
    """What no ONNX file says: the labels in order, how pixels are scaled, and how a face is cut and coloured.

    scaling: None for a network that takes uint8. colour: None takes grey for one channel, RGB for three; grey for
    three repeats the grey face.
    """

    labels: tuple[str, ...]
    scaling: PixelScaling | None
    colour: str | None = None
    equalize: bool = False
    margin: float = 0.0


def face_input_of(given: GivenNetwork, asked: Asked) -> FaceInput:
    """Return how faces are prepared for a given network. Raises BadInput where what was asked does not fit it."""
    if given.classes != len(asked.labels) or len(set(asked.labels)) != len(asked.labels) or not all(asked.labels):
        raise BadInput(f"expected {given.classes} different labels, in the order of the network's logits, found "
                       f"{len(asked.labels)}: {', '.join(asked.labels)}")
    if given.is_uint8 and asked.scaling is not None:
        raise BadInput("expected no --normalize, --mean or --std for a network that takes uint8, found one; leave it "
                       "out")
    if not given.is_uint8 and asked.scaling is None:
        raise BadInput("expected --normalize unit|signed|imagenet|none, or --mean and --std, found none: no ONNX file "
                       "says how its pixels were scaled; take what the training did")
    colour = asked.colour or ("grey" if given.channels == 1 else "rgb")
    if colour == "rgb" and given.channels == 1:
        raise BadInput("expected --colour grey for a network of one channel, found rgb; leave it out")
    if colour == "grey" and given.channels == 3 and given.is_uint8:
        raise BadInput("expected --colour rgb for a network that takes uint8 of three channels, found grey; repeat "
                       "the channel inside the network")
    if asked.scaling is not None:
        asked.scaling.require_channels(given.channels)
    try:
        return FaceInput(given.height, given.width, "grey" if colour == "grey" else "rgb", asked.margin, asked.equalize)
    except ValueError as error:
        raise BadInput(str(error)) from error


def model_from_onnx(given: GivenNetwork, asked: Asked, out: Path, faces: np.ndarray | None = None) -> ModelCard:
    """Make the model directory `out`, which appears whole or not at all, of a network that was given as ONNX.

    faces: (N ≥ 64, C, H, W) uint8 to prove the graphs on, of which 128 are taken; None takes generated ones. Raises
    BadInput for what the network or the flags are not, and MienError on a departure.
    """
    how = face_input_of(given, asked)
    proof = generated_faces(how, MOST) if faces is None else faces[:: max(1, len(faces) // MOST)][:MOST]
    if len(proof) < FEWEST or proof.shape[1:] != (how.channels, how.height, how.width):
        raise BadInput(f"expected at least {FEWEST} faces of {(how.channels, how.height, how.width)} to prove the "
                       f"graphs on, found {proof.shape}; leave --images away to use generated ones")

    def answers(batch: np.ndarray) -> np.ndarray:
        pictures = batch if asked.scaling is None else asked.scaling.floats(batch, given.channels)
        return given_logits(given, pictures)

    fp32 = contract_of_onnx(given, asked.scaling, how)
    with refusing("a graph that half precision holds", "run mien lint on it"):
        half = half_from_onnx(fp32)
    contents = {"fp32": fp32.SerializeToString(), "fp16": half.SerializeToString()}
    measured = _departures(contents, proof, answers(proof))
    golden = make_golden(load_photograph(), how, asked.labels, answers, 1.0)
    with replacing_model(out) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        (directory / "golden.npz").write_bytes(golden_bytes(golden))
        card = ModelCard(
            name=out.name, task="expression", network=given.path.stem, labels=asked.labels, input=how,
            graphs={graph: FileEntry.of(directory / f"{graph}.onnx") for graph in contents},
            golden=FileEntry.of(directory / "golden.npz"), golden_bound=dict(BOUNDS), parameters=_parameters(fp32),
            training={"onnx": {
                "file": given.path.name, "sha256": given.sha256, "opset": given.opset,
                "made_by": f"{given.model.producer_name} {given.model.producer_version}".strip(),
                "batch": "free" if given.batch_is_free else "1, freed", "left_out": given.left_out,
                "mean": list(asked.scaling.mean) if asked.scaling else None,
                "std": list(asked.scaling.std) if asked.scaling else None}},
            metrics={"multiply_adds": multiply_adds(fp32),
                     "export": {"images": len(proof), "images_are": "generated" if faces is None else "real",
                                "against": "the given graph, one picture at a time", "worst_delta": measured}},
        )
        save_card(directory, card)
    return card


def _departures(contents: dict[str, bytes], faces: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Return the largest |Δlogit| of each graph, in batches, from the given graph's. Raises BadInput and MienError."""
    measured = {}
    for graph, content in contents.items():
        engine = OnnxRuntimeEngine(content, f"{graph}.onnx", graph)
        alone, *batches = np.split(faces, _SPLITS)
        rows = [engine.run({INPUT: alone})[OUTPUT]]
        _require(graph, _largest(rows, wanted[:1]), 1)
        try:
            rows += [engine.run({INPUT: batch})[OUTPUT] for batch in batches]
            measured[graph] = _largest(rows, wanted)
        except (MienError, ValueError) as error:
            raise BadInput(f"expected a network that takes any batch, found: {error}; {FREE_BATCH}") from error
        if graph == "fp32" and not measured[graph] <= BOUNDS[graph]:
            raise BadInput("expected each picture's logits to be the same in a batch as alone, found |Δ| "
                           f"{measured[graph]:.3g}; {FREE_BATCH}")
        _require(graph, measured[graph], len(faces))
    return measured


def _largest(rows: list[np.ndarray], wanted: np.ndarray) -> float:
    """Return the largest |Δlogit|; NaN where a logit is. Raises ValueError for another number of rows."""
    return float(np.abs(np.concatenate(rows).astype(np.float64) - wanted).max())


def _require(graph: str, delta: float, faces: int) -> None:
    if not delta <= BOUNDS[graph]:  # written so that NaN fails
        raise MienError(f"expected {graph} within {BOUNDS[graph]} of the given graph on {faces} faces, found |Δ| "
                        f"{delta:.3g}; nothing was written")


def _parameters(model: onnx.ModelProto) -> int:
    """Count the weights of the simplified graph: batch norms are folded, pixel scaling is left out."""
    return sum(int(np.prod(w.dims)) for w in model.graph.initializer
               if w.data_type == onnx.TensorProto.FLOAT and not w.name.startswith("pixels_"))
