"""Does NVIDIA's compiler take every network's INT8 graph? One row a network; stops and goes on anywhere.

`python -m export.zoo.compiles --data PATH --record FILE`: from PyTorch over int8-gpu.onnx to an engine, and nothing
else of the road: what the graphs answer, and the long pass over the data, are `record.py`'s. A graph that became no
engine is tried again by the next run. Knows nothing of how an engine runs: it is built for a GPU that is not here.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from calibration.onnx_graph import parse_model
from export.onnx_from_torch import onnx_from_torch
from export.zoo.networks import Variant, make_network, zoo
from export.zoo.record import ZooRecord, code_sha256
from export.zoo.road import compile_graph, int8_forms
from runtime.command_line import say
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.errors import DONE, FAILED, BadModel, MienError
from train.datasets.fer2013 import load_fer2013
from train.networks import count_parameters

GPU = "sm86"
LARGE_WORKSPACE = 2 << 30  # bytes; elsewhere it is what an Orin Nano can spare
NOTE = ("untrained weights, ranges the largest values of 64 faces: int8-gpu.onnx of every network through "
        f"TensorRT-RTX's parser and builder for {GPU}, on a machine without a GPU; what the engines answer is not in "
        "it")


def compile_variant(variant: Variant, calibration: np.ndarray, gpu: str = GPU) -> dict[str, Any]:
    """Return what became of a network's INT8 graph, calibrated on (N, C, H, W) uint8 faces.

    `engine.status` is `built`, or the words of the step that refused.
    """
    began = time.monotonic()
    how = variant.input
    shape = (how.channels, how.height, how.width)
    network = make_network(variant, calibration)
    facts: dict[str, Any] = {"parameters": count_parameters(network), "faces": len(calibration)}
    try:
        fp32 = parse_model(onnx_from_torch(network, shape, "faces", "logits").content, "fp32.onnx")
        chosen, forms = int8_forms(fp32, calibration)
    except (BadModel, MienError) as error:
        return facts | {"engine": {"status": str(error)}}
    content = forms["int8-gpu"].SerializeToString()
    facts |= {"quantized_nodes": len(chosen.nodes), "kept_float": len(chosen.kept_float), "onnx_bytes": len(content),
              "onnx_sha256": hashlib.sha256(content).hexdigest()}
    engine = asdict(compile_graph(content, shape, gpu))
    if "OutOfMemory" in engine["status"]:
        engine = _with_more_memory(content, shape, gpu)
    return facts | {"engine": engine, "seconds": round(time.monotonic() - began, 1)}


def _with_more_memory(content: bytes, shape: tuple[int, int, int], gpu: str) -> dict[str, Any]:
    """Compile with more scratch memory than a small board would give: 64 faces of 128×128 need it."""
    request = CompileRequest("tensorrt-rtx", gpu, "faces", shape, workspace_bytes=LARGE_WORKSPACE)
    try:
        done = compile_onnx(content, request)
    except (BadModel, MienError) as error:
        return {"status": str(error)}
    return {"status": "built", "bytes": len(done.built.content), "layers": done.built.layers,
            "seconds": round(done.seconds, 1), "workspace_bytes": LARGE_WORKSPACE}


def main(arguments: list[str] | None = None) -> int:
    """Make the record; returns 1 where a graph became no engine."""
    parser = argparse.ArgumentParser(prog="python -m export.zoo.compiles", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--only", default="", help="networks whose name holds this text")
    args = parser.parse_args(arguments)
    refused = []
    try:
        code_sha256()  # as it is now: a long run may outlive an edit
        record = ZooRecord(args.record, load_fer2013(args.data), NOTE)
        for variant in zoo():
            if args.only not in variant.name:
                continue
            row = record.rows().get(variant.name)
            if row is None or row["engine"]["status"] != "built":
                row = record.save(variant, compile_variant(variant, record.faces(variant, "Training")))
            status = row["engine"]["status"]
            say(f"{variant.name}: {status}")
            refused += [variant.name] if status != "built" else []
    except MienError as error:
        say(f"mien: {error}")
        return error.exit_code
    return FAILED if refused else DONE


if __name__ == "__main__":
    sys.exit(main())
