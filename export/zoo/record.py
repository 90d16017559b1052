"""The zoo's record: every network down the road, then its FP16 graph over all of FER2013; stops and goes on anywhere.

`python -m export.zoo.record --data PATH --record FILE` (`make zoo`). A network whose figures were made by the same code
from the same data is not done again; the long pass over all faces is saved every few minutes.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import json
import os
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from export.half_range import HalfRange, HalfWatcher
from export.promises import broken_promises
from export.zoo.networks import Variant, make_network, zoo
from export.zoo.road import half_graph, travel
from runtime.command_line import say
from runtime.durable import write_text
from runtime.errors import DONE, FAILED, MienError
from runtime.machine import describe_machine
from runtime.preprocess import prepare_faces
from train.datasets.fer2013 import load_fer2013
from train.datasets.labelled_faces import LabelledFaces

ROOT = Path(__file__).parents[2]
# What makes the graphs. How a range is observed and chosen is left out: the road asks only for the largest value seen.
_CODE = ("train/networks/*.py", "export/onnx_from_torch.py", "export/half_*.py", "export/zoo/road.py",
         "export/zoo/networks.py", "calibration/quantize.py", "calibration/pixel_grid.py", "calibration/onnx_graph.py",
         "runtime/engines/tensorrt_builder.py")
COMPARED = 64  # faces a network is compared on, and as many others it is calibrated on
CHUNK = 1024  # faces between two saves of the long pass
TOGETHER = 4  # faces of the long pass in one call: at 90 px 64 faces' tensors leave every cache, and take 1.7 × as long
NOTE = ("untrained weights, batch norm's statistics and the logits' scale taken from real faces: the figures prove the "
        "road, not a model's worth; fp16 and int8-gpu are computed with every tensor rounded to half "
        "(export/half_arithmetic.py), int8 by ONNX Runtime's kernels; engines are built for sm86, 64 faces at most, "
        "with 512 MiB of scratch memory or, where that is too little, 2 GiB (workspace_bytes), and not run; "
        "half_over_data is the fp16 graph's pass over the first so many faces of a fixed shuffle of all three splits")


@cache
def code_sha256() -> str:
    """Return the hash of the code that decides a network's figures: its comments and docstrings left out."""
    digest = hashlib.sha256()
    for pattern in _CODE:
        for file in sorted(ROOT.glob(pattern)):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                    del node.body[0]
            digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


class ZooRecord:
    """The JSON file with one row a network; a row counts only for the code and the data it was made with.

    What other code made stays until it is made anew, and its long pass then still counts if the fp16 graph is the same.
    """

    def __init__(self, path: Path, data: LabelledFaces, note: str = NOTE):
        self.path, self.data, self._note = path, data, note
        self._data = {"name": "fer2013", "images": len(data), "sha256": data.sha256()}

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows that were made by this code from this data, by the networks' names."""
        return {name: row for name, row in self._of_any_code().items() if row["code_sha256"] == code_sha256()}

    def _of_any_code(self) -> dict[str, dict[str, Any]]:
        if not self.path.is_file():
            return {}
        record = json.loads(self.path.read_text())
        rows: dict[str, dict[str, Any]] = record["networks"] if record["data"] == self._data else {}
        return rows

    def save(self, variant: Variant, figures: dict[str, Any]) -> dict[str, Any]:
        """Put a network's row in its place, the zoo's order, and write the file; other processes may do so too.

        Returns the row: which network it is of, by which code, and the figures.
        """
        row = {"network": variant.network, "paper": variant.paper, "input": asdict(variant.input),
               "options": variant.options, "code_sha256": code_sha256(), **figures}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            rows = self._of_any_code() | {variant.name: row}
            rows = {v.name: rows[v.name] for v in zoo() if v.name in rows}
            record = {"note": self._note, "data": self._data, "networks": rows, "made_on": describe_machine()}
            write_text(self.path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        finally:
            os.close(handle)  # and with it the lock
        return row

    def faces(self, variant: Variant, split: str) -> np.ndarray:
        """Return evenly spaced faces of a split as the network takes them."""
        images = self.data.split(split).images
        return prepare_faces(images[np.linspace(0, len(images) - 1, COMPARED).astype(int)], variant.input)

    def travelled(self, variant: Variant) -> dict[str, Any]:
        """Return a network's row; takes it down the road where there is none."""
        row = self.rows().get(variant.name)
        if row is None:
            calibration = self.faces(variant, "Training")
            figures = travel(make_network(variant, calibration), calibration, self.faces(variant, "PublicTest"))
            before = self._of_any_code().get(variant.name, {"fp16_sha256": ""})
            same = before["fp16_sha256"] == figures.fp16_sha256
            seen = before["half_over_data"] if same else asdict(HalfRange())
            row = self.save(variant, _judged(figures.as_dict() | {"half_over_data": seen}))
        return row

    def half_over_data(self, variant: Variant, wanted: int) -> HalfRange:
        """Run the fp16 graph over the first `wanted` faces of a fixed shuffle of all, going on where it stopped."""
        row = self.travelled(variant)
        seen = HalfRange(**row["half_over_data"])
        wanted = min(wanted, len(self.data))
        if seen.faces >= wanted:
            return seen
        how = variant.input
        network = make_network(variant, self.faces(variant, "Training"))
        graph = half_graph(network, (how.channels, how.height, how.width))
        if hashlib.sha256(graph.SerializeToString()).hexdigest() != row["fp16_sha256"]:
            raise MienError(f"expected the fp16 graph that {self.path} names for {variant.name}, found another; "
                            "delete that row and run again")
        watcher = HalfWatcher(graph)
        order = np.random.default_rng(0).permutation(len(self.data))
        while seen.faces < wanted:
            chosen = order[seen.faces : min(seen.faces + CHUNK, wanted)]
            for few in np.split(chosen, range(TOGETHER, len(chosen), TOGETHER)):
                seen = seen.with_more(watcher.run(prepare_faces(self.data.images[few], how))[1])
            self.save(variant, _judged(row | {"half_over_data": asdict(seen)}))
        return seen


def _judged(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures with the promises that they break."""
    return figures | {"broken": broken_promises(figures)}


def main(arguments: list[str] | None = None) -> int:
    """Make the record; returns 1 where a network broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m export.zoo.record", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--only", default="", help="networks whose name holds this text")
    parser.add_argument("--half-faces", type=int, default=10**9, help="faces of the long pass; all unless given")
    args = parser.parse_args(arguments)
    try:
        code_sha256()  # as it is now: a long run may outlive an edit
        record = ZooRecord(args.record, load_fer2013(args.data))
        chosen = [variant for variant in zoo() if args.only in variant.name]
        for variant in chosen:
            say(f"{variant.name}: {'; '.join(broken_promises(record.travelled(variant))) or 'holds'}")
        for variant in sorted(chosen, key=lambda v: record.travelled(v)["multiply_adds"]):
            say(f"{variant.name}: {record.half_over_data(variant, args.half_faces)}")
    except MienError as error:
        say(f"mien: {error}")
        return error.exit_code
    return FAILED if any(broken_promises(record.travelled(variant)) for variant in chosen) else DONE


if __name__ == "__main__":
    sys.exit(main())
