"""The detector's verbs after its training: faces export, calibrate, check, compare. The work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED, INCONCLUSIVE

if TYPE_CHECKING:
    from runtime.card import Model
    from train.faces.recipe import FaceRecipe


def verb_export_faces(args: argparse.Namespace) -> int:
    """Export a detector's checkpoint as a model directory; the scenes that chose its epoch choose its threshold."""
    from export.faces.detector_from_checkpoint import detector_from_checkpoint
    from export.faces.held_out import load_held_out
    from export.faces.threshold import best_threshold
    from train.faces.labels import load_labels
    from train.faces.run import load_face_network

    network, recipe, facts = load_face_network(args.checkpoint)
    held_out = load_held_out(args.data, load_labels(args.labels), recipe, "choosing", args.scenes)
    threshold = best_threshold(network, held_out)
    card = detector_from_checkpoint(network, facts, args.out, threshold, held_out.composed[:16])
    proof = card.metrics["export"]
    for graph, entry in card.graphs.items():
        say(f"{args.out / entry.file}  {entry.bytes / 1e6:.2f} MB  worst |Δ| against PyTorch "
            f"{proof['worst_delta'][graph]:.2g} on {proof['pictures']} pictures")
    say(f"a face needs a score of {threshold:.2f}")
    if args.json:
        print_json(proof | {"score_threshold": threshold})
    return DONE


def verb_calibrate_faces(args: argparse.Namespace) -> int:
    """Quantize a detector on scenes composed of its training pictures; writes int8.onnx and int8-gpu.onnx."""
    from export.faces.held_out import calibration_scenes
    from export.int8.int8_from_onnx import Rounding, int8_from_onnx
    from runtime.card import load_model
    from train.faces.labels import load_labels

    model = load_model(args.model)
    recipe = _recipe_of(model)  # before files that take their time
    labels = load_labels(args.labels)
    scenes = calibration_scenes(args.data, labels, recipe, args.n)
    how = Rounding(method=args.method, percentile=args.percentile, keep_float=tuple(args.keep_float))
    source = {"name": "composed scenes", "sha256": labels.sha256(), "split": "training"}
    card = int8_from_onnx(model, scenes, how, source)
    for graph in ("int8", "int8-gpu"):
        say(f"{model.directory / card.graphs[graph].file}  {card.graphs[graph].bytes / 1e6:.2f} MB  bound "
            f"{card.golden_bound[graph]}")
    if args.json:
        print_json({"golden_bound": card.golden_bound, "layers": card.calibration["quantized_nodes"]})
    return DONE


def verb_check_faces(args: argparse.Namespace) -> int:
    """Hold a detector's graph to fp32.onnx on held-out scenes: average precision, recall, landmarks, with intervals."""
    from export.faces.check import check_graph, check_lines
    from runtime.card import load_model
    from runtime.durable import write_text
    from train.faces.labels import load_labels

    model = load_model(args.model)
    recipe = _recipe_of(model)
    graph = {"cpu": args.precision, "gpu": f"{args.precision}-gpu"}[args.form] if args.precision == "int8" else (
        args.precision)
    record = check_graph(model, graph, args.data, load_labels(args.labels), recipe, args.scenes)
    say("\n".join(check_lines(record)))
    if args.record:
        write_text(args.record, json.dumps(record, indent=2, allow_nan=False) + "\n")
    if args.json:
        print_json(record)
    return DONE if record["passed"] else FAILED if record["broken"] else INCONCLUSIVE


def verb_compare_faces(args: argparse.Namespace) -> int:
    """Measure a detector, its teacher and OpenCV's cascade on the same held-out pictures: figures and milliseconds."""
    from export.faces.compare_detectors import compare_detectors, comparison_lines
    from runtime.card import load_model
    from runtime.durable import write_text
    from train.faces.labels import load_labels
    from train.faces.teacher import Teacher

    model = load_model(args.model)
    recipe = _recipe_of(model)
    record = compare_detectors(model, args.data, load_labels(args.labels), Teacher(args.teacher, threads=1),
                               recipe, args.scenes, args.gallery)
    say("\n".join(comparison_lines(record)))
    if args.record:
        write_text(args.record, json.dumps(record, indent=2, allow_nan=False) + "\n")
    if args.json:
        print_json(record)
    return DONE


