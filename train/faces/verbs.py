"""The detector's verbs: faces label, faces train, faces evaluate. The work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE


def verb_label(args: argparse.Namespace) -> int:
    """Label the pictures of DATA/heads and DATA/scenes with a teacher's finds, once, into one file."""
    from train.faces.labels import save_labels
    from train.faces.teacher import Teacher, label

    labels = label(args.data, Teacher(args.teacher))
    save_labels(labels, args.out)
    found = {"heads": len(labels.heads.scores), "scenes": len(labels.scenes.scores), "sha256": labels.sha256()}
    say(f"{args.out}  {len(labels.heads.names)} heads with {found['heads']} finds, {len(labels.scenes.names)} "
        f"photographs with {found['scenes']}")
    if args.json:
        print_json(found)
    return DONE


def verb_train_faces(args: argparse.Namespace) -> int:
    """Train the face detector by a recipe; leaves best/, last/ and metrics.jsonl in --out. torchrun shares it too."""
    from train.distributed import joined
    from train.faces.labels import load_labels
    from train.faces.recipe import load_face_recipe
    from train.faces.run import train_faces

    recipe = load_face_recipe(args.recipe, epochs=args.epochs, seed=args.seed)
    words = ["mien", "faces", "train", "--recipe", args.recipe]
    words += [word for key in ("epochs", "seed") if (value := getattr(args, key)) is not None
              for word in (f"--{key}", str(value))]
    command = shlex.join([*words, "--data", "PATH", "--labels", "LABELS", "--out", "RUN"])
    with joined() as group:
        fitted = train_faces(recipe, args.data, load_labels(args.labels), args.out, args.resume, group, command)
        if group.first:
            say(f"kept epoch {fitted.best_epoch + 1} of {recipe.epochs}: AP50 {fitted.figures['ap50']:.4f}, AP75 "
                f"{fitted.figures['ap75']:.4f}, in {args.out / 'best'} after {fitted.seconds / 60:.0f} minutes")
            if args.json:
                print_json({"best_epoch": fitted.best_epoch + 1, "seconds": fitted.seconds, **fitted.figures})
    return DONE


def verb_evaluate_faces(args: argparse.Namespace) -> int:
    """Measure a detector and its teacher on held-out scenes and photographs; --record keeps the figures."""
    from runtime.durable import write_text
    from runtime.machine import describe_machine
    from train.faces.evaluate import as_text, evaluate_faces
    from train.faces.labels import load_labels
    from train.faces.teacher import Teacher

    report = evaluate_faces(args.checkpoint, args.data, load_labels(args.labels), Teacher(args.teacher), args.scenes)
    report |= {"made_on": describe_machine()}
    say("\n".join(as_text(report)))
    if args.record:
        write_text(args.record, json.dumps(report, indent=2, allow_nan=False) + "\n")
    if args.json:
        print_json(report)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the detector's verbs and their flags."""
    p = verb("label", verb_label, "faces")
    p.add_argument("--data", type=Path, required=True, help="the folder that holds heads/ and scenes/")
    p.add_argument("--teacher", type=Path, required=True, help="a YuNet ONNX graph of free input size")
    p.add_argument("--out", type=Path, required=True, help="the labels' .npz file")

    p = verb("train", verb_train_faces, "faces")
    p.add_argument("--recipe", default="mien-face", help="a shipped recipe's name, or a YAML file")
    p.add_argument("--data", type=Path, required=True, help="the folder that holds heads/ and scenes/")
    p.add_argument("--labels", type=Path, required=True, help="what mien faces label wrote of it")
    p.add_argument("--out", type=Path, required=True, help="the run's folder")
    p.add_argument("--epochs", type=int, help="instead of the recipe's")
    p.add_argument("--seed", type=int, help="instead of the recipe's")
    p.add_argument("--resume", action="store_true", help="continue from --out's last epoch")

    p = verb("evaluate", verb_evaluate_faces, "faces")
    p.add_argument("checkpoint", type=Path, help="a run's best or last")
    p.add_argument("--data", type=Path, required=True, help="the folder that holds heads/ and scenes/")
    p.add_argument("--labels", type=Path, required=True, help="what mien faces label wrote of it")
    p.add_argument("--teacher", type=Path, required=True, help="the YuNet graph that made the labels")
    p.add_argument("--scenes", type=int, default=240, help="held-out scenes to compose, 640×480")
    p.add_argument("--record", type=Path, help="write the figures to this JSON file")
