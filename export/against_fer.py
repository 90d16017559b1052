"""The stream beside the `fer` package on the demo's clip, in turns on the same cores: frames a second, recall, labels.

python -m export.against_fer --fer-python /path/to/fer/bin/python --record docs/results/bench-fer-cpu.json

fer (https://github.com/justinshenk/fer, MIT) detects every frame with OpenCV's default Haar cascade at full size and
reads faces with a quantized TensorFlow Lite network. It lives in an environment of its own: mien does not depend on it.
Both run one thread; times are of each process's own processor, which stand while others compute. Where the face is
follows from how the clip was rendered, so neither detector judges. What the person expresses nobody knows: labels, ours
as the stream shows them, are compared with each other, and by how often they change from one frame to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from export import fer_frames
from export.clip import render_clip, view_at, view_matrix
from export.photograph import FACE, load_photograph
from runtime.bench.bootstrap import interval_of_median
from runtime.bench.record import layout
from runtime.bench.stream import Run
from runtime.card import Model, load_model
from runtime.durable import write_text
from runtime.engines import open_engine
from runtime.errors import DONE, BadInput, MienError, Unavailable
from runtime.expressions import ExpressionReader
from runtime.faces import open_detector
from runtime.faces.model_detector import LONGEST_SIDE
from runtime.machine import describe_machine
from runtime.stream_config import TrackingConfig
from runtime.tracks.tracks import overlaps

FPS, SIZE = 25.0, (640, 480)  # of the demo's clip
CHUNK = 10  # frames a turn
INSIDE = 0.9  # share of the face that must lie in a frame for a detector to be asked for it
FOUND = 0.3  # overlap from which a box is that of the face: some detectors frame it from the brow, some from the hair
DEFAULT_TRACKING = TrackingConfig()
ASKED = {"every_frame": 2.5, "default_cadence": 8.0}  # times fer's frames a second


def faces_of_clip(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the face is in each frame of the clip: boxes (frames, 4) px, and the share (frames,) inside it."""
    boxes = np.zeros((frames, 4))
    centre, side = np.array([FACE[0] + FACE[2] / 2, FACE[1] + FACE[3] / 2, 1.0]), FACE[2]
    for index in range(frames):
        view = view_at(index / max(1, frames - 1))
        enlarged = side * SIZE[0] / view.width
        boxes[index] = (*(view_matrix(view, SIZE) @ centre - enlarged / 2), enlarged, enlarged)
    inside = np.minimum(boxes[:, :2] + boxes[:, 2:], SIZE) - np.maximum(boxes[:, :2], 0)
    return boxes, np.prod(np.maximum(inside, 0), axis=1) / np.prod(boxes[:, 2:], axis=1)


