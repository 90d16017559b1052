"""The verbs of the workstation's first half: data check, train, evaluate. Flags and words here; the work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput


def verb_data_check(args: argparse.Namespace) -> int:
    """Print what a data set holds: splits, classes, copies across splits, damaged files."""
    from train.datasets import DATASETS
    from train.datasets.summary import as_text, summarize

    chosen = DATASETS.get(args.name)
    if chosen is None:
        raise BadInput(f"expected a data set of {', '.join(DATASETS)}, found {args.name!r}")
    summary = summarize(chosen.load(args.path), chosen.published)
    print_json(summary) if args.json else say(as_text(summary))
    return DONE


def verb_train(args: argparse.Namespace) -> int:
    """Train a network by a recipe; leaves best/, last/ and metrics.jsonl in --out."""
    from train.datasets.fer2013 import load_fer2013
    from train.expression.run import train_expression
    from train.recipe import load_recipe

    recipe = load_recipe(args.recipe, epochs=args.epochs, seed=args.seed)
    fitted = train_expression(recipe, load_fer2013(args.data), args.out, args.resume)
    say(f"best epoch {fitted.best_epoch + 1} of {recipe.epochs}: PublicTest accuracy "
        f"{fitted.figures['accuracy']:.4f}, in {args.out / 'best'} after {fitted.seconds / 60:.0f} minutes")
    if args.json:
        print_json({"best_epoch": fitted.best_epoch + 1, "seconds": fitted.seconds, **fitted.figures})
    return DONE


def verb_evaluate(args: argparse.Namespace) -> int:
    """Measure a checkpoint or a model directory on labelled faces; leaves figures.json and confusion PNGs in --out."""
    from runtime.durable import write_text
    from runtime.machine import describe_machine
    from train.datasets.fer2013 import load_fer2013
    from train.expression.evaluate import draw_confusion, evaluate_splits
    from train.expression.open_network import open_network

    logits, what = open_network(args.network, args.precision)
    faces = load_fer2013(args.data)
    report = {"network": what, "data": {"name": "fer2013", "sha256": faces.sha256()},
              "splits": evaluate_splits(logits, faces, tuple(args.split)), "made_on": describe_machine()}
    for split, entry in report["splits"].items():
        say(f"{split}: accuracy {entry['accuracy']:.4f} (with the mirrored view "
            f"{entry['accuracy_with_mirrored_view']:.4f})  macro-F1 {entry['macro_f1']:.4f}  {entry['images']} images")
        say("  recall  " + "  ".join(f"{name} {value:.3f}" for name, value in entry["recall"].items()
                                      if value is not None))
        if args.out:
            import numpy as np

            draw_confusion(np.array(entry["confusion"]), faces.label_names, f"{what['name']} on {split}, "
                           f"accuracy {entry['accuracy']:.1%}", args.out / f"confusion-{split}.png")
    if args.out:
        write_text(args.out / "figures.json", json.dumps(report, indent=2) + "\n")
    if args.json:
        print_json(report)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare this room's verbs and their flags."""
    p = verb("check", verb_data_check, "data")
    p.add_argument("name", help="fer2013, ck-plus, raf-db, sfew or rafd")
    p.add_argument("path", type=Path, help="its folder; FER2013 also as fer2013.csv")

    p = verb("train", verb_train)
    p.add_argument("--recipe", required=True, help="a shipped recipe's name, or a YAML file")
    p.add_argument("--data", type=Path, required=True, help="FER2013: Kaggle's image folder, or fer2013.csv")
    p.add_argument("--out", type=Path, required=True, help="the run's folder")
    p.add_argument("--epochs", type=int, help="instead of the recipe's")
    p.add_argument("--seed", type=int, help="instead of the recipe's")
    p.add_argument("--resume", action="store_true", help="continue from --out's last epoch")

    p = verb("evaluate", verb_evaluate)
    p.add_argument("network", type=Path, help="a run's best or last, or a model directory")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--split", nargs="+", default=["PublicTest", "PrivateTest"])
    p.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "int8"], help="of a model directory")
    p.add_argument("--out", type=Path, help="where figures.json and the confusion PNGs go")
