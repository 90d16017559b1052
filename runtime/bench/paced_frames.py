"""Frames of a .npy file to stdout, raw and at a camera's pace, for ever: a camera that shows what a bench chose.

python -m runtime.bench.paced_frames frames.npy 25       frames (N, H, W, 3) BGR uint8

Ends when nobody reads any more. Knows nothing of who reads.
"""

from __future__ import annotations

import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np


def main() -> None:
    """Write until the reader is gone; a frame that comes late does not hurry those after it."""
    frames, pause = np.load(Path(sys.argv[1]), mmap_mode="r"), 1 / float(sys.argv[2])
    due = time.monotonic()
    for frame in cycle(frames):
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + pause, time.monotonic())
        try:
            sys.stdout.buffer.write(frame.data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.stdout = None  # or Python flushes it again at exit, and fails
            return


if __name__ == "__main__":
    main()
