"""The verbs from a checkpoint to a proven engine: export, calibrate, build, check, demo. The work is elsewhere.

Joins data sets to calibration and the gate, which know none. Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import board_verbs, build_verbs, explain_verbs, gate_verbs, server_verbs, why_verbs
from export.bundle import verbs as bundle_verbs
from export.deploy import verbs as deploy_verbs
from export.drift import verbs as drift_verbs
from export.faces import verbs as faces_verbs
from export.fleet import verbs as fleet_verbs
from export.forms import verbs as forms_verbs
from export.imported import import_verbs
from export.int8 import equalize_verbs, fine_tune_verbs, oracle_verbs, report_verbs, sensitivity_verbs
from export.int8.calibrate_flags import require_calibrate_flags
from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput

if TYPE_CHECKING:
    import numpy as np

    from runtime.card import Model, ModelCard


def verb_export(args: argparse.Namespace) -> int:
    """Export a checkpoint as a model directory: fp32.onnx, fp16.onnx, golden.npz, card.json; or a model for servers."""
    server_verbs.require_flags_of_one_form(args)
    if args.triton or args.deepstream:
        return server_verbs.export_for_server(args)
    if args.out is None:
        raise BadInput("expected --out for the model directory, found none; its last part is the model's name")
    from export.model_from_checkpoint import model_from_checkpoint
    from train.expression.run import load_network

    network, facts = load_network(args.checkpoint)
    faces, labels = _proof(facts, args.data) if args.data else (None, None)
    card = model_from_checkpoint(network, facts, args.out, faces, args.margin or 0.0, labels)
    proof = card.metrics["export"]
    for graph, entry in card.graphs.items():
        say(f"{args.out / entry.file}  {entry.bytes / 1e6:.2f} MB  worst |Δlogit| against PyTorch "
            f"{proof['worst_delta'][graph]:.2g} on {proof['images']} {proof['images_are']} faces")
    if labels is not None:
        fitted = card.metrics["temperature"]
        say(f"temperature {card.temperature}: calibration error {fitted['before']['ece']:.2%} → "
            f"{fitted['after']['ece']:.2%} on the {fitted['images']} faces it was fitted on")
    if args.json:
        print_json(proof)
    return DONE


def _proof(facts: dict[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the faces to prove a network's graphs on, and their labels where a temperature may be fitted on them."""
    from runtime.config import build
    from train.expression.parts import load_faces, parts_of
    from train.expression.task import channels_first
    from train.expression.views import centre_of
    from train.recipe import Recipe

    recipe = build(Recipe, facts["recipe"], "the checkpoint's recipe")
    parts = parts_of(recipe, load_faces(recipe, path))
    chosen = parts.choosing or parts.reported
    labels = None if parts.choosing is None else chosen.labels
    return centre_of(channels_first(chosen), recipe.side), labels


def verb_calibrate(args: argparse.Namespace) -> int:
    """Quantize a model to INT8: int8.onnx for the CPU, int8-gpu.onnx for TensorRT; from faces, or from histograms."""
    from calibration.image_list import read_list
    from export.int8.calibrate import Selection, calibrate_from_histograms, calibrate_on_faces
    from export.int8.calibration_faces import load_pool
    from export.int8.int8_from_onnx import Rounding, require_rounding
    from runtime.card import MODELS, load_expression_model, load_model

    require_calibrate_flags(args)
    model = load_expression_model(args.model)
    if args.check_cache:
        return _check_cache(args, model.card)
    _round_as_before(args, model)
    rounding = Rounding(args.method, args.percentile, tuple(args.keep_float), args.correct_biases, args.draws)
    require_rounding(model, rounding)
    held_out = report_verbs.require_report(args, model) if args.report else None
    if args.compare:
        return _compare_choices(args, model)
    if MODELS in model.directory.absolute().parents:
        raise BadInput(f"expected a model of your own to calibrate, found {model.directory}, which ships with mien; "
                       "copy it first")
    pool = None
    if args.from_histograms:
        card = calibrate_from_histograms(model, args.from_histograms, rounding, args.alone)
    else:
        images = read_list(args.list) if args.list else None
        pool = load_pool(_faces_to_choose_from(args), args.dataset, model.card.input)
        card = calibrate_on_faces(model, pool, Selection(args.choice, args.n, args.seed), rounding, images, args.resume,
                                  args.coverage)
    if args.tensorrt_cache:
        _write_tensorrt_cache(args, card)
    for graph in ("int8", "int8-gpu"):
        entry = card.graphs[graph]
        say(f"{model.directory / entry.file}  {entry.bytes / 1e6:.2f} MB  golden bound {card.golden_bound[graph]}")
    facts = card.calibration
    say(f"{facts['quantized_nodes']} layers quantized on {facts['images']} faces, "
        f"{len(facts['kept_float'])} kept float")
    for warning in facts["warnings"]:
        say(f"warning: {warning}")
    if args.report:
        report_verbs.write_report(args, load_model(args.model), pool, held_out)
    if args.json:
        print_json(facts)
    return DONE


