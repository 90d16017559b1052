"""What calibrating costs: seconds and memory of mien, of ONNX Runtime's own calibrator, and of the bare graph.

`python -m export.int8.calibration_costs --data PATH --record FILE` (make results-calibration). Every measurement is a
process of its own, so that one's memory is not another's; graph and calibration take turns, so that a machine's busy
minute hits both. Wall seconds are what a person waits; processor seconds are steadier where others share the machine.
The network's weights are random: time and memory do not depend on them. Says nothing of accuracy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from runtime.command_line import say
from runtime.durable import write_text
from runtime.errors import MienError
from runtime.machine import peak_memory

BATCH = 16  # of every entrant
PEER_IMAGES = 512  # ONNX Runtime's calibrator keeps every activation: 3.8 GB at 512


def run_graph(graph: Path, faces: np.ndarray) -> dict[str, Any]:
    """Run fp32 once over (N, C, H, W) uint8 faces: what calibrating cannot do without."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as in calibration
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for start in range(0, len(faces), BATCH):
        session.run(None, {name: np.ascontiguousarray(faces[start : start + BATCH])})
    return {}


def run_mien(graph: Path, faces: np.ndarray) -> dict[str, Any]:
    """Observe, search every range by entropy and quantize to the CPU form."""
    from calibration.observe import observe
    from calibration.onnx_graph import parse_model
    from calibration.pixel_grid import choose_scales
    from calibration.quantize import plan, quantize

    model = parse_model(graph.read_bytes(), graph.name)
    chosen = plan(model)
    began = time.perf_counter()
    histograms = observe(model, chosen.tensors, faces, BATCH)
    observed = time.perf_counter()
    scales = choose_scales(model, histograms, "entropy", 0)
    searched = time.perf_counter()
    quantize(model, chosen, scales, "cpu").SerializeToString()
    values = sum(h.total for h in histograms.values())
    return {"tensors": len(histograms), "values_histogrammed": values, "bytes_histogrammed": 4 * values,
            "observe_s": observed - began, "search_s": searched - observed,
            "quantize_s": time.perf_counter() - searched}


def run_onnxruntime(graph: Path, faces: np.ndarray) -> dict[str, Any]:
    """Let onnxruntime.quantization.quantize_static calibrate by entropy and quantize to Q/DQ."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        starts = iter(range(0, len(faces), BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            start = next(self.starts, None)
            return None if start is None else {"faces": np.ascontiguousarray(faces[start : start + BATCH])}

    with tempfile.TemporaryDirectory() as folder:
        quantize_static(str(graph), f"{folder}/int8.onnx", Faces(), calibrate_method=CalibrationMethod.Entropy)
    return {}


ENTRANTS: dict[str, Callable[[Path, np.ndarray], dict[str, Any]]] = {
    "graph": run_graph, "mien": run_mien, "onnxruntime": run_onnxruntime}


def measure_here(entrant: str, graph: Path, faces: Path, images: int) -> dict[str, Any]:
    """Run one entrant in this process; returns seconds without imports, and the process's peak memory in MB."""
    pixels = np.load(faces, mmap_mode="r")[:images]
    began, used = time.perf_counter(), time.process_time()
    found = ENTRANTS[entrant](graph, pixels)
    return {"wall_s": round(time.perf_counter() - began, 3), "processor_s": round(time.process_time() - used, 3),
            "peak_mb": round(peak_memory() / 2**20, 1), **{key: round(value, 3) for key, value in found.items()}}


def measure(entrant: str, graph: Path, faces: Path, images: int) -> dict[str, Any]:
    """Run one entrant in a process of its own. Raises MienError where it fails."""
    done = subprocess.run([sys.executable, "-m", "export.int8.calibration_costs", "--entrant", entrant, str(graph),
                           str(faces), str(images)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MienError(f"expected {entrant} to calibrate on {images} faces, found {done.stderr.strip()[-300:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"{entrant:<12} {images:>6} faces  {row['wall_s']:.1f} s  processor {row['processor_s']:.1f} s  "
        f"peak {row['peak_mb']:.0f} MB")
    return {"entrant": entrant, "images": images, **row}


def compare_costs(graph: Path, faces: Path, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Measure graph, mien, graph, ONNX Runtime in turn at the first size, then mien alone at the others."""
    first, rows = sizes[0], []
    for _ in range(rounds):
        rows += [measure(entrant, graph, faces, first) for entrant in ("graph", "mien")]
    rows += [measure("graph", graph, faces, first), measure("onnxruntime", graph, faces, min(first, PEER_IMAGES))]
    rows += [measure("mien", graph, faces, size) for size in sizes[1:]]

    def median(entrant: str, what: str, images: int = first) -> float:
        return float(np.median([r[what] for r in rows if r["entrant"] == entrant and r["images"] == images]))

    ratios: dict[str, float] = {}
    for what in ("wall_s", "processor_s"):
        ratios[f"mien_to_graph_{what}"] = round(median("mien", what) / median("graph", what), 3)
        ratios[f"onnxruntime_to_mien_{what}"] = round(median("onnxruntime", what) / median("mien", what), 3)
    ratios["mien_to_onnxruntime_memory"] = round(median("mien", "peak_mb") / median("onnxruntime", "peak_mb"), 3)
    for size in sizes[1:]:
        ratios[f"mien_memory_{size}_to_{first}"] = round(median("mien", "peak_mb", size) / median("mien", "peak_mb"), 4)
    return {"batch": BATCH, "rounds": rounds, "rows": rows, "ratios": ratios}


def main() -> None:
    """Read the flags, export the network, measure, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entrant", nargs=4, metavar=("NAME", "GRAPH", "FACES", "IMAGES"), help="used by the record")
    parser.add_argument("--data", type=Path, help="FER2013")
    parser.add_argument("--network", default="vgg16")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 8192, 28_709])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    if args.entrant:
        print(json.dumps(measure_here(args.entrant[0], Path(args.entrant[1]), Path(args.entrant[2]),
                                      int(args.entrant[3]))))
        return
    if args.data is None or args.record is None:
        parser.error("expected --data and --record")
    with tempfile.TemporaryDirectory() as folder:
        graph, faces, what = prepare(Path(folder), args.network, args.data)
        costs = compare_costs(graph, faces, args.sizes, args.rounds)
    from runtime.machine import describe_machine

    write_text(args.record, json.dumps({**what, **costs, "made_on": describe_machine()}, indent=2) + "\n")
    say(json.dumps(costs["ratios"], indent=2))


def prepare(folder: Path, network: str, data: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Write the network's graph and FER2013's training faces as files; returns both and what they are."""
    from export.onnx_from_torch import onnx_from_torch
    from train.datasets.fer2013 import LABELS, SIZE, load_fer2013
    from train.networks import build_network

    exported = onnx_from_torch(build_network(network, len(LABELS)), (1, SIZE, SIZE), "faces", "logits")
    (folder / "fp32.onnx").write_bytes(exported.content)
    everything = load_fer2013(data)
    np.save(folder / "faces.npy", everything.split("Training").images[:, None])
    return folder / "fp32.onnx", folder / "faces.npy", {
        "network": network, "input": [1, SIZE, SIZE], "graph_bytes": len(exported.content),
        "data": {"name": "fer2013", "split": "Training", "sha256": everything.sha256()}}


if __name__ == "__main__":
    main()
