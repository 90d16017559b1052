"""The verb that holds ONNX Runtime's integers against what is legal. Imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, FAILED, BadInput


def verb_oracle(args: argparse.Namespace) -> int:
    """Judge every integer that ONNX Runtime computes of an INT8 graph here; exit 1 where one is not legal."""
    from calibration.pick_images import pick_random
    from export.gate.record import save_figures
    from export.int8.calibrate_flags import require_draw
    from export.int8.judge_onnxruntime import judge_onnxruntime
    from runtime.card import load_expression_model
    from runtime.preprocess import prepare_faces
    from train.datasets.fer2013 import load_fer2013

    require_draw(args)
    if args.draws < 0:
        raise BadInput(f"expected --draws of 0 or more, found {args.draws}")
    model = load_expression_model(args.model)
    split = load_fer2013(args.data).split(args.split)
    picked = split.where(pick_random(len(split), args.n, args.seed))
    record = judge_onnxruntime(model, args.form, prepare_faces(picked.images, model.card.input), args.draws)
    record["data"] = {"name": "fer2013", "splits": [args.split], "images": len(picked), "seed": args.seed,
                      "sha256": picked.sha256()}
    if args.record:
        save_figures(args.record, record)
    say("\n".join(record["lines"]))
    if args.json:
        print_json({k: v for k, v in record.items() if k != "lines"})
    return DONE if record["legal"] else FAILED


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("oracle", verb_oracle)
    p.add_argument("model", type=Path, help="a model directory, or a shipped model's name")
    p.add_argument("--form", choices=["cpu", "gpu"], default="cpu", help="int8.onnx, or int8-gpu.onnx")
    p.add_argument("--data", type=Path, required=True, help="FER2013")
    p.add_argument("--split", default="PublicTest")
    p.add_argument("-n", type=int, default=64, help="how many faces, drawn at random")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--draws", type=int, default=0,
                   help="also derive the golden bound from so many legal backends; 59 for 95 %% with 95 %% confidence")
    p.add_argument("--record", type=Path, help="write the figures to this JSON file")
