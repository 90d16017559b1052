"""What the stream's crop costs an expression model: the same faces as the data set cuts them and as the stream does.

`python -m export.faces.crop_cost mien-light --data PATH --record FILE`. Accuracy on both, the paired loss with its 95 %
interval, on faces that the detector finds; how many it does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.agreement import paired_interval
from runtime.card import Model, load_model
from runtime.command_line import say
from runtime.durable import write_text
from runtime.engines import open_graph_on_cpu
from runtime.engines.face_batches import Logits, engine_logits, run_all
from runtime.errors import DONE, MienError
from runtime.face_input import FaceInput
from runtime.faces.detector import FaceDetector
from runtime.machine import describe_machine
from runtime.preprocess import prepare_faces
from train.datasets.fer2013 import load_fer2013
from train.datasets.labelled_faces import LabelledFaces
from train.expression.stream_crops import aligned_input, open_crop_detector, stream_crops


def crop_cost(model: Model, data: Path, splits: Sequence[str], aligned: bool) -> dict[str, Any]:
    """Return the record. aligned: by landmarks, whatever the card says. Raises BadInput, BadModel."""
    how = aligned_input(model.card.input) if aligned else model.card.input
    faces = load_fer2013(data)
    detector = open_crop_detector()
    engine = engine_logits(open_graph_on_cpu(model, "fp32"), model)
    found = {split: _of_split(faces.split(split), how, detector, engine) for split in splits}
    return {"model": model.card.name, "sha256": model.card.graphs["fp32"].sha256, "detector": detector.name,
            "aligned_by_landmarks": how.template is not None, "data": {"name": "fer2013", "sha256": faces.sha256()},
            "splits": found, "made_on": describe_machine()}


def _of_split(faces: LabelledFaces, how: FaceInput, detector: FaceDetector, engine: Logits) -> dict[str, Any]:
    crops, seen = stream_crops(faces.images, how, detector)
    labels = faces.labels[seen]
    own = run_all(engine, prepare_faces(faces.images[seen], how), "own crop").argmax(1) == labels
    streamed = run_all(engine, crops[seen], "stream's crop").argmax(1) == labels
    low, high = paired_interval(own, streamed)
    return {"faces": len(seen), "found": int(seen.sum()), "accuracy_own": float(own.mean()),
            "accuracy_streamed": float(streamed.mean()), "points_lost": 100 * float(own.mean() - streamed.mean()),
            "low": 100 * low, "high": 100 * high}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, say, record; returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m export.faces.crop_cost",
                                     description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="an expression model's directory, or the name of one that ships")
    parser.add_argument("--data", type=Path, required=True, help="FER2013's folder")
    parser.add_argument("--split", nargs="+", default=["PublicTest", "PrivateTest"])
    parser.add_argument("--aligned", action="store_true", help="by landmarks, whatever the card says")
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args(arguments)
    try:
        record = crop_cost(load_model(args.model), args.data, args.split, args.aligned)
    except MienError as error:
        say(f"mien: {error}")
        return error.exit_code
    for split, of in record["splits"].items():
        say(f"{split}: {of['found']} of {of['faces']} faces found; accuracy {of['accuracy_own']:.4f} as the data set "
            f"cuts them, {of['accuracy_streamed']:.4f} as the stream does: {of['points_lost']:.2f} points lost "
            f"({of['low']:.2f} to {of['high']:.2f})")
    if args.record:
        write_text(args.record, json.dumps(record, indent=2) + "\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