class Fer:
    """fer in its own interpreter; closed by `with`."""

    def __init__(self, python: Path, frames: Path):
        """Start it and wait until it has loaded. Raises Unavailable where that interpreter has no fer."""
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        self._said = TemporaryFile("w+")  # noqa: SIM115  # closed by _end; a pipe that nobody reads would fill
        try:
            self._child = subprocess.Popen([str(python), "-I", str(fer_frames.__file__), str(frames)], text=True,
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                                           env=environment)
        except OSError as error:
            self._said.close()
            raise BadInput(f"expected a Python interpreter, found {python}: {error.strerror}; "
                           "check the path") from error
        try:
            self.versions: dict[str, str] = self._read()["versions"]
        except BaseException:
            self._end()
            raise

    def look(self, first: int, last: int) -> dict[str, Any]:
        """Have it look at the frames first … last - 1; returns wall and processor seconds, and faces a frame."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{first} {last}\n")
        self._child.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            raise Unavailable(f"expected fer to answer, found: {said[-1] if said else 'nothing'}; "
                              "give --fer-python an interpreter that has the package fer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Fer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()
        self._said.close()


def compare(python: Path, model: Model, precision: str, faces: str, frames: int, face_side: int = LONGEST_SIDE,
            tracking: TrackingConfig = DEFAULT_TRACKING) -> dict[str, Any]:
    """Return all figures of the module's docstring; face_side, px, is what mien's own detector searches.

    Raises BadInput, Unavailable.
    """
    if frames < 3 * CHUNK or frames % CHUNK:
        raise BadInput(f"expected 30 frames or more, in tens, found {frames}")
    cv2.setNumThreads(1)
    load, images = os.getloadavg(), list(render_clip(load_photograph(), frames, SIZE))
    with TemporaryDirectory(prefix="mien-fer-") as folder, \
            closing(open_detector(faces, threads=1, longest_side=face_side)) as detector, \
            closing(open_engine(model, precision, "cpu", 1)) as engine:
        np.save(Path(folder) / "frames.npy", np.stack(images))
        reader = ExpressionReader(model, engine)

        def run(every: int, births: int) -> Run:
            return Run(images, FPS, detector, reader, every, births)

        with Fer(python, Path(folder) / "frames.npy") as fer:
            for warming in (run(1, 1), run(tracking.detect_every, tracking.births)):
                warming.turn(CHUNK)
            fer.look(0, CHUNK)
            ours = {"every_frame": run(1, 1), "default_cadence": run(tracking.detect_every, tracking.births)}
            seconds, seen = _take_turns(fer, ours, frames)
    boxes, inside = faces_of_clip(frames)
    theirs = [[(np.array(face["box"]), face["label"]) for face in found] for found in seen]
    said = {"fer": theirs, **{name: [list(zip(shown.boxes, shown.steady)) for shown in each.shown]
                              for name, each in ours.items()}}
    rows = {name: {**_rates(seconds, place), **_judged(said[name], boxes, inside)}
            for place, name in enumerate(said)}
    gained = {name: rows[name]["gained"]["median"] for name in ASKED}
    return {"clip": {"frames": frames, "fps": FPS, "size": list(SIZE), "with_face": int((inside >= INSIDE).sum())},
            "fer": fer.versions, "model": model.card.name, "precision": precision, "detector": Path(faces).name,
            "face_side": face_side, "threads": 1, "cores": len(os.sched_getaffinity(0)),
            "every": tracking.detect_every, "asked": ASKED,
            "met": {name: gained[name] >= least for name, least in ASKED.items()}, "rows": rows,
            "same_label_as_fer": {name: _same(said[name], theirs, boxes) for name in ASKED},
            "load_average": {"before": load, "after": os.getloadavg()}, "made_on": describe_machine()}


def _take_turns(fer: Fer, ours: dict[str, Run], frames: int) -> tuple[np.ndarray, list[list[dict[str, Any]]]]:
    """Let all look at CHUNK frames in turn; returns (turns, entrants, 2) seconds of processor and wall, fer's faces."""
    seconds = np.zeros((frames // CHUNK, 1 + len(ours), 2))
    seen: list[list[dict[str, Any]]] = []
    runs = list(ours.values())
    for turn in range(len(seconds)):
        for place in np.roll(np.arange(1 + len(runs)), turn):
            if place == 0:
                answer = fer.look(turn * CHUNK, (turn + 1) * CHUNK)
                seconds[turn, 0] = answer["processor"], answer["wall"]
                seen += answer["faces"]
            else:
                processor, wall = time.process_time(), time.perf_counter()
                runs[place - 1].turn(CHUNK)
                seconds[turn, place] = time.process_time() - processor, time.perf_counter() - wall
    return seconds, seen


def _rates(seconds: np.ndarray, place: int) -> dict[str, Any]:
    gained = seconds[:, 0, 0] / seconds[:, place, 0]
    return {"frames_per_processor_second": round(CHUNK / float(np.median(seconds[:, place, 0])), 2),
            "frames_per_second": round(CHUNK / float(np.median(seconds[:, place, 1])), 2),
            "gained": {"median": round(float(np.median(gained)), 2),
                       "interval": [round(edge, 2) for edge in interval_of_median(gained)]}}


Said = Sequence[Sequence[tuple[np.ndarray, str]]]  # the boxes and labels of each frame


def _of_face(found: Sequence[tuple[np.ndarray, str]], face: np.ndarray) -> int | None:
    """Return which box is that of the face, or None."""
    if not found:
        return None
    overlap = overlaps(np.array([box for box, _ in found], np.float64), face[None])[:, 0]
    return int(overlap.argmax()) if overlap.max() >= FOUND else None


def _judged(said: Said, boxes: np.ndarray, inside: np.ndarray) -> dict[str, Any]:
    places = [_of_face(found, face) for found, face in zip(said, boxes)]
    labels = [found[place][1] if place is not None else None for found, place in zip(said, places)]
    asked = inside >= INSIDE
    # the clip mirrors the photograph beyond its edge: a box elsewhere may hold the mirrored face, and is an extra one
    extra = sum(len(found) - (place is not None) for found, place in zip(said, places))
    pairs = [(a, b) for a, b in pairwise(labels) if a and b]
    return {"recall": round(sum(p is not None for p, a in zip(places, asked) if a) / max(1, int(asked.sum())), 4),
            "boxes_elsewhere": extra, "labels": dict(Counter(label for label in labels if label).most_common()),
            "label_changes_a_minute": round(60 * FPS * sum(a != b for a, b in pairs) / max(1, len(pairs)), 2)}


def _same(ours: Said, theirs: Said, boxes: np.ndarray) -> float:
    """Return the share of frames with the face found by both in which both give it one label."""
    pairs = [(ours[i][a][1], theirs[i][b][1]) for i, face in enumerate(boxes)
             if (a := _of_face(ours[i], face)) is not None and (b := _of_face(theirs[i], face)) is not None]
    return round(sum(a == b for a, b in pairs) / max(1, len(pairs)), 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and write the record."""
    parser = argparse.ArgumentParser(prog="python -m export.against_fer", description=main.__doc__)
    parser.add_argument("--fer-python", type=Path, required=True, help="an interpreter with the package fer")
    parser.add_argument("--model", type=Path, default=Path("mien-light"))
    parser.add_argument("--precision", default="int8", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--faces", default="mien-face", help="mien-face, a model directory, haar, a YuNet ONNX file")
    parser.add_argument("--frames", type=int, default=150, help="of the clip; the demo's has 150")
    parser.add_argument("--face-side", type=int, default=LONGEST_SIDE, help="pixels: the longer side that is searched")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args(arguments)
    try:
        record = compare(args.fer_python, load_model(args.model), args.precision, args.faces, args.frames,
                         args.face_side)
        write_text(args.record, layout(record) + "\n")
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return error.exit_code
    print(layout(record))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
