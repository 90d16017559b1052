"""`mien equalize`: its flags. The work is in `equalize_model.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.int8.calibrate_flags import require_draw
from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput


def verb_equalize(args: argparse.Namespace) -> int:
    """Even out a model's channels before calibrating it: the same answers in float, better ones in INT8."""
    from calibration.pick_images import pick_random
    from export.int8.calibration_faces import load_pool
    from export.int8.equalize_model import equalize_model
    from runtime.card import MODELS, load_expression_model

    require_draw(args)
    if not 0 <= args.alpha <= 1:
        raise BadInput(f"expected --alpha of 0–1, found {args.alpha}; 0.5 is usual")
    model = load_expression_model(args.model)
    if MODELS in model.directory.absolute().parents:
        raise BadInput(f"expected a model of your own to equalize, found {model.directory}, which ships with mien; "
                       "copy it first")
    pool = load_pool(args.images, args.dataset, model.card.input)
    card = equalize_model(model, pool.faces[pick_random(len(pool.faces), args.n, args.seed)], args.alpha)
    facts = card.metrics["equalized"]
    say(f"{facts['pairs']} pairs of layers equalized on {facts['images']} faces; |Δlogit| on the golden faces "
        f"{facts['worst_delta']['fp32']:.2g} in fp32, {facts['worst_delta']['fp16']:.2g} in fp16")
    say(f"INT8 went with the graph it was made of: mien calibrate {args.model} --images PATH")
    if args.json:
        print_json(facts)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("equalize", verb_equalize)
    p.add_argument("model", type=Path, help="a model directory")
    p.add_argument("--images", type=Path, required=True, help="a data set, or a folder of face crops")
    p.add_argument("--dataset", default="fer2013", choices=["fer2013", "ck-plus", "raf-db", "sfew", "rafd", "crops"],
                   help="what --images is; crops: a folder of recorded face crops, any size")
    p.add_argument("-n", type=int, default=128, help="how many faces, drawn at random")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--alpha", type=float, default=0.5,
                   help="between dense layers: 0 leaves them, 1 makes activations as even as can be")
