"""`mien check`: its flags, and what it joins: a model, its reference, labelled faces, a budget, an earlier record.

The judging is in `export/gate/`. Imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from export.gate.labelled_data import CheckedFaces
    from export.gate.report import Report
    from runtime.card import Model
    from runtime.engines.face_batches import Logits


def verb_check(args: argparse.Namespace) -> int:
    """Hold an engine against PyTorch: golden frames, then labelled faces; exit 0 pass, 1 fail, 4 inconclusive."""
    from export.gate.check import EXIT_CODES

    _require_flags(args)
    report, faces = run_check(args)
    say("\n".join(report.lines()))  # before anything is written: a full disk must not cost the verdict
    _write(args, report, faces)
    if args.json:
        print_json(report.as_dict())
    return EXIT_CODES[report.verdict]


def run_check(args: argparse.Namespace) -> tuple[Report, np.ndarray]:
    """Run a check; returns its report and the faces (N, C, H, W) uint8. Raises BadInput, BadModel, Unavailable."""
    from export.gate.baseline import read_baseline
    from export.gate.budget import read_budget
    from export.gate.form import open_form
    from export.gate.gate import Asked, run_gate
    from runtime.card import load_expression_model

    model = load_expression_model(args.model)
    budget = read_budget(model.card, args.budget, {name: getattr(args, name) for name in (
        "accuracy_drop", "agreement", "recall_drop", "kl", "ece_shift", "classes")})
    form = open_form(model, args.precision, args.target, args.form, args.threads, args.cache)
    chosen = labelled_faces(args, model)
    pytorch, facts = _pytorch(args, model) if args.checkpoint else (None, {})
    baseline = read_baseline(args.baseline, chosen.facts["sha256"]) if args.baseline else None
    report = run_gate(Asked(model, form, chosen.faces, chosen.labels, chosen.names, chosen.facts, budget, pytorch,
                            facts, baseline, args.chain, args.bisect, args.threads, chosen.warnings))
    return report, chosen.faces


def labelled_faces(args: argparse.Namespace, model: Model) -> CheckedFaces:
    """Load the faces that the flags of `add_data_flags` mean, with the model's labels. Raises BadInput, Unavailable."""
    from export.gate.labelled_data import DataAsked, load_checked_faces
    from runtime.faces import open_detector

    detector = open_detector(args.faces, max_faces=1) if args.faces else None
    try:
        return load_checked_faces(DataAsked(args.data, args.dataset, args.split, args.with_copies, detector),
                                  model.card)
    finally:
        if detector is not None:
            detector.close()


def _require_flags(args: argparse.Namespace) -> None:
    """Refuse flags that say two things, before minutes of work. Raises BadInput."""
    if args.form and args.target != "cpu":
        raise BadInput(f"expected --form, which is of the CPU, or --target {args.target}, found both; leave one out")
    if args.thumbnails and not args.html:
        raise BadInput("expected --html FILE with --thumbnails, found none; the page is where faces are shown")
    for path in (args.record, args.junit, args.markdown, args.html):
        if path and path.is_dir():
            raise BadInput(f"expected a file to write, found the folder {path}; name a file in it")


def _pytorch(args: argparse.Namespace, model: Model) -> tuple[Logits, dict[str, Any]]:
    """Return a checkpoint's network as a reference, and what it is. Raises BadInput."""
    from train.expression.open_network import open_network

    opened = open_network(args.checkpoint, "fp32")
    if opened.labels != model.card.labels:
        raise BadInput(f"expected a checkpoint of the labels {', '.join(model.card.labels)}, found "
                       f"{', '.join(opened.labels)}; give the one that the model was exported from")
    return opened.logits, opened.what


def _write(args: argparse.Namespace, report: Report, faces: np.ndarray) -> None:
    """Write the reports that were asked for, each whole or not at all."""
    from export.gate.record import save_figures
    from runtime.durable import write_text

    if args.record:
        save_figures(args.record, report.as_dict())
    if args.junit:
        from export.gate.junit import junit_xml

        write_text(args.junit, junit_xml(report))
    if args.markdown:
        from export.gate.markdown import markdown

        write_text(args.markdown, markdown(report))
    if args.html:
        from export.gate.page import gate_page

        write_text(args.html, gate_page(report, faces if args.thumbnails else None))


def add_data_flags(p: argparse.ArgumentParser, required: bool) -> None:
    """Declare which labelled faces are meant."""
    p.add_argument("--data", type=Path, required=required,
                   help="a data set, or a folder of one's own that holds a folder for each label of the model")
    p.add_argument("--dataset", default="", choices=["fer2013", "ck-plus", "raf-db", "sfew", "rafd", "folders"],
                   help="what --data is; without it class-named folders are recognised, and all else is fer2013")
    p.add_argument("--split", nargs="+", default=[],
                   help="of FER2013 choose on PublicTest, gate on PrivateTest, the default; of other sets what their "
                        "authors report on, or All; several are pooled, and the report says so")
    p.add_argument("--with-copies", action="store_true",
                   help="keep exact copies of training images, as published accuracies do")
    p.add_argument("--faces", default="", metavar="DETECTOR",
                   help="find and cut the face in each image first: mien-face, haar, or a YuNet ONNX file")


def add_verbs(verb: AddVerb) -> None:
    """Declare `mien check` and its flags."""
    p = verb("check", verb_check)
    p.add_argument("model", type=Path, help="a model directory, or a shipped model's name")
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="int8")
    p.add_argument("--target", default="cpu", choices=["cpu", "tensorrt", "tensorrt-rtx"])
    p.add_argument("--cache", type=Path, help="where TensorRT's engines are kept; ~/.cache/mien/engines")
    p.add_argument("--form", choices=["cpu", "gpu"],
                   help="gpu: follow on the CPU the graph that a GPU would get; in fp16, whose default it is, each "
                        "tensor is rounded to half")
    add_data_flags(p, required=True)
    p.add_argument("--checkpoint", type=Path,
                   help="take PyTorch itself as reference instead of fp32.onnx, which export proved equal to it")
    p.add_argument("--budget", type=Path, metavar="check.yaml", help="what may be lost; flags below count before it")
    p.add_argument("--accuracy-drop", type=float, help="points of 100 that may be lost; 1")
    p.add_argument("--agreement", type=float, help="share of labels that must stay; 0.95")
    p.add_argument("--recall-drop", type=float, help="points that a class with 300 or more images may lose; 3")
    p.add_argument("--kl", type=float, help="mean KL divergence allowed, nats; 0.05")
    p.add_argument("--ece-shift", type=float, help="change of the calibration error allowed, a share; 0.02")
    p.add_argument("--classes", nargs="+", metavar="LABEL", help="gate these also where they have too few images to")
    p.add_argument("--chain", action="store_true", help="judge every graph of the model against the one before it")
    p.add_argument("--bisect", action="store_true",
                   help="compare the links up to this graph layer by layer; a link that fails is bisected unasked")
    p.add_argument("--baseline", type=Path, metavar="RECORD.json",
                   help="also hold this build against the one that left this record on the same data")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--record", type=Path, help="write the figures to this JSON file")
    p.add_argument("--junit", type=Path, metavar="FILE.xml", help="for CI; inconclusive is an error, never skipped")
    p.add_argument("--markdown", type=Path, metavar="FILE.md", help="for a pull request")
    p.add_argument("--html", type=Path, metavar="FILE.html", help="one self-contained page")
    p.add_argument("--thumbnails", action="store_true", help="with --html: show the faces whose labels changed worst")
