"""`mien import`: its flags. The work is in `model_from_onnx.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE


def verb_import(args: argparse.Namespace) -> int:
    """Make a model directory of any network's ONNX file: fp32.onnx, fp16.onnx, golden.npz, card.json."""
    from export.imported.given_onnx import read_given
    from export.imported.model_from_onnx import Asked, face_input_of, model_from_onnx
    from export.imported.pixel_scaling import scaling_of
    from export.int8.calibration_faces import CROPS, load_pool

    labels = tuple(label.strip() for label in args.labels.split(","))
    asked = Asked(labels, scaling_of(args.normalize, args.mean, args.std), args.colour, args.equalize, args.margin)
    network = read_given(args.onnx)
    how = face_input_of(network, asked)
    faces = load_pool(args.images, CROPS, how).faces if args.images else None
    card = model_from_onnx(network, asked, args.out, faces)
    proof, given = card.metrics["export"], card.training["onnx"]
    for graph, entry in card.graphs.items():
        say(f"{args.out / entry.file}  {entry.bytes / 1e6:.2f} MB  worst |Δlogit| against {args.onnx.name} "
            f"{proof['worst_delta'][graph]:.2g} on {proof['images']} {proof['images_are']} faces")
    if given["left_out"]:
        say(f"left out: the last {given['left_out']}, for the card's temperature works on logits")
    if given["batch"] != "free":
        say("the batch was fixed at 1, and is free now: each face's logits are the same in a batch as alone")
    if args.json:
        print_json({"model": card.name, "onnx": given, **proof})
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("import", verb_import)
    p.add_argument("onnx", type=Path, help="the network: one float32 or uint8 N×C×H×W input, N×classes logits out")
    p.add_argument("--labels", required=True, help="the classes in the order of the logits, with commas between")
    p.add_argument("--out", type=Path, required=True, help="the model directory; its last part is the model's name")
    p.add_argument("--normalize", choices=["unit", "signed", "imagenet", "none"],
                   help="what the network expects of pixels: unit 0–1, signed -1–1, imagenet torchvision's mean and "
                        "standard deviation, none 0–255")
    p.add_argument("--mean", type=float, nargs="+", help="instead: of pixels scaled to 0–1, one or one a channel")
    p.add_argument("--std", type=float, nargs="+", help="with --mean")
    p.add_argument("--colour", choices=["grey", "rgb"],
                   help="as the network has channels; grey repeats a grey face for a network of three")
    p.add_argument("--equalize", action="store_true", help="the training equalized its grey faces' histograms")
    p.add_argument("--margin", type=float, default=0.0, help="share the stream's crop adds to the detector's box (0)")
    p.add_argument("--images", type=Path, help="prove the graphs on these face crops instead of generated faces")