def _round_as_before(args: argparse.Namespace, model: Model) -> None:
    """Fill in the flags that were not given: histograms change the ranges of a model, not how it is rounded."""
    from calibration.onnx_graph import parse_model
    from calibration.quantize import plan
    from export.int8.int8_from_onnx import Rounding

    before = model.card.calibration if args.from_histograms else {}
    args.method = args.method or before.get("method") or Rounding.method
    if args.percentile is not None and args.method != "percentile":
        raise BadInput(f"expected --percentile with --method percentile, found it with {args.method}; leave it out")
    if args.percentile is None:
        args.percentile = before.get("percentile") or Rounding.percentile
    if args.keep_float is None:
        kept = set(before.get("kept_float", ()))  # attention gates among them, which always are
        args.keep_float = [name for name in plan(parse_model(model.read_graph("fp32"), "fp32.onnx")).nodes
                           if name in kept] if kept else []
        if args.keep_float:
            say(f"kept float as before: {', '.join(args.keep_float)} (--keep-float alone keeps none)")
    if before.get("biases_corrected"):
        say("corrected biases are lost: that needs faces; calibrate on --images with --correct-biases")


def _write_tensorrt_cache(args: argparse.Namespace, card: ModelCard) -> None:
    """Write the scales as NVIDIA's text too, for builders that still take one."""
    from export.int8.calibration_cache import save_cache

    save_cache(args.tensorrt_cache, card, args.tensorrt_version)
    say(f"{args.tensorrt_cache}: the same scales for a TensorRT {args.tensorrt_version} builder")


def _check_cache(args: argparse.Namespace, card: ModelCard) -> int:
    """Say whether a calibration cache holds this model's scales."""
    from export.int8.calibration_cache import require_own_cache

    scales = require_own_cache(args.check_cache, card)
    say(f"{args.check_cache}: {scales} scales, all of them {card.name}'s own")
    if args.json:
        print_json({"model": card.name, "cache": args.check_cache.name, "scales": scales})
    return DONE


def _faces_to_choose_from(args: argparse.Namespace) -> Path:
    if args.images is None:
        raise BadInput("expected --images PATH or --from-histograms FILE, found neither; give a data set's path, or a "
                       "folder of face crops with --dataset crops")
    images: Path = args.images
    return images


def _compare_choices(args: argparse.Namespace, model: Model) -> int:
    """Measure what every choice of calibration faces costs on FER2013's PublicTest; leave a record and its chart."""
    from calibration.pick_images import CHOICES
    from export.gate.record import save_figures
    from export.int8.calibration_faces import load_pool
    from export.int8.compare_choices import compare_choices, comparison_lines, save_chart
    from export.int8.measure_int8 import HeldOut, require_same_labels
    from runtime.machine import describe_machine
    from runtime.preprocess import prepare_faces
    from train.datasets.fer2013 import load_fer2013

    path = _faces_to_choose_from(args)
    if args.dataset != "fer2013":
        raise BadInput(f"expected --dataset fer2013 to compare on, whose PublicTest is held out, found {args.dataset}")
    public = load_fer2013(path).split("PublicTest")
    source = {"name": args.dataset, "splits": ["PublicTest"], "images": len(public)}
    held_out = HeldOut(prepare_faces(public.images, model.card.input), public.labels, public.label_names, source)
    require_same_labels(model, held_out)
    pool = load_pool(path, args.dataset, model.card.input)
    found = compare_choices(model, pool, held_out.faces, held_out.labels, CHOICES, args.method, args.percentile)
    record = {"model": model.card.name, "fp32_sha256": model.card.graphs["fp32"].sha256, "calibrated_on": pool.source,
              "measured_on": source, **found,
              "made_on": describe_machine()}
    save_figures(args.compare, record)
    save_chart(found, args.compare.with_suffix(".png"))
    say("\n".join(comparison_lines(found)))
    if args.json:
        print_json(record)
    return DONE


