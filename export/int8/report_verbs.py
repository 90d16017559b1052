"""`mien calibrate --report`: its flags, and what it joins to a page. The page is in `calibration_page.py`."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import say
from runtime.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from export.int8.calibration_faces import FacePool
    from export.int8.measure_int8 import HeldOut
    from runtime.card import Model, ModelCard

# Whose faces anyone may see; the other data sets' licences forbid passing them on, and crops are someone's own
PUBLIC = ("fer2013",)


def require_report(args: argparse.Namespace, model: Model) -> HeldOut | None:
    """Return the faces a report is measured on, before any long work; None where none are at hand. Raises BadInput."""
    from export.int8.find_mix import require_budget
    from export.int8.measure_int8 import HeldOut, require_same_labels
    from runtime.preprocess import prepare_faces
    from train.datasets.fer2013 import load_fer2013

    if args.compare:
        raise BadInput("expected --report or --compare, found both; --compare writes no model to report on")
    if args.layer_faces < 1:
        raise BadInput(f"expected --layer-faces of at least 1, found {args.layer_faces}")
    require_budget(args.budget)
    path = args.held_out or (args.images if args.dataset == "fer2013" else None)
    if path is None:
        return None
    faces = load_fer2013(path).split("PublicTest")
    held_out = HeldOut(prepare_faces(faces.images, model.card.input), faces.labels, faces.label_names,
                       {"name": "fer2013", "split": "PublicTest", "sha256": faces.sha256()})
    require_same_labels(model, held_out)
    return held_out


def write_report(args: argparse.Namespace, model: Model, pool: FacePool | None, held_out: HeldOut | None) -> None:
    """Measure a model that was just calibrated and write its page; pool: what its faces were chosen from, if any."""
    from calibration.onnx_graph import parse_model
    from export.int8.calibrate import original_ranges
    from export.int8.calibration_page import Calibration, calibration_page
    from export.int8.int8_from_onnx import LIST_FILE
    from export.int8.measure_int8 import measure_int8
    from runtime.durable import write_text
    from runtime.machine import describe_machine

    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    list_file = model.directory / LIST_FILE
    coverage = json.loads(list_file.read_text()).get("coverage") if list_file.exists() else None
    faces, no_faces = _faces_to_show(args, model, pool)
    measured = measure_int8(model, held_out, args.budget, args.layer_faces) if held_out else None
    page = calibration_page(Calibration(model, original_ranges(model).histograms, _readers(fp32), coverage, faces,
                                        no_faces, measured, _command(args, model.card), describe_machine()))
    write_text(args.report, page)
    say(f"{args.report}  {model.card.name}" + ("" if measured else ", accuracy not measured: --held-out measures it"))


def _readers(fp32: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Return the nodes that read each calibrated tensor, through pooling and reshaping, in the graph's order."""
    from calibration.onnx_graph import Graph
    from calibration.quantize import plan, source_of

    graph = Graph(fp32)
    sources = {node.name: {source_of(graph, tensor) for tensor in node.input} for node in graph.nodes}
    moved = {node.name for node in graph.nodes if node.output and source_of(graph, node.output[0]) != node.output[0]}
    return {tensor: tuple(name for name, read in sources.items() if tensor in read and name not in moved)
            for tensor in plan(fp32).tensors}


def _faces_to_show(args: argparse.Namespace, model: Model, pool: FacePool | None) -> tuple[np.ndarray | None, str]:
    """Return faces for the contact sheet, or None and why none are shown."""
    from calibration.image_list import find_images, read_list
    from export.int8.calibration_pictures import spread_over
    from export.int8.int8_from_onnx import LIST_FILE

    if pool is None:
        return None, "No face: the ranges come from histograms."
    if args.dataset not in PUBLIC and not args.show_faces:
        return None, "No face is shown: this page may be passed on, and these faces may not. --show-faces shows them."
    picks = find_images(read_list(model.directory / LIST_FILE), pool.names, pool.faces)
    return pool.faces[picks[spread_over(len(picks))]], ""


def _command(args: argparse.Namespace, card: ModelCard) -> str:
    """Return the command that calibrates and reports so again; folders are the reader's own."""
    words = ["mien", "calibrate", "MODEL"]
    if args.from_histograms:
        words += ["--from-histograms", *(path.name for path in args.from_histograms), *["--alone"] * args.alone]
    else:
        words += ["--images", "PATH", "--dataset", args.dataset]
        words += (["--list", args.list.name] if args.list
                  else ["--choice", args.choice, "-n", str(args.n), "--seed", str(args.seed)])
        words += ["--coverage"] * args.coverage
    facts = card.calibration  # what was not given is the model's own
    words += ["--method", facts["method"]]
    words += [] if facts["percentile"] is None else ["--percentile", repr(facts["percentile"])]
    words += ["--keep-float", *args.keep_float] if args.keep_float else []
    words += ["--correct-biases"] * args.correct_biases + (["--draws", str(args.draws)] if args.draws else [])
    words += ["--report", args.report.name, *(["--held-out", "PATH"] if args.held_out else []), "--budget",
              repr(args.budget), "--layer-faces", str(args.layer_faces), *["--show-faces"] * args.show_faces]
    return shlex.join(words)


def add_report_flags(p: argparse.ArgumentParser) -> None:
    """Declare the report's flags on `mien calibrate`."""
    p.add_argument("--report", type=Path, metavar="FILE.html",
                   help="measure what INT8 cost, and lay the calibration out as one page")
    p.add_argument("--held-out", type=Path, metavar="PATH",
                   help="with --report: FER2013, whose PublicTest is measured on; default: --images where it is that")
    p.add_argument("--budget", type=float, default=0.3, help="with --report: points of accuracy that INT8 may cost")
    p.add_argument("--layer-faces", type=int, default=1024,
                   help="with --report: held-out faces on which layers are measured one by one")
    p.add_argument("--show-faces", action="store_true",
                   help="with --report: show the calibration faces also where they are not public")
