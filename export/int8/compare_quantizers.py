"""One float32 graph through several quantizers, side by side: accuracy, time, memory, and NVIDIA's compiler's verdict.

`make results-peers` runs it. Each quantizer is a process of its own, its imports counted; NVIDIA's Model Optimizer pins
another onnx, so it lives in an environment of its own, and is skipped where --modelopt-python names none. Knows nothing
of speed on a GPU: accuracy is that of the graph as written, every node computed by ONNX Runtime with nothing fused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization

from calibration.lint import lint
from calibration.lint.qdq_rules import quantized_weights
from calibration.lint.target import TARGETS
from calibration.lint.view import look_at
from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images, pick_random
from calibration.pixel_grid import choose_scales
from calibration.quantize import plan, quantize
from export.gate.record import save_figures
from export.half_from_onnx import half_from_onnx
from runtime.card import load_model
from runtime.command_line import say
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import DONE, MienError, Unavailable
from runtime.machine import describe_machine
from runtime.preprocess import prepare_faces
from train.datasets.fer2013 import load_fer2013

ROOT = Path(__file__).resolve().parents[2]
BATCH = 64
LONGEST = 3600.0  # seconds for one quantizer
# Linux counts what a process held before exec into its peak: started from here, a peer would begin with ours. A small
# process starts it instead, and reports in seconds and KiB
LAUNCHER = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump([usage.ru_utime + usage.ru_stime, usage.ru_maxrss], file)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


@dataclass(frozen=True)
class Peer:
    """A quantizer: its name, its settings in words, and the command that reads graph and faces and writes a graph."""

    name: str
    settings: str
    command: tuple[str, ...]  # {graph}, {faces} and {out} stand for the paths
    missing: str = ""  # why it cannot run here


def peers(modelopt_python: Path | None) -> tuple[Peer, ...]:
    """Return mien, ONNX Runtime as it comes and as TensorRT wants it, and Model Optimizer."""
    ours = (sys.executable, "-m", "export.int8.compare_quantizers", "--quantizer")
    places = ("{graph}", "{faces}", "{out}")
    version, missing = _ask_for_modelopt(modelopt_python)
    return (
        Peer("mien", "GPU form, percentile 99.999, half remainder", (*ours, "mien", *places)),
        Peer("onnxruntime", "quantize_static, QDQ, everything else by default", (*ours, "onnxruntime", *places)),
        Peer("onnxruntime-symmetric",
             "quantize_static, QDQ, Conv and Gemm, entropy, symmetric int8, per channel, float bias",
             (*ours, "onnxruntime-symmetric", *places)),
        Peer("modelopt", f"modelopt.onnx.quantization {version}, int8, entropy, half remainder",
             (str(modelopt_python), "-m", "modelopt.onnx.quantization", "--onnx_path", "{graph}",
              "--calibration_data_path", "{faces}", "--output_path", "{out}", "--quantize_mode", "int8",
              "--calibration_method", "entropy", "--high_precision_dtype", "fp16", "--calibration_eps", "cpu"),
             missing),
    )


def _ask_for_modelopt(python: Path | None) -> tuple[str, str]:
    """Return (its version, '') or ('', why there is none)."""
    if python is None:
        return "", "no --modelopt-python: an interpreter with nvidia-modelopt[onnx]"
    program = "import modelopt.onnx.quantization; print(modelopt.__version__)"
    try:
        tried = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=False)
    except OSError as error:
        return "", f"{python} does not run: {error}"
    if tried.returncode:
        return "", f"{python} cannot import modelopt: {(tried.stderr.splitlines() or ['it said nothing'])[-1]}"
    return tried.stdout.split()[-1], ""


def compare_quantizers(fp32: bytes, faces: np.ndarray, held_out: np.ndarray, labels: np.ndarray,
                       chosen: Sequence[Peer]) -> list[dict[str, Any]]:
    """Quantize on `faces` with every peer and measure on `held_out`, both (N, C, H, W) uint8; one dictionary a peer.

    A peer that is missing, fails or writes no readable graph is in the list with the reason instead of figures.
    """
    reference = _logits(fp32, held_out).argmax(axis=1)
    found = [{"name": "fp32", "accuracy": float((reference == labels).mean()), "bytes": len(fp32)}]
    with tempfile.TemporaryDirectory(prefix="mien-peers-") as folder:
        place = Path(folder)
        (place / "fp32.onnx").write_bytes(fp32)
        np.save(place / "faces.npy", faces)
        for peer in chosen:
            say(f"{peer.name}: {peer.missing or peer.settings}")
            facts: dict[str, Any] = {"name": peer.name, "settings": peer.settings}
            if peer.missing:
                found.append(facts | {"skipped": peer.missing})
                continue
            facts |= _run(peer, place)
            out = place / f"{peer.name}.onnx"
            try:
                facts |= _judge(out.read_bytes(), held_out, labels, reference) if out.is_file() else {}
            except MienError as error:
                facts["failed"] = f"its graph: {error}"
            found.append(facts)
    return found


def _run(peer: Peer, place: Path) -> dict[str, Any]:
    """Run a peer in a process of its own; return its wall and processor time and its peak memory, or how it failed."""
    paths = {"graph": place / "fp32.onnx", "faces": place / "faces.npy", "out": place / f"{peer.name}.onnx"}
    usage, began = place / "usage.json", time.monotonic()
    with open(place / "said.txt", "w+b") as said:
        launcher = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", LAUNCHER, str(usage), *(part.format(**paths) for part in peer.command)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, cwd=place, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)})
        try:
            code = launcher.wait(LONGEST)
        except BaseException as error:  # Ctrl-C too: nothing is left running
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return {"failed": f"stopped after {LONGEST:g} s"}
        seconds = time.monotonic() - began
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    if code:
        return {"failed": f"exit code {code}: {''.join(last)[:300]}"}
    processor_seconds, peak_kib = json.loads(usage.read_text())
    return {"seconds": round(seconds, 2), "processor_seconds": round(processor_seconds, 2),
            "peak_bytes": peak_kib * 1024}


def _judge(content: bytes, held_out: np.ndarray, labels: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Return what the quantized graph is worth."""
    answers = _logits(content, held_out).argmax(axis=1)
    model = onnx.load_model_from_string(content)
    name = model.graph.input[0].name
    errors = {f.rule.id for f in lint(model, "tensorrt-rtx") if f.rule.severity == "error"}
    channels, height, width = held_out.shape[1:]
    try:
        compiled = compile_onnx(content, CompileRequest("tensorrt-rtx", "sm86", name, (channels, height, width)))
        verdict = f"compiles ({compiled.built.compiler_version}, sm86)"
    except Unavailable as error:
        verdict = f"not asked: {error}"
    except MienError as error:
        verdict = f"rejected: {str(error)[:300]}"
    return {"accuracy": float((answers == labels).mean()), "agreement": float((answers == reference).mean()),
            "bytes": len(content), "int8_layers": len(list(quantized_weights(look_at(model, TARGETS["tensorrt-rtx"])))),
            "tensorrt_rtx": verdict, "lint_errors": sorted(errors)}


