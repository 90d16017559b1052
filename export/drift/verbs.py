"""`mien drift baseline`: its flags. The work is in `baseline.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput


def verb_baseline(args: argparse.Namespace) -> int:
    """Record what a stream's drift monitor compares with: how held-out faces look, and how far INT8 is from FP32."""
    from export.drift.baseline import measure_baseline, write_baseline
    from runtime.card import MODELS, load_model
    from runtime.preprocess import prepare_faces
    from train.datasets.fer2013 import load_fer2013

    model = load_model(args.model)
    if model.card.task != "expression":
        raise BadInput(f"expected an expression model to watch, found {model.card.name}, a face detector")
    if MODELS in model.directory.absolute().parents:
        raise BadInput(f"expected a model of your own to write into, found {model.directory}, which ships with mien; "
                       "copy it first")
    faces = load_fer2013(args.data).split("PublicTest")
    baseline = measure_baseline(model, prepare_faces(faces.images, model.card.input),
                                {"name": "fer2013", "split": "PublicTest", "sha256": faces.sha256()})
    card = write_baseline(model, baseline)
    for graph, found in baseline.engines.items():
        say(f"{graph}: {found.agreement:.2%} of {baseline.faces} labels as FP32, mean KL {found.mean_kl:.2g} nats")
    if card.drift:
        say(f"{model.directory / card.drift.file}  {card.drift.bytes / 1e3:.1f} kB")
    if args.json:
        print_json(vars(card.drift) if card.drift else {})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("baseline", verb_baseline, "drift")
    p.add_argument("model", type=Path, help="a model directory")
    p.add_argument("--data", type=Path, required=True, help="FER2013; its PublicTest is measured")
