"""The kiosk program with a fault in its face detector, from the sixth frame on.

    python tests/faulty_kiosk.py FAULT --config stream.yaml

slow: a second a frame · hang: for ever · leak: 2 MiB a frame stay · memory: no address space is left for the next.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from runtime.faces.detector import Faces  # noqa: E402
from runtime.faces.model_detector import ModelDetector  # noqa: E402
from runtime.stream import main  # noqa: E402

MEBIBYTE = 1 << 20
real, seen, leaked = ModelDetector.detect, [0], []


def faulty(self: ModelDetector, frame: np.ndarray) -> Faces:
    """Detect, with the fault."""
    seen[0] += 1
    if seen[0] > 5:
        if fault in ("slow", "hang"):
            time.sleep(1 if fault == "slow" else 600)
        elif fault == "leak":
            leaked.append(np.ones(2 * MEBIBYTE, np.uint8))
        elif fault == "memory":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            used = pages * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEBIBYTE, used + MEBIBYTE))
            leaked.append(np.ones(64 * MEBIBYTE, np.uint8))
    return real(self, frame)


if __name__ == "__main__":
    fault = sys.argv[1]
    ModelDetector.detect = faulty  # type: ignore[method-assign]
    sys.exit(main(sys.argv[2:]))
