"""The `fer` package over given frames, for `against_fer.py`: run by an interpreter that has fer, and nothing of mien.

python -I export/fer_frames.py frames.npy

Reads `FIRST LAST` lines from stdin and answers each with one line of JSON: the faces of those frames, and the seconds
of wall and processor that they took. With its defaults (Haar cascade, quantized TensorFlow Lite) and one thread.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from importlib.metadata import version
from typing import Any


def main() -> None:
    """Open fer and answer until stdin ends; the first line says which versions answer."""
    warnings.simplefilter("ignore")  # TensorFlow deprecates what fer calls
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    detector = importlib.import_module("fer.fer").FER()
    frames = np.load(sys.argv[1], mmap_mode="r")
    names = ("fer", "opencv-python-headless", "opencv-contrib-python", "tensorflow-cpu", "tensorflow", "numpy")
    _answer({"versions": {name: there for name in names if (there := _version(name))}})
    for line in sys.stdin:
        first, last = map(int, line.split())
        images = [np.array(frames[index]) for index in range(first, last)]
        wall, processor = time.perf_counter(), time.process_time()
        found = [detector.detect_emotions(image) for image in images]
        taken = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        _answer({**taken, "faces": [[{"box": [float(v) for v in face["box"]],
                                      "label": max(face["emotions"], key=face["emotions"].get)} for face in faces]
                                    for faces in found]})


def _version(package: str) -> str:
    try:
        return version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
