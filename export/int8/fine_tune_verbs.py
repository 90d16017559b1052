"""`mien fine-tune`: its flags, and what is said. The work is in `fine_tune.py` and `train/expression/fine_tune.py`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput


def verb_fine_tune(args: argparse.Namespace) -> int:
    """Train a checkpoint for a few hundred steps under its INT8 graph's rounding; leaves best/ and model/ in --out."""
    import dataclasses

    from calibration.onnx_graph import parse_model
    from export.gate.record import save_figures
    from export.int8.fine_tune import carry_over_int8, compare_fine_tuned, input_grids, thresholds_of
    from export.model_from_checkpoint import model_from_checkpoint
    from runtime.card import load_model
    from runtime.machine import describe_machine
    from runtime.preprocess import prepare_faces
    from train.datasets.fer2013 import SPLITS, load_fer2013
    from train.expression.fine_tune import FineTuning, fine_tune
    from train.expression.run import load_network

    _require_flags(args, SPLITS)
    model = load_model(args.model)
    network, facts = load_network(args.checkpoint)
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    grids = input_grids(fp32, thresholds_of(model), network, model.card.calibration.get("kept_float", ()))
    everything = load_fer2013(args.data)
    how = FineTuning(args.epochs, args.images, args.batch_size, args.learning_rate, args.seed)
    done = fine_tune(network, facts, grids, everything, args.out, how, _said(args))
    say(f"INT8 on the held-out faces: accuracy {done.before['accuracy']:.4f} before, "
        f"{done.fitted.figures['accuracy']:.4f} after epoch {done.fitted.best_epoch + 1}")
    if done.fitted.figures["accuracy"] < done.before["accuracy"]:
        say("warning: fine-tuning made INT8 worse on the held-out faces; keep the model as it was, or take more "
            "--images")
    tuned, tuned_facts = load_network(args.out / "best")
    proof = prepare_faces(everything.split("PublicTest").images, model.card.input)
    model_from_checkpoint(tuned, tuned_facts, args.out / "model", proof, model.card.input.margin)
    carry_over_int8(load_model(args.out / "model"), model.card)
    after = load_model(args.out / "model")
    record = {"model": model.card.name, "fp32_sha256": model.card.graphs["fp32"].sha256,
              "checkpoint_sha256": facts["sha256"], "fine_tuning": dataclasses.asdict(how),
              "data": {"name": "fer2013", "splits": args.split, "sha256": everything.sha256()},
              "held_out": {"before": done.before, "after": done.fitted.figures, "epoch": done.fitted.best_epoch + 1},
              "seconds": round(done.fitted.seconds, 1)}
    for split in args.split:
        faces = everything.split(split)
        record[split] = compare_fine_tuned(model, after, prepare_faces(faces.images, model.card.input), faces.labels)
        for name in ("int8", "fine_tuned_fp32", "fine_tuned_int8"):
            row = record[split][name]
            say(f"{split}  {name:<16} accuracy {row['accuracy']:.4f}  agreement with fp32 {row['agreement']:.2%}  "
                f"KL {row['mean_kl']:.5f}")
    record["made_on"] = describe_machine()
    if args.record:
        save_figures(args.record, record)
    say(f"{after.directory}  int8.onnx and int8-gpu.onnx with the ranges of {model.directory}")
    if args.json:
        print_json(record)
    return DONE


def _require_flags(args: argparse.Namespace, splits: Collection[str]) -> None:
    """Refuse, before anything is loaded, what would be found wrong after the training. Raises BadInput."""
    if args.seed < 0:
        raise BadInput(f"expected --seed of 0 or more, found {args.seed}")
    for split in args.split:
        if split not in splits:
            raise BadInput(f"expected --split of {', '.join(splits)}, found {split}")
    if any((args.out / name).exists() for name in ("best", "last", "model")):
        raise BadInput(f"expected a new folder for --out, found {args.out} with a run in it; choose another")


def _said(args: argparse.Namespace) -> str:
    """Return the command that fine-tunes this network again."""
    return shlex.join(["mien", "fine-tune", "CHECKPOINT", "--model", "MODEL", "--epochs", str(args.epochs), "--images",
                       str(args.images), "--batch-size", str(args.batch_size), "--learning-rate",
                       str(args.learning_rate), "--seed", str(args.seed), "--data", "PATH", "--out", "RUN"])


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("fine-tune", verb_fine_tune)
    p.add_argument("checkpoint", type=Path, help="the run's best that the model was exported from")
    p.add_argument("--model", type=Path, required=True, help="the calibrated model, or a shipped model's name")
    p.add_argument("--data", type=Path, required=True, help="FER2013; the epoch is chosen on its PublicTest")
    p.add_argument("--out", type=Path, required=True, help="a new run's folder")
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--images", type=int, default=4096, help="how many training faces, drawn at random")
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--learning-rate", type=float, default=2e-5, help="the schedule's peak")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--split", nargs="+", default=["PublicTest"], help="what to compare on afterwards")
    p.add_argument("--record", type=Path, help="write the figures to this JSON file")
