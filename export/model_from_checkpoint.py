"""A checkpoint → a model directory: fp32.onnx, fp16.onnx, golden.npz and the card that binds them.

Refuses to write a graph whose logits depart from PyTorch's; the measured departure goes into the card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from torch import nn

from calibration.onnx_graph import multiply_adds, parse_model
from export.changing_model import replacing_model
from export.golden import golden_bytes, make_golden
from export.half_from_onnx import half_from_onnx
from export.onnx_from_torch import onnx_from_torch
from export.photograph import load_photograph
from runtime.agreement import negative_log_likelihood, reliability, softmax
from runtime.card import FileEntry, ModelCard, save_card
from runtime.errors import BadInput, MienError
from runtime.preprocess import FaceInput
from train.expression.task import predict
from train.expression.temperature import fit_temperature
from train.networks import count_parameters

# Largest |Δlogit| against PyTorch that is written: float32 sums in another order, and half precision's 11 bits
# through a dozen layers (both about ten times what is measured for a sound graph).
BOUNDS = {"fp32": 1e-3, "fp16": 1e-1}
ENOUGH = 512  # images for the proof


def generated_faces(how: FaceInput, count: int = ENOUGH) -> np.ndarray:
    """Return (count, C, H, W) uint8 crops of the photograph under random boxes and light: a proof without data."""
    random = np.random.default_rng(0)
    photograph = load_photograph()
    from_photograph = make_golden(photograph, how, ("none", "either"),
                                  lambda faces: np.zeros((len(faces), 2), np.float32), 1.0).faces
    picks = from_photograph[random.integers(0, len(from_photograph), count)].astype(np.float32)
    gain = random.uniform(0.3, 1.6, (count, 1, 1, 1))
    noise = random.normal(0, 12, picks.shape)
    rolls = random.integers(-6, 7, (count, 2))
    moved = np.stack([np.roll(face, tuple(by), axis=(1, 2)) for face, by in zip(picks, rolls)])
    return np.clip(moved * gain + noise, 0, 255).astype(np.uint8)


def model_from_checkpoint(network: nn.Module, facts: dict[str, Any], out: Path, faces: np.ndarray | None,
                          margin: float, labels: np.ndarray | None = None) -> ModelCard:
    """Export a trained network into the directory `out`, which appears whole or not at all.

    faces: (N ≥ 512, C, H, W) uint8 to prove it on; None takes generated ones. labels: (N,) of those faces, neither
    trained on nor reported: the card's temperature is fitted on them, and is 1 without. Raises BadInput, and MienError
    on a departure.
    """
    try:
        how = FaceInput(**{"height": facts["size"], "width": facts["size"]} | facts.get("input", {})
                        | {"margin": margin})
    except ValueError as error:
        raise BadInput(str(error)) from error
    proof = generated_faces(how) if faces is None else faces
    if len(proof) < ENOUGH or proof.shape[1:] != (how.channels, how.height, how.width):
        raise BadInput(f"expected at least {ENOUGH} faces of {(how.channels, how.height, how.width)} to prove the "
                       f"graphs on, found {proof.shape}; leave --data away to use generated ones")
    exported = onnx_from_torch(network, (how.channels, how.height, how.width), "faces", "logits")
    model = parse_model(exported.content, "fp32.onnx")
    contents = {"fp32": exported.content, "fp16": half_from_onnx(model).SerializeToString()}
    wanted = predict(network, proof)
    measured = {graph: _departure(content, proof, wanted) for graph, content in contents.items()}
    for graph, delta in measured.items():
        if not delta <= BOUNDS[graph]:
            raise MienError(f"expected {graph} within {BOUNDS[graph]} of PyTorch on {len(proof)} images, found |Δ| "
                            f"{delta:.3g}; nothing was written")
    temperature, sureness = _fitted_temperature(wanted, labels)
    golden = make_golden(load_photograph(), how, tuple(facts["labels"]), lambda batch: predict(network, batch),
                         temperature)
    with replacing_model(out) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        (directory / "golden.npz").write_bytes(golden_bytes(golden))
        card = ModelCard(
            name=out.name, task="expression", network=facts["network"], labels=tuple(facts["labels"]), input=how,
            graphs={graph: FileEntry.of(directory / f"{graph}.onnx") for graph in contents},
            golden=FileEntry.of(directory / "golden.npz"), golden_bound=dict(BOUNDS),
            parameters=count_parameters(network), temperature=temperature,
            training={key: facts[key] for key in ("data", "recipe", "torch", "epoch", "figures") if key in facts}
            | {"checkpoint_sha256": facts["sha256"], "command": facts.get("command", "")},
            metrics={"multiply_adds": multiply_adds(model),
                     "export": {"images": len(proof), "images_are": "generated" if faces is None else "real",
                                "worst_delta": measured, "simplify_delta": exported.simplify_delta}} | sureness,
        )
        save_card(directory, card)
    return card


def _fitted_temperature(logits: np.ndarray, labels: np.ndarray | None) -> tuple[float, dict[str, Any]]:
    """Return the temperature, and what it does to likelihood and calibration error on the faces it was fitted on."""
    if labels is None:
        return 1.0, {}
    temperature = round(fit_temperature(logits, labels), 4)
    figures = {name: {"nll": round(negative_log_likelihood(p, labels), 5),
                      "ece": round(reliability(p, labels).error, 5)}
               for name, p in (("before", softmax(logits)), ("after", softmax(logits, temperature)))}
    return temperature, {"temperature": {"images": len(labels), **figures}}


def _departure(content: bytes, faces: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest |Δlogit| of a graph in ONNX Runtime; NaN where an output is."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    batches = [session.run(["logits"], {"faces": faces[i : i + 64]})[0] for i in range(0, len(faces), 64)]
    return float(np.abs(np.concatenate(batches).astype(np.float64) - wanted).max())
