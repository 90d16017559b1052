"""The verbs of the workstation's first half: data check, train, evaluate, report, results. The work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput
from train.faces import verbs as faces_verbs

if TYPE_CHECKING:
    from train.expression.open_network import OpenNetwork

VIEWS = ["single", "mirror", "ten-crop"]


def verb_data_check(args: argparse.Namespace) -> int:
    """Print what a data set holds: splits, classes, copies across splits, damaged files."""
    from train.datasets import DATASETS, FOLDERS
    from train.datasets.own_faces import classes_in, load_own_faces, shrunk
    from train.datasets.summary import as_text, summarize

    read_as = {"read_as": "48×48 grey"}
    if args.name == FOLDERS:
        summary = summarize(load_own_faces(args.path, classes_in(args.path), shrunk), None) | read_as
    elif args.name in DATASETS:
        chosen = DATASETS[args.name]
        whole = chosen.photographs(args.path)
        summary = summarize(chosen.load(args.path, shrunk if whole else None), chosen.published)
        summary |= read_as if whole else {}
    else:
        raise BadInput(f"expected a data set of {', '.join(DATASETS)}, or {FOLDERS}, found {args.name!r}")
    print_json(summary) if args.json else say(as_text(summary))
    return DONE


def verb_train(args: argparse.Namespace) -> int:
    """Train a network by a recipe; leaves best/, last/ and metrics.jsonl in --out. torchrun shares it between GPUs."""
    from train.distributed import joined
    from train.expression.parts import load_faces
    from train.expression.run import train_expression
    from train.recipe import load_recipe

    _require_start(args)
    recipe = load_recipe(args.recipe, args.set, epochs=args.epochs, seed=args.seed, fold=args.fold)
    with joined() as group:
        fitted = train_expression(recipe, load_faces(recipe, args.data), args.out, args.resume, args.init, group,
                                  _said("train", args), args.new_head)
        if group.first:
            say(f"kept epoch {fitted.best_epoch + 1} of {recipe.epochs}: held-out accuracy "
                f"{fitted.figures['accuracy']:.4f}, in {args.out / 'best'} after {fitted.seconds / 60:.0f} minutes")
            if args.json:
                print_json({"best_epoch": fitted.best_epoch + 1, "seconds": fitted.seconds, **fitted.figures})
    return DONE


def verb_cross_validate(args: argparse.Namespace) -> int:
    """Train and measure a recipe's ten folds; leaves fold-0/ … and folds.json in --out. Run again, it goes on."""
    from train.distributed import require_one_process
    from train.expression.cross_validate import cross_validate
    from train.expression.parts import load_faces
    from train.recipe import load_recipe

    require_one_process("cross-validate")
    _require_start(args)
    recipe = load_recipe(args.recipe, args.set, epochs=args.epochs, seed=args.seed)
    record = cross_validate(recipe, load_faces(recipe, args.data), args.out, _said("cross-validate", args),
                            args.init, args.new_head)
    for name, views in (("accuracy", "single view"), ("accuracy_of_views", recipe.test_views)):
        figures = record[name]
        say(f"{views}: mean {figures['mean']:.4f} ± {figures['standard_deviation']:.4f}, best fold "
            f"{figures['best']:.4f}, worst {figures['worst']:.4f}")
    shared = record["folds"][0]["people_on_both_sides"]
    if shared:
        say(f"{shared} people of the first fold's test are also in its training; nobody is with "
            "--set protocol=ten-fold-by-subject")
    if args.json:
        print_json(record)
    return DONE


def verb_bench_train(args: argparse.Namespace) -> int:
    """Measure training's speed against its limits: the loop, the augmentation, the memory of FER2013."""
    from runtime.durable import write_text
    from runtime.machine import describe_machine
    from train.datasets.fer2013 import load_fer2013
    from train.speed import measure

    figures = measure(load_fer2013(args.data).split("Training"), args.data) | {"made_on": describe_machine()}
    for network, loop in figures["loop"].items():
        say(f"{network}: the loop takes {loop['ours']:.0f} images/s, {loop['ratio']:.1%} of the bare step's")
    for name, pair in figures["augmentation"].items():
        if isinstance(pair, dict):
            say(f"{name}: {pair['ours']:.0f} images/s, {pair['ratio']:.1f} times PIL's {pair['theirs']:.0f}")
    say(f"FER2013 in memory: {figures['memory']['peak_mib_of_loading_fer2013']} MiB at the peak")
    if args.record:
        write_text(args.record, json.dumps(figures, indent=2) + "\n")
    if args.json:
        print_json(figures)
    return DONE


