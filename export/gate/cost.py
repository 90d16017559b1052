"""What the whole gate costs on this CPU, as a multiple of running both networks once.

`python -m export.gate.cost mien-light --data PATH --record docs/results/gate-cost-cpu.json`. One run over both test
splits: the networks are timed inside the check itself, so one clock under one load tells both. Reading the data set is
left out: it is the same without a gate.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.gate.budget import Budget
from export.gate.form import Form
from export.gate.gate import Asked, run_gate
from export.gate.page import gate_page
from export.gate.record import save_figures
from runtime.card import Model, load_model
from runtime.command_line import say
from runtime.engines import open_engine
from runtime.engines.engine import Engine
from runtime.errors import DONE, FAILED
from runtime.preprocess import prepare_faces
from train.datasets.fer2013 import load_fer2013
from train.datasets.labelled_faces import LabelledFaces

MOST = 1.3


def measure(model: Model, faces: LabelledFaces, precision: str) -> dict[str, Any]:
    """Check a precision on the CPU, with its record and page; returns seconds and their ratios."""
    started, spent = _clocks(), [0.0, 0.0]
    engines: dict[str, Engine] = {p: _Timed(open_engine(model, p, "cpu"), spent) for p in ("fp32", precision)}
    inputs = prepare_faces(faces.images, model.card.input)
    data = {"name": "fer2013", "splits": list(dict.fromkeys(faces.splits.tolist())), "without_copies": False,
            "images": len(faces), "sha256": faces.sha256()}
    report = run_gate(Asked(model, Form(precision, engines[precision]), inputs, faces.labels, tuple(faces.names),
                            data, Budget()), engines)
    report.as_dict()
    page = gate_page(report, inputs)
    whole = [now - then for now, then in zip(_clocks(), started)]
    processor, wall = (found / networks for found, networks in zip(whole, spent))
    return {"model": model.card.name, "precision": precision, "data": data, "verdict": report.verdict, "most": MOST,
            "processor_ratio": round(processor, 3), "wall_ratio": round(wall, 3), "met": max(processor, wall) <= MOST,
            "processor_seconds": {"both_networks": round(spent[0], 2), "whole_gate": round(whole[0], 2)},
            "wall_seconds": {"both_networks": round(spent[1], 2), "whole_gate": round(whole[1], 2)},
            "page_bytes": len(page.encode()), "made_on": report.made_on}


class _Timed:
    """An engine that adds what its runs take to `spent`, seconds of processor and of wall."""

    def __init__(self, engine: Engine, spent: list[float]):
        self.engine, self.spent = engine, spent
        self.target, self.precision = engine.target, engine.precision
        self.compiled_sha256 = engine.compiled_sha256
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once."""
        before = _clocks()
        found = self.engine.run(arrays)
        self.spent[:] = [total + now - then for total, now, then in zip(self.spent, _clocks(), before)]
        return found

    def close(self) -> None:
        """Free what the engine holds."""
        self.engine.close()


def _clocks() -> tuple[float, float]:
    """Return this process's processor time and the wall's, seconds."""
    return time.process_time(), time.perf_counter()


def main(arguments: list[str] | None = None) -> int:
    """Measure and leave the record; returns 1 above 1.3."""
    parser = argparse.ArgumentParser(prog="python -m export.gate.cost", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args(arguments)
    faces = load_fer2013(args.data).split("PublicTest", "PrivateTest")
    record = measure(load_model(args.model), faces, args.precision)
    save_figures(args.record, record)
    say(f"{record['data']['images']:,} faces: the gate takes {record['wall_ratio']} × both networks, {MOST} allowed")
    return DONE if record["met"] else FAILED


if __name__ == "__main__":
    sys.exit(main())
