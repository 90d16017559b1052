"""A device's verbs: stream, dashboard, purge, prepare, doctor, bench, slot. Flags and words; the work is elsewhere.

Imports nothing heavy until a verb runs."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from runtime import bench_verbs
from runtime.command_line import AddVerb, print_json, say
from runtime.drift import verbs as drift_verbs
from runtime.errors import DONE, UNAVAILABLE, BadInput
from runtime.slots import verbs as slot_verbs

TARGETS = ("cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx")
STREAM_FLAGS = ("source", "model", "precision", "target", "cache", "faces", "events", "video", "view", "max_frames",
                "max_faces", "threshold", "threads", "face_side", "face_threshold")


def verb_stream(args: argparse.Namespace) -> int:
    """Run the kiosk program on a camera, a video or a folder of images."""
    from runtime.supervision.stop_request import outlive_export_requests

    outlive_export_requests()  # before the libraries load
    from runtime.stream import config_of, load_config, run_stream
    from runtime.supervision.core_dumps import forbid_core_dumps

    logging.basicConfig(format="mien: %(message)s")
    forbid_core_dumps()
    given = {name: getattr(args, name) for name in STREAM_FLAGS}
    if args.config:
        config = load_config(args.config, given)
    elif args.source:
        config = config_of(given)
    else:
        raise BadInput("expected a source or --config, found neither; mien stream 0 reads the first camera")
    if args.print_config:
        if args.json:
            print_json(config.to_dict())
        else:
            print(config.to_yaml(), end="")
        return DONE
    summary = run_stream(config, (lambda: load_config(args.config, given)) if args.config else None)
    say(summary.to_text())
    if args.json:
        print(summary.to_json(), flush=True)
    return DONE


def verb_dashboard(args: argparse.Namespace) -> int:
    """Serve the web page of the stream that runs with the same stream.yaml."""
    from runtime.dashboard.access import make_token
    from runtime.dashboard.run import run_dashboard
    from runtime.supervision.core_dumps import forbid_core_dumps

    logging.basicConfig(format="mien: %(message)s")
    forbid_core_dumps()
    if args.make_token:
        make_token(args.make_token)
        say(f"a new token lies in {args.make_token}; name it as dashboard.token_file")
    elif args.config:
        run_dashboard(args.config)
    else:
        raise BadInput("expected --config or --make-token, found neither; mien dashboard --config stream.yaml")
    return DONE


def verb_purge(args: argparse.Namespace) -> int:
    """List, and with --yes delete, what a stream left that tells of people."""
    import os
    from contextlib import nullcontext

    from runtime.purge import delete, is_running, kinds_of, look, no_stream, seconds_of
    from runtime.stream_config import load_config
    from runtime.supervision.supervision import state_folder

    config, older_than = load_config(args.config), seconds_of(args.older_than) if args.older_than else 0.0
    kinds = kinds_of(config, os.environ)
    live = any(each.kind.live for each in look(kinds, older_than)[0])
    spared = live and bool(older_than) and is_running(config, os.environ)
    with no_stream(config, os.environ) if live and args.yes and not spared else nullcontext():
        found, alone = look(kinds, older_than)
        if spared:
            alone += [f"{each.path}  is a running stream's and stays" for each in found if each.kind.live]
            found = [each for each in found if not each.kind.live]
        for line in [*(each.to_text() for each in found), *alone]:
            say(line)
        if args.yes:
            delete(found)
    if state_folder(config.supervision, os.environ) is None:
        say("no supervision.state and no STATE_DIRECTORY is set here: a service's histograms and what it learned were "
            "not looked for")
    if args.yes and config.dashboard.port:
        say("a dashboard that runs keeps its chart of a day and its last events in memory: restart it")
    say(f"{len(found)} files, {sum(each.bytes for each in found)} bytes: "
        f"{'deleted' if args.yes else 'nothing was deleted; --yes deletes them'}")
    if args.json:
        print_json({"deleted": args.yes, "files": [str(each.path) for each in found], "left": alone})
    return DONE


def verb_prepare(args: argparse.Namespace) -> int:
    """Compile what a stream will open on the GPU here, prove it on golden faces, keep it; on a CPU only prove."""
    from runtime.card import load_model
    from runtime.engines.cache import EngineCache, engine_folder
    from runtime.faces import detector_model
    from runtime.prepare import OnCpu, precisions_of, prepare
    from runtime.stream_config import StreamConfig, load_config

    logging.basicConfig(format="mien: %(message)s")
    asked = load_config(args.config) if args.config else StreamConfig  # the class holds the defaults
    model, target = load_model(Path(args.model or asked.model)), args.target or asked.target
    if min(args.quota_mb, args.timeout) <= 0:
        raise BadInput(f"expected a quota and a time above 0, found {args.quota_mb} MiB and {args.timeout:g} s")
    cache = EngineCache(engine_folder(args.cache or asked.cache), quota_bytes=args.quota_mb << 20)
    engines, on_cpu = [], {}
    wanted = [(model, precision, precision)
              for precision in precisions_of(model, args.precision or [asked.precision], target, args.every)]
    detector = None if args.model else detector_model(asked.faces)
    if detector:
        wanted += [(detector, precision, f"{detector.card.name} {precision}")
                   for precision in precisions_of(detector, [asked.face_precision], target, args.every)]
    for each, precision, name in wanted:
        done = prepare(each, precision, target, cache, args.timeout)
        say(f"{each.card.name} {precision}: {done.to_text()}")
        if isinstance(done, OnCpu):
            on_cpu[name] = done.why
        else:
            engines.append(done.facts())
            cache = replace(cache, keep=(*cache.keep, done.prepared.cached.path))  # no later one takes its room
    if args.json:
        print_json({"model": model.card.name, "engines": engines, "on_cpu": on_cpu})
    return DONE


def verb_doctor(args: argparse.Namespace) -> int:
    """Say what this machine can run and why not the rest."""
    from runtime.doctor import as_dict, can_stream, examine
    from runtime.engines.devices import as_markdown

    if args.devices:
        print(as_markdown(), end="")
        return DONE
    findings = examine()
    if args.json:
        print_json(as_dict(findings))
    for finding in () if args.json else findings:
        say(finding.to_text())
    return DONE if can_stream(findings) else UNAVAILABLE


def verb_bench(args: argparse.Namespace) -> int:
    """Time models and precisions side by side, interleaved; the first is what the others are compared with."""
    from runtime.bench.accuracy import read_checks
    from runtime.bench.against import compare_records, exit_code_of, read_record
    from runtime.bench.picture import require_picture, save_latencies
    from runtime.bench.record import save_record, table
    from runtime.bench.run import Plan, run_bench

    if args.rounds < 1 or min(args.batch, default=1) < 1 or args.tolerance < 0:
        raise BadInput(f"expected at least one round, batches of one or more and a tolerance of 0 or more, found "
                       f"{args.rounds}, {args.batch or 'the usual batches'} and {args.tolerance}")
    if args.picture:
        require_picture(args.picture)
    if args.record and not (args.record.is_dir() or args.record.parent.is_dir()):
        raise BadInput(f"expected a folder to write {args.record} into, found none; make it first")
    logging.basicConfig(format="mien: %(message)s")
    old = read_record(args.against) if args.against else None
    record, failed = run_bench(Plan(tuple(args.models), tuple(args.precision or ()), args.target, tuple(args.batch),
                                    args.rounds, args.threads, checks=read_checks(args.checks)))
    for line in table(record["rows"]):
        say(line)
    changes = compare_records(record, old, args.tolerance) if old else []
    for change in changes:
        say(change.to_text())
    if args.against:
        record["against"] = {"record": args.against.name, "tolerance": args.tolerance,
                             "changes": [vars(change) for change in changes]}
    if args.record:
        say(f"record: {save_record(args.record, record)}")
    if args.picture:
        save_latencies(args.picture, record["rows"])
    if args.json:
        print_json(record)
    return failed or exit_code_of(changes)


def add_verbs(verb: AddVerb) -> None:
    """Declare this room's verbs and their flags."""
    drift_verbs.add_verbs(verb)

    p = verb("stream", verb_stream)
    p.add_argument("source", nargs="?", help="v4l2:///dev/video0, 0, a video file, a folder of images, an image")
    p.add_argument("--config", type=Path, help="a stream.yaml; the flags below override it")
    p.add_argument("--print-config", action="store_true", help="print every key as it would be used, and stop")
    p.add_argument("--model", help="a model directory, or a shipped model's name")
    p.add_argument("--precision", choices=["fp32", "fp16", "int8"])
    p.add_argument("--target", choices=["auto", "cpu", "tensorrt", "tensorrt-rtx"])
    p.add_argument("--cache", type=Path, help="where mien prepare left the engines")
    p.add_argument("--faces", help="mien-face, a model directory, haar, or a YuNet ONNX file")
    p.add_argument("--face-side", type=int, help="pixels of the longer side of what a face model searches on the CPU")
    p.add_argument("--face-threshold", type=float, help="score below which a box is no face; 0: the detector's own")
    p.add_argument("--events", type=Path, help="append events to this JSON-lines file")
    p.add_argument("--video", type=Path, help="write the annotated video here (.mp4 or .avi)")
    p.add_argument("--view", action="store_true", default=None, help="show a window")
    p.add_argument("--max-frames", type=int, help="stop after so many frames; 0 never")
    p.add_argument("--max-faces", type=int, help="read at most so many faces a frame, largest first")
    p.add_argument("--threads", type=int, help="CPU threads of the engines; 0: every core")
    p.add_argument("--threshold", type=float, help="probability below which a face is 'unsure'")

    p = verb("dashboard", verb_dashboard)
    p.add_argument("--config", type=Path, help="the stream.yaml that the stream runs with")
    p.add_argument("--make-token", type=Path, metavar="FILE", help="write a new token to a new file, and stop")

    p = verb("purge", verb_purge)
    p.add_argument("--config", type=Path, required=True, help="the stream.yaml whose stream wrote it")
    p.add_argument("--older-than", metavar="AGE", help="only what was last written before: 7d, 12h, 30m")
    p.add_argument("--yes", action="store_true", help="delete; without it they are only listed")

    p = verb("prepare", verb_prepare)
    p.add_argument("model", nargs="?", help="a model directory, or a shipped model's name")
    p.add_argument("--config", type=Path, help="the service's stream.yaml; what is given here overrides it")
    p.add_argument("--precision", nargs="+", choices=["fp32", "fp16", "int8"])
    p.add_argument("--every", action="store_true",
                   help="on the CPU also the precisions that nobody asks for: a stream falls back to them")
    p.add_argument("--target", choices=["auto", "cpu", "tensorrt", "tensorrt-rtx"])
    p.add_argument("--cache", type=Path, help="where engines are kept; ~/.cache/mien/engines unless said otherwise")
    p.add_argument("--quota-mb", type=int, default=1024, help="what all engines there may take, MiB; oldest go first")
    p.add_argument("--timeout", type=float, default=1800.0, help="seconds an engine may take to compile")

    p = verb("bench", verb_bench)
    p.add_argument("models", nargs="+", type=Path, help="model directories, or shipped models' names")
    p.add_argument("--precision", nargs="+", choices=["fp32", "fp16", "int8"], help="default: all that a model has")
    p.add_argument("--target", default="cpu", choices=TARGETS)
    p.add_argument("--batch", nargs="+", type=int, default=[],
                   help="batch sizes to sweep; 1 and 8 unless a model is made for less")
    p.add_argument("--rounds", type=int, default=100, help="timed runs of each engine and batch")
    p.add_argument("--threads", type=int, default=1, help="CPU threads of each engine; 0: every core")
    p.add_argument("--record", type=Path, help="write the run to this JSON file, or into this folder under a name")
    p.add_argument("--checks", type=Path, nargs="+", default=[], metavar="RECORD",
                   help="records of mien check: what the table says of accuracy")
    p.add_argument("--picture", type=Path, help="draw latency histograms here (.png)")
    p.add_argument("--against", type=Path, help="compare with this record: exit 1 slower, 4 too few rounds to tell")
    p.add_argument("--tolerance", type=float, default=0.05, help="share by which a median may be slower (0.05)")

    bench_verbs.add_verbs(verb)

    p = verb("doctor", verb_doctor)
    p.add_argument("--devices", action="store_true", help="print the table of JetPacks and desktops that are known")

    slot_verbs.add_verbs(verb)