def verb_demo(args: argparse.Namespace) -> int:
    """Render a clip from a photograph, stream it, and leave video, contact sheet and events in --out."""
    from export.demo import run_demo

    report = run_demo(args.out, args.precision, args.frames)
    say("\n".join(report["lines"]))
    if args.json:
        print_json({k: v for k, v in report.items() if k != "lines"})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare this room's verbs and their flags."""
    p = verb("export", verb_export)
    p.add_argument("checkpoint", type=Path, help="a run's best or last; for servers a model directory")
    p.add_argument("--out", type=Path, help="the model directory; its last part is the model's name")
    p.add_argument("--data", type=Path, help="prove the graphs on FER2013's PublicTest instead of generated faces")
    p.add_argument("--margin", type=float, help="share the stream's crop adds to the detector's box (0)")
    server_verbs.add_server_flags(p)

    import_verbs.add_verbs(verb)

    p = verb("calibrate", verb_calibrate)
    p.add_argument("model", type=Path, help="a model directory")
    p.add_argument("--images", type=Path, help="a data set, or a folder of face crops; its training faces are used")
    p.add_argument("--dataset", default="fer2013", choices=["fer2013", "ck-plus", "raf-db", "sfew", "rafd", "crops"],
                   help="what --images is; crops: a folder of recorded face crops, any size")
    p.add_argument("-n", type=int, default=512, help="how many faces")
    p.add_argument("--choice", default="random", choices=["random", "stratified", "k-center", "herding"],
                   help="k-center and herding span what the network sees: one pass over all the faces first")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--list", type=Path, help="take the faces of this images.json again instead of choosing")
    p.add_argument("--coverage", action="store_true",
                   help="say how well the list spans the set in features, whatever the choice")
    p.add_argument("--resume", action="store_true", help="go on from a calibration that was stopped")
    p.add_argument("--method", choices=["max", "percentile", "entropy", "mse"],
                   help="percentile; from histograms, what the model was calibrated by, as the next two")
    p.add_argument("--percentile", type=float, help="99.999")
    p.add_argument("--from-histograms", type=Path, nargs="+", metavar="FILE",
                   help="rebuild INT8 without images, from ranges.hist files merged with the model's own")
    p.add_argument("--alone", action="store_true", help="with --from-histograms: leave the model's own out")
    p.add_argument("--keep-float", nargs="*", metavar="LAYER",
                   help="leave these layers in half precision; mien sensitivity finds which; alone: none")
    p.add_argument("--correct-biases", action="store_true",
                   help="take from each bias what rounding adds to its layer on average, measured on the faces")
    p.add_argument("--draws", type=int, default=0,
                   help="derive the golden bounds from this many legal backends (59: minutes), not from this machine")
    p.add_argument("--tensorrt-cache", type=Path, metavar="FILE",
                   help="also write a calibration cache for builders that take one (TensorRT ≤ 10.x, DeepStream)")
    p.add_argument("--tensorrt-version", default="10.3.0", help="of that builder")
    p.add_argument("--check-cache", type=Path, metavar="FILE",
                   help="calibrate nothing: is this calibration cache the model's own, whole and of today? exit 0 or 2")
    p.add_argument("--compare", type=Path, metavar="RECORD.json",
                   help="write no model: measure every choice at 32–2,048 faces, into this record and a PNG beside it")
    report_verbs.add_report_flags(p)

    build_verbs.add_verbs(verb)
    board_verbs.add_verbs(verb)

    gate_verbs.add_verbs(verb)
    explain_verbs.add_verbs(verb)

    p = verb("demo", verb_demo)
    p.add_argument("--out", type=Path, default=Path("demo"))
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="int8")
    p.add_argument("--frames", type=int, default=150)

    drift_verbs.add_verbs(verb)
    oracle_verbs.add_verbs(verb)
    equalize_verbs.add_verbs(verb)
    faces_verbs.add_verbs(verb)
    sensitivity_verbs.add_verbs(verb)
    fine_tune_verbs.add_verbs(verb)
    bundle_verbs.add_verbs(verb)
    deploy_verbs.add_verbs(verb)
    fleet_verbs.add_verbs(verb)
    forms_verbs.add_verbs(verb)
    why_verbs.add_verbs(verb)