def _logits(content: bytes, faces: np.ndarray) -> np.ndarray:
    """Run a graph as written over faces in batches."""
    engine = OnnxRuntimeEngine(content, "graph", "int8", fuse_qdq=False)
    name, output = engine.inputs[0].name, engine.outputs[0].name
    return np.concatenate([engine.run({name: faces[i : i + BATCH]})[output] for i in range(0, len(faces), BATCH)])


# the quantizers that run in mien's own environment

def quantize_with_mien(graph: Path, faces: np.ndarray, out: Path) -> None:
    """Write what `mien calibrate` writes as int8-gpu.onnx."""
    model = parse_model(graph.read_bytes(), str(graph))
    chosen = plan(model)
    histograms = observe(model, chosen.tensors, faces)
    scales = choose_scales(model, histograms, "percentile", 99.999)
    out.write_bytes(half_from_onnx(quantize(model, chosen, scales, "gpu")).SerializeToString())


def quantize_with_onnxruntime(graph: Path, faces: np.ndarray, out: Path, symmetric: bool) -> None:
    """Write what ONNX Runtime's quantize_static makes: by default, or with every option that TensorRT asks for.

    Conv and Gemm alone, because it also quantizes the pixels' scale, a scalar, and TensorRT-RTX takes no int8 scalar.
    """
    class Faces(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            name = onnx.load(graph).graph.input[0].name
            self.left = iter({name: faces[i : i + BATCH]} for i in range(0, len(faces), BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    options: dict[str, Any] = {} if not symmetric else {
        "op_types_to_quantize": ["Conv", "Gemm"], "per_channel": True,
        "calibrate_method": quantization.CalibrationMethod.Entropy,
        "activation_type": quantization.QuantType.QInt8, "weight_type": quantization.QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True, "QuantizeBias": False}}
    quantization.quantize_static(graph, out, Faces(), quant_format=quantization.QuantFormat.QDQ, **options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare on FER2013 and write the record; or, with --quantizer, be one of the quantizers compared."""
    parser = argparse.ArgumentParser(prog="python -m export.int8.compare_quantizers", description=main.__doc__)
    parser.add_argument("--quantizer", choices=["mien", "onnxruntime", "onnxruntime-symmetric"], help=argparse.SUPPRESS)
    parser.add_argument("paths", type=Path, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, default=Path("mien-light"))
    parser.add_argument("--data", type=Path, help="FER2013: calibrated on its Training split, measured on PublicTest")
    parser.add_argument("-n", type=int, default=512, help="how many faces to calibrate on")
    parser.add_argument("--modelopt-python", type=Path, help="an interpreter with nvidia-modelopt[onnx]")
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args(arguments)
    try:
        if args.quantizer:
            graph, faces, out = args.paths
            if args.quantizer == "mien":
                quantize_with_mien(graph, np.load(faces), out)
            else:
                quantize_with_onnxruntime(graph, np.load(faces), out, args.quantizer.endswith("symmetric"))
            return DONE
        if args.data is None:
            parser.error("--data is needed")
        _compare_on_fer2013(args)
    except MienError as error:
        say(f"mien: {error}")
        return error.exit_code
    return DONE


def _compare_on_fer2013(args: argparse.Namespace) -> None:
    model, everything = load_model(args.model), load_fer2013(args.data)
    training, public = everything.split("Training"), everything.split("PublicTest")
    faces = prepare_faces(training.where(pick_random(len(training), args.n)).images, model.card.input)
    fp32 = model.read_graph("fp32")
    found = compare_quantizers(fp32, faces, prepare_faces(public.images, model.card.input), public.labels,
                               peers(args.modelopt_python))
    for peer in found:
        say("  ".join(f"{key} {value}" for key, value in peer.items() if key != "settings"))
    if args.record:
        save_figures(args.record, {
            "model": model.card.name, "fp32_sha256": hashlib.sha256(fp32).hexdigest(),
            "calibrated_on": {"name": "fer2013", "split": "Training", "images": len(faces), "choice": "random",
                              "images_sha256": hash_images(faces)},
            "data": {"name": "fer2013", "splits": ["PublicTest"], "images": len(public), "sha256": public.sha256()},
            "peers": found, "made_on": describe_machine()})


if __name__ == "__main__":
    sys.exit(main())
