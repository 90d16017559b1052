"""`mien sensitivity`: its flags, and what is said. The work is in `find_mix.py`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED


def verb_sensitivity(args: argparse.Namespace) -> int:
    """Measure what INT8 costs in each layer, and find the fewest to leave in half so that a budget holds."""
    from export.int8.find_mix import draw_sensitivity, find_mix, mix_lines, require_budget
    from export.int8.measure_int8 import HeldOut, require_same_labels
    from runtime.card import load_expression_model
    from runtime.durable import write_text
    from runtime.machine import describe_machine
    from runtime.preprocess import prepare_faces
    from train.datasets.fer2013 import load_fer2013

    require_budget(args.budget)
    model = load_expression_model(args.model)
    public = load_fer2013(args.data).split("PublicTest")
    held_out = HeldOut(prepare_faces(public.images, model.card.input), public.labels, public.label_names,
                       {"name": "fer2013", "split": "PublicTest", "images": len(public), "sha256": public.sha256()})
    require_same_labels(model, held_out)
    args.out.mkdir(parents=True, exist_ok=True)
    found = find_mix(model, held_out.faces, held_out.labels, args.budget, args.out / "state.json")
    say("\n".join(mix_lines(found, model)))
    record = {"model": model.card.name, "fp32_sha256": model.card.graphs["fp32"].sha256,
              "measured_on": held_out.source, **found.as_dict(), "made_on": describe_machine()}
    write_text(args.out / "sensitivity.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    draw_sensitivity(found, f"{model.card.name}: what INT8 costs", args.out / "sensitivity.png")
    if found.found.mix is not None and found.found.mix.kept_float:
        say(f"mien calibrate {args.model} --images PATH --keep-float {' '.join(found.found.mix.kept_float)}")
    if args.json:
        print_json(record)
    return DONE if found.found.mix is not None else FAILED


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("sensitivity", verb_sensitivity)
    p.add_argument("model", type=Path, help="a calibrated model directory, or a shipped model's name")
    p.add_argument("--data", type=Path, required=True, help="FER2013; its PublicTest is what the mix is chosen on")
    p.add_argument("--budget", type=float, default=0.3, help="points of accuracy that INT8 may cost")
    p.add_argument("--out", type=Path, required=True, help="where sensitivity.json, its picture and state.json go")