def verb_align(args: argparse.Namespace) -> int:
    """Have an expression model's faces aligned by landmarks: card and golden vectors change, the graphs stay."""
    from export.faces.align_model import align_model
    from runtime.card import load_model
    from train.expression.run import load_network

    network, _ = load_network(args.checkpoint)
    card = align_model(load_model(args.model), network)
    bounds = ", ".join(f"{graph} {bound:g}" for graph, bound in card.golden_bound.items())
    say(f"{args.model}: faces are aligned by landmarks; golden vectors are new, their bounds {bounds}")
    if args.json:
        print_json({"template": card.input.template, "golden_bound": card.golden_bound})
    return DONE


def _recipe_of(model: Model) -> FaceRecipe:
    """Return the recipe that a face model's card says it was trained by. Raises BadInput for another model."""
    from runtime.config import build
    from runtime.errors import BadInput
    from train.faces.recipe import FaceRecipe

    if model.card.task != "face":
        raise BadInput(f"expected a model that finds faces, found {model.directory}, which reads expressions; "
                       "mien calibrate and mien check are its verbs")
    if "recipe" not in model.card.training:
        raise BadInput(f"expected the recipe that {model.directory} was trained by under training in its card.json, "
                       "found none: its scenes could not be composed; export it again with mien faces export")
    return build(FaceRecipe, model.card.training["recipe"], str(model.directory / "card.json"))


def add_verbs(verb: AddVerb) -> None:
    """Declare the verbs and their flags."""
    p = verb("export", verb_export_faces, "faces")
    p.add_argument("checkpoint", type=Path, help="a run's best or last")
    p.add_argument("--out", type=Path, required=True, help="the model directory")
    _add_data(p, 96)

    p = verb("calibrate", verb_calibrate_faces, "faces")
    p.add_argument("model", type=Path, help="a face model's directory")
    p.add_argument("-n", type=_count, default=96, help="scenes to compose, 640×480")
    p.add_argument("--method", choices=("minmax", "percentile", "entropy", "mse"), default="percentile")
    p.add_argument("--percentile", type=float, default=99.999)
    p.add_argument("--keep-float", nargs="*", default=[], metavar="NODE", help="layers left in float")
    _add_data(p, None)

    p = verb("check", verb_check_faces, "faces")
    p.add_argument("model", type=Path, help="a face model's directory, or the name of one that ships")
    p.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="int8")
    p.add_argument("--form", choices=("cpu", "gpu"), default="cpu", help="which file int8 means")
    p.add_argument("--record", type=Path, help="write the verdict to this JSON file")
    _add_data(p, 480)

    p = verb("align", verb_align, "faces")
    p.add_argument("model", type=Path, help="an expression model's directory")
    p.add_argument("--checkpoint", type=Path, required=True, help="the run's best that it was exported from")

    p = verb("compare", verb_compare_faces, "faces")
    p.add_argument("model", type=Path, help="a face model's directory, or the name of one that ships")
    p.add_argument("--teacher", type=Path, required=True, help="the YuNet graph that made the labels")
    p.add_argument("--record", type=Path, help="write the figures to this JSON file")
    p.add_argument("--gallery", type=Path, help="write a picture of missed and false faces")
    _add_data(p, 240)


def _add_data(p: argparse.ArgumentParser, scenes: int | None) -> None:
    p.add_argument("--data", type=Path, required=True, help="the folder that holds heads/ and scenes/")
    p.add_argument("--labels", type=Path, required=True, help="what mien faces label wrote of it")
    if scenes:
        p.add_argument("--scenes", type=_count, default=scenes, help="held-out scenes to compose, 640×480")


def _count(text: str) -> int:
    """Read a number of scenes from a flag; argparse names the flag where it is none."""
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"expected 2 scenes or more, found {number}")
    return number