def _require_start(args: argparse.Namespace) -> None:
    if args.new_head and args.init is None:
        raise BadInput("expected --new-head with --init, found it alone; without --init every layer starts at random")


def _said(verb: str, args: argparse.Namespace) -> str:
    """Return the command that trains this network again."""
    words = ["mien", verb, "--recipe", args.recipe]
    words += [word for change in args.set for word in ("--set", change)]
    words += [word for key in ("fold", "epochs", "seed") if (value := getattr(args, key, None)) is not None
              for word in (f"--{key}", str(value))]
    words += ["--init", str(args.init)] if getattr(args, "init", None) else []
    words += ["--new-head"] if getattr(args, "new_head", False) else []
    return shlex.join([*words, "--data", "PATH", "--out", "RUN"])


def verb_evaluate(args: argparse.Namespace) -> int:
    """Measure a network, or the mean of several, on labelled faces or one face image; --out keeps what was found."""
    from runtime.machine import describe_machine
    from train.expression.evaluate import evaluate
    from train.expression.figures_folder import write_figures
    from train.expression.figures_text import as_text
    from train.expression.measured_faces import load_measurement
    from train.expression.open_network import open_network

    if (args.data is None) == (args.image is None):
        raise BadInput(f"expected either --data or --image, found {'neither' if args.data is None else 'both'}; "
                       "--data PATH measures on a data set")
    networks = [open_network(path, args.precision) for path in args.networks]
    if args.image:
        return _read_image(args, networks)
    measured = load_measurement(networks[0], args.data, args.dataset, args.split)
    report = evaluate(networks, measured, args.views) | {"made_on": describe_machine()}
    say("\n".join(as_text(report)))
    if args.out:
        write_figures(report, args.out)
    if args.json:
        print_json(report)
    return DONE


def _read_image(args: argparse.Namespace, networks: list[OpenNetwork]) -> int:
    """Say how probable each expression is on one face image, and draw it in --out."""
    from runtime.camera.image_files import read_image
    from train.expression.pictures.probabilities import draw_probabilities
    from train.expression.pictures.style import save_png
    from train.expression.probabilities import read_face

    read = read_face(networks, read_image(args.image), args.views)
    for label, probability in read.best_first():
        say(f"{label:12} {100 * probability:6.2f} %")
    if args.out:
        save_png(draw_probabilities(read.face, read.probabilities, read.labels, args.image.name),
                 args.out / "probabilities.png")
    if args.json:
        print_json({"image": str(args.image), "probabilities": dict(read.best_first())})
    return DONE


def verb_report(args: argparse.Namespace) -> int:
    """Lay a run out as one HTML page: recipe, data, curves, confusion, calibration; --data measures it first."""
    from runtime.durable import write_text
    from train.expression.report_page import report_page
    from train.expression.run_figures import figures_of_run
    from train.expression.run_history import read_run

    run = read_run(args.run_folder)
    report = figures_of_run(args.run_folder, run, args.data, args.views)
    out = args.out or args.run_folder / "report.html"
    write_text(out, report_page(run, report))
    say(f"{out}  {run.name}, {len(run.epochs)} epochs" + ("" if report else ", not measured: --data measures it"))
    if args.json:
        print_json({"page": str(out), "figures": report})
    return DONE


