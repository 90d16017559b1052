"""The verbs that run on a device: stream, doctor, bench. Flags and words here; the work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, UNAVAILABLE, BadInput

STREAM_FLAGS = ("source", "model", "precision", "target", "faces", "events", "video", "view", "max_frames",
                "max_faces", "threshold", "threads")


def verb_stream(args: argparse.Namespace) -> int:
    """Run the kiosk program on a camera, a video or a folder of images."""
    from runtime.stream import config_of, load_config, run_stream

    logging.basicConfig(format="mien: %(message)s")
    given = {name: getattr(args, name) for name in STREAM_FLAGS}
    if args.config:
        config = load_config(args.config, given)
    elif args.source:
        config = config_of(given)
    else:
        raise BadInput("expected a source or --config, found neither; mien stream 0 reads the first camera")
    summary = run_stream(config)
    say(summary.to_text())
    if args.json:
        print(summary.to_json(), flush=True)
    return DONE


def verb_doctor(args: argparse.Namespace) -> int:
    """Say what this machine can run and why not the rest."""
    from runtime.doctor import as_dict, can_stream, examine

    findings = examine()
    if args.json:
        print_json(as_dict(findings))
    for finding in () if args.json else findings:
        say(f"{'yes' if finding.works else 'no ':3} {finding.what}: {finding.found}"
            + (f"  →  {finding.fix}" if finding.fix else ""))
    return DONE if can_stream(findings) else UNAVAILABLE


def verb_bench(args: argparse.Namespace) -> int:
    """Time models and precisions side by side, interleaved; the first is what the others are compared with."""
    from runtime.bench import Entrant, bench
    from runtime.card import load_model
    from runtime.durable import write_text
    from runtime.engines import graph_for, open_engine
    from runtime.machine import describe_machine

    if args.rounds < 1 or min(args.batch) < 1:
        raise BadInput(f"expected at least one round and batches of one or more, found {args.rounds} and {args.batch}")
    entrants = []
    for path in args.models:
        model = load_model(path)
        for precision in args.precision:
            graph = graph_for(precision, args.target)
            engine = open_engine(model, precision, args.target, args.threads)
            entrants.append(Entrant(f"{model.card.name} {precision}", model, engine, model.card.graphs[graph].bytes))
    rows = [row for batch in args.batch for row in bench(entrants, batch, args.rounds)]
    say(f"{'engine':32} {'batch':>5} {'MB':>7} {'p50 ms':>9} {'p95 ms':>9} {'faces/s':>9} {'ratio':>7}")
    for row in rows:
        milliseconds = row["milliseconds"]
        say(f"{row['name']:32} {row['batch']:5} {row['bytes'] / 1e6:7.2f} {milliseconds['p50']:9.3f} "
            f"{milliseconds['p95']:9.3f} {row['faces_per_second']:9.1f} {row['ratio']:7.3f}")
    record = {"target": args.target, "threads": args.threads, "rounds": args.rounds, "rows": rows,
              "made_on": describe_machine()}
    if args.record:
        write_text(args.record, json.dumps(record, indent=2) + "\n")
    if args.json:
        print_json(record)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare this room's verbs and their flags."""
    p = verb("stream", verb_stream)
    p.add_argument("source", nargs="?", help="v4l2:///dev/video0, 0, a video file, a folder of images, an image")
    p.add_argument("--config", type=Path, help="a stream.yaml; the flags below override it")
    p.add_argument("--model", help="a model directory, or a shipped model's name")
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"])
    p.add_argument("--target", choices=["auto", "cpu", "tensorrt", "tensorrt-rtx"])
    p.add_argument("--faces", help="haar, or a YuNet ONNX file")
    p.add_argument("--events", type=Path, help="append events to this JSON-lines file")
    p.add_argument("--video", type=Path, help="write the annotated video here (.mp4 or .avi)")
    p.add_argument("--view", action="store_true", default=None, help="show a window")
    p.add_argument("--max-frames", type=int, help="stop after so many frames; 0 never")
    p.add_argument("--max-faces", type=int, help="read at most so many faces a frame, largest first")
    p.add_argument("--threads", type=int, help="CPU threads of the engines; 0: every core")
    p.add_argument("--threshold", type=float, help="probability below which a face is 'unsure'")

    p = verb("bench", verb_bench)
    p.add_argument("models", nargs="+", type=Path, help="model directories, or shipped models' names")
    p.add_argument("--precision", nargs="+", default=["fp32", "fp16", "int8"], choices=["fp32", "fp16", "int8"])
    p.add_argument("--target", default="cpu", choices=["cpu", "tensorrt", "tensorrt-rtx"])
    p.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    p.add_argument("--rounds", type=int, default=100)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--record", type=Path, help="write the table to this JSON file")

    verb("doctor", verb_doctor)
