"""`mien explain`: which face, and where its picture goes. The work is in `export/gate/`.

Imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from export.gate_verbs import add_data_flags, labelled_faces
from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput

if TYPE_CHECKING:
    import numpy as np

    from runtime.card import Model


def verb_explain(args: argparse.Namespace) -> int:
    """Draw where INT8 departs from FP32 on one face: the first layer and channel beyond what rounding explains."""
    from export.gate.explain import explain
    from export.gate.explain_picture import draw_explanation
    from runtime.card import load_expression_model
    from train.expression.pictures.style import save_png

    if (args.image is None) == (args.data is None):
        found = "neither" if args.image is None else "both"
        raise BadInput(f"expected an image, or --data PATH --flip N, found {found}; mien explain MODEL IMAGE")
    if args.check and args.data is None:
        raise BadInput("expected --data PATH with --check, which names images of it, found none; add it")
    if args.out.is_dir():
        raise BadInput(f"expected a file to write, found the folder {args.out}; name a file in it")
    model = load_expression_model(args.model)
    face, name = _face_of_image(args, model) if args.image else _flipped_face(args, model)
    found_out = explain(model, face, name)
    save_png(draw_explanation(found_out), args.out)
    say(f"{found_out.line}: {args.out}")
    if args.json:
        print_json(found_out.as_dict())
    return DONE


def _face_of_image(args: argparse.Namespace, model: Model) -> tuple[np.ndarray, str]:
    """Return one prepared face (C, H, W) of an image file, and its name. Raises BadInput."""
    from runtime.camera.image_files import read_image
    from runtime.faces import open_detector
    from runtime.preprocess import crop_faces, prepare_face

    image = read_image(args.image)
    if not args.faces:
        return prepare_face(image, model.card.input), args.image.name
    detector = open_detector(args.faces, max_faces=1)
    try:
        found = detector.detect(image)
    finally:
        detector.close()
    if not len(found):
        raise BadInput(f"expected a face in {args.image}, found none; give a crop of it without --faces")
    landmarks = None if found.landmarks is None else found.landmarks[:1]
    return crop_faces(image, found.boxes[:1], model.card.input, landmarks)[0], args.image.name


def _flipped_face(args: argparse.Namespace, model: Model) -> tuple[np.ndarray, str]:
    """Return the face of a data set whose answer moved furthest among those that flipped, or the N-th. Raises BadInput.

    A check's record names them; without one both networks run over the faces.
    """
    chosen = labelled_faces(args, model)
    if args.check:
        names = _flips_of(args.check, model)
    else:
        from export.gate.check import answer_all
        from runtime.engines import open_graph_on_cpu
        from runtime.engines.face_batches import engine_logits

        fp32, int8 = (engine_logits(open_graph_on_cpu(model, graph), model) for graph in ("fp32", "int8"))
        flips = answer_all(fp32, int8, chosen.faces, chosen.labels, model.card.labels).flips()
        names = [chosen.names[place] for place in flips.tolist()]
    if not 1 <= args.flip <= len(names):
        there = f"1–{len(names)}" if names else "nothing: no label flipped"
        raise BadInput(f"expected --flip of {there}, found {args.flip}; any image can be explained by its file")
    name = names[args.flip - 1]
    if name not in chosen.names:
        raise BadInput(f"expected {name} of {args.check} among the {len(chosen.names):,} faces, found it not; give "
                       "--data, --dataset and --split as that check had them")
    return chosen.faces[chosen.names.index(name)], name


def _flips_of(path: Path, model: Model) -> list[str]:
    """Return the images that flipped by a check's record, worst first. Raises BadInput."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        graph, digest = record["graph"], record["sha256"]
        names = [str(flip["image"]) for flip in record["flips"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"expected a record of mien check that lists flips in {path}, found another file ({error!r}); "
                       "mien check --record writes one") from error
    entry = model.card.graphs.get("int8")
    if graph != "int8" or entry is None or digest != entry.sha256:
        raise BadInput(f"expected a check of the int8.onnx in {model.directory}, found one of {graph} "
                       f"{str(digest)[:12]}… in {path}; check this model, or leave --check out")
    return names


def add_verbs(verb: AddVerb) -> None:
    """Declare `mien explain` and its flags."""
    p = verb("explain", verb_explain)
    p.add_argument("model", type=Path, help="a model directory, or a shipped model's name")
    p.add_argument("image", type=Path, nargs="?", help="a face crop, any size; a photograph with --faces")
    p.add_argument("--out", type=Path, default=Path("explain.png"), metavar="FILE.png")
    p.add_argument("--flip", type=int, default=1, help="with --data: the N-th face whose label flipped, worst first")
    p.add_argument("--check", type=Path, metavar="RECORD.json",
                   help="with --data: take the flips that this record of mien check lists instead of looking for them")
    add_data_flags(p, required=False)