def verb_results(args: argparse.Namespace) -> int:
    """Set runs side by side, each beside its paper's figure: a Markdown table, results.json and a chart a data set."""
    from runtime.durable import write_text
    from train.expression.pictures.ablation import draw_ablation
    from train.expression.pictures.style import save_png
    from train.expression.results_record import FILE, as_record, joined, read_rows
    from train.expression.results_table import as_bars, as_markdown, gather
    from train.expression.run_figures import require_figures, runs_in
    from train.expression.run_history import read_run

    tables = [path for path in args.runs if path.name.endswith(".json")]
    runs = [(path, read_run(path)) for given in args.runs if given not in tables for path in runs_in(given)]
    measured = gather([(run, require_figures(path, run, args.data, args.views)) for path, run in runs])
    rows = joined([row for table in tables for row in read_rows(table)], measured)
    record = as_record(rows)
    say(as_markdown(rows).rstrip())
    if args.out:
        write_text(args.out / "results.md", as_markdown(rows))
        write_text(args.out / FILE, json.dumps(record, indent=2, allow_nan=False) + "\n")
        for data in dict.fromkeys(row.data for row in rows):
            tested = ", ".join(dict.fromkeys(row.reported_on for row in rows if row.data == data))
            save_png(draw_ablation(as_bars(rows, data), f"{data} ({tested}), single view"),
                     args.out / f"results-{data}.png")
    if args.json:
        print_json(record)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare this room's verbs and their flags."""
    faces_verbs.add_verbs(verb)
    p = verb("check", verb_data_check, "data")
    p.add_argument("name", help="fer2013, ck-plus, raf-db, sfew, rafd, or folders: your own, one a class")
    p.add_argument("path", type=Path, help="its folder; FER2013 also as fer2013.csv")

    p = verb("train", verb_train)
    p.add_argument("--recipe", required=True, help="a shipped recipe's name, or a YAML file")
    p.add_argument("--data", type=Path, required=True, help="the recipe's data set, or with data: folders "
                   "your own faces, one folder a class; FER2013 also as fer2013.csv")
    p.add_argument("--out", type=Path, required=True, help="the run's folder")
    _add_start(p)
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe: "
                   "network_options.hidden=256, augmentation.flip=0; may be given again")
    p.add_argument("--fold", type=int, help="of ten-fold, 0–9, instead of the recipe's")
    p.add_argument("--epochs", type=int, help="instead of the recipe's")
    p.add_argument("--seed", type=int, help="instead of the recipe's")
    p.add_argument("--resume", action="store_true", help="continue from --out's last epoch")

    p = verb("bench-train", verb_bench_train)
    p.add_argument("--data", type=Path, required=True, help="FER2013's folder, or fer2013.csv")
    p.add_argument("--record", type=Path, help="write the figures to this JSON file")

    p = verb("cross-validate", verb_cross_validate)
    p.add_argument("--recipe", required=True, help="a recipe with protocol: ten-fold, or a YAML file")
    p.add_argument("--data", type=Path, required=True, help="the recipe's data set")
    p.add_argument("--out", type=Path, required=True, help="the runs' folder")
    _add_start(p)
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe, as in train")
    p.add_argument("--epochs", type=int, help="instead of the recipe's")
    p.add_argument("--seed", type=int, help="instead of the recipe's")

    p = verb("evaluate", verb_evaluate)
    p.add_argument("networks", nargs="+", type=Path, metavar="NETWORK",
                   help="a run's best or last, or a model directory; of several the probabilities are averaged")
    p.add_argument("--data", type=Path, help="the data set they were trained on, or --dataset's")
    p.add_argument("--dataset", default="", help="if not their own: fer2013, ck-plus, raf-db, sfew or rafd")
    p.add_argument("--split", nargs="+", default=[], help="instead of the usual: PublicTest PrivateTest of FER2013")
    p.add_argument("--views", default="single", choices=VIEWS, help="averaged, beside the single view")
    p.add_argument("--image", type=Path, help="instead of --data: one image that is a face from edge to edge")
    p.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "int8"], help="of a model directory")
    p.add_argument("--out", type=Path, help="where figures.json and the PNGs go")

    p = verb("report", verb_report)
    p.add_argument("run_folder", type=Path, metavar="RUN", help="the --out of mien train")
    p.add_argument("--data", type=Path, help="measure what RUN/figures does not hold yet")
    p.add_argument("--views", choices=VIEWS, help="instead of the recipe's")
    p.add_argument("--out", type=Path, help="the page; RUN/report.html")

    p = verb("results", verb_results)
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the --out of mien train or cross-validate, or "
                   "an earlier results.json: its rows come first, but for those measured anew")
    p.add_argument("--data", type=Path, help="measure what a run's figures folder does not hold yet")
    p.add_argument("--views", choices=VIEWS, help="instead of each recipe's")
    p.add_argument("--out", type=Path, help="where results.md, results.json and the charts go")


def _add_start(p: argparse.ArgumentParser) -> None:
    """Declare what a training starts from."""
    p.add_argument("--init", type=Path, metavar="FILE", help="start from a checkpoint directory, or from torchvision's "
                   "VGG16 as .safetensors; for other classes the layers that answer start at random")
    p.add_argument("--new-head", action="store_true", help="with --init: the layers that answer start at random")
