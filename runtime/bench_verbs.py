"""`mien bench stream`: its flags. Imports nothing heavy until it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import AddVerb, print_json, say
from runtime.errors import DONE, BadInput


def verb_bench_stream(args: argparse.Namespace) -> int:
    """Compare the stream with a bare loop of its detector and network, and time it from a frame to its event."""
    from runtime.bench.record import layout
    from runtime.bench.stream import Paced, measure, to_text
    from runtime.card import load_model
    from runtime.durable import write_text

    if args.record and not args.record.absolute().parent.is_dir():
        raise BadInput(f"expected a folder to write {args.record} into, found none; make it first")
    record = measure(args.clip, load_model(args.model), args.precision, args.faces, args.every, args.births,
                     Paced(args.fps, args.seconds))
    for line in to_text(record):
        say(line)
    if args.record:
        write_text(args.record, layout(record) + "\n")
        say(f"record: {args.record}")
    if args.json:
        print_json(record)
    return DONE


def add_verbs(verb: AddVerb) -> None:
    """Declare the verb and its flags."""
    p = verb("bench stream", verb_bench_stream)
    p.add_argument("clip", type=Path, help="a video with one face; mien demo leaves demo/clip.mp4")
    p.add_argument("--model", type=Path, default=Path("mien-light"),
                   help="a model directory, or the name of one that ships")
    p.add_argument("--precision", default="int8", choices=["fp32", "fp16", "int8"])
    p.add_argument("--faces", nargs="+", default=["mien-face", "haar"],
                   help="detectors: mien-face, model directories, haar, YuNet ONNX files")
    p.add_argument("--every", type=int, default=5, help="frames between two detections")
    p.add_argument("--births", type=int, default=2, help="detections in a row that make a face a track")
    p.add_argument("--fps", type=float, default=15.0, help="frames a second of the camera that is played")
    p.add_argument("--seconds", type=float, default=20.0, help="that each detector meets it; 0: it meets none")
    p.add_argument("--record", type=Path, help="write the run to this JSON file")
