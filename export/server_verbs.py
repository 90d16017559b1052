"""`mien export --triton DIR` and `--deepstream DIR`: flags and words. The work is in `triton/` and `deepstream.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command_line import print_json, say
from runtime.errors import DONE, BadInput


def export_for_server(args: argparse.Namespace) -> int:
    """Write a model directory for a server of many cameras."""
    from export.deepstream import deepstream_files
    from export.new_folder import write_new_folder
    from export.triton.repository import Serving, repository_files
    from runtime.card import load_model

    other = [flag for flag in ("out", "data") if getattr(args, flag) is not None]
    if other:
        raise BadInput(f"expected a model directory and no --{other[0]} beside --triton or --deepstream, found it; "
                       "export the checkpoint first")
    if args.triton and args.deepstream:
        raise BadInput("expected one of --triton and --deepstream, found both; run mien export twice")
    model = load_model(args.checkpoint)
    if args.deepstream:
        files, where = deepstream_files(model, args.precision, args.threshold, args.max_faces), args.deepstream
    else:
        serving = Serving(args.target, args.precision, args.face_precision, args.max_faces, args.threshold,
                          at_once=args.at_once)
        files, where = repository_files(model, load_model(args.faces), serving), args.triton
    write_new_folder(where, files)
    size = sum(map(len, files.values()))
    say(f"{where}  {len(files)} files, {size / 1e6:.2f} MB")
    if "build-plans.sh" in files:
        say(f"no engine is among them: run {where / 'build-plans.sh'} where they will serve")
    if args.json:
        print_json({"folder": str(where), "files": len(files), "bytes": size})
    return DONE


def add_server_flags(p: argparse.ArgumentParser) -> None:
    """Declare the flags on `mien export`'s parser."""
    p.add_argument("--triton", type=Path, metavar="DIR",
                   help="of a model directory: write a model repository for Triton Inference Server")
    p.add_argument("--deepstream", type=Path, metavar="DIR",
                   help="of a model directory: write what DeepStream's nvinfer reads expressions with")
    p.add_argument("--faces", type=Path, default=Path("mien-face"),
                   help="with --triton: the detector's model directory")
    p.add_argument("--target", choices=["cpu", "tensorrt"], default="cpu",
                   help="with --triton: ONNX Runtime on the CPU, or plans that the server compiles for its GPU")
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="fp32", help="of the served expressions")
    p.add_argument("--face-precision", choices=["fp32", "fp16", "int8"], default="fp32", help="of the served detector")
    p.add_argument("--max-faces", type=int, default=8, help="largest faces of a frame that are read")
    p.add_argument("--threshold", type=float, default=0.4, help="probability below which a served face is unsure")
    p.add_argument("--at-once", type=int, default=4, help="with --triton: frames that are worked on at a time")
