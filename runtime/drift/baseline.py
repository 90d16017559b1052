"""`drift.json`: how the calibrated faces looked, and how far each engine file was from FP32 on them.

Written by `mien drift baseline` on faces that nothing was trained or calibrated on, hashed in the card. An engine's
part counts only for the very file it was measured with: whether that is the file that runs is a comparison of hashes,
not a statistic. Knows no face: bins and counts are all it holds.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from runtime.card import Model
from runtime.config import build
from runtime.drift.bins import Bins
from runtime.errors import BadConfig, BadModel

FILE = "drift.json"
VERSION = 1
OF_FP32, OF_RANGES = ("confidence", "energy"), ("beyond_range",)  # what is not of the crop alone


@dataclass(frozen=True)
class EngineBaseline:
    """How one graph file departs from FP32: its hash, bins of log10 KL, and means over the faces, for people."""

    graph_sha256: str
    log_kl: Bins
    agreement: float
    mean_kl: float
    confidence_shift: float


@dataclass(frozen=True)
class Baseline:
    """The bins of every quantity over so many faces, and where those came from.

    Beside them the hashes of what they were measured with: fp32.onnx, and int8.onnx ('' without), for its ranges.
    """

    fp32_sha256: str
    int8_sha256: str
    faces: int
    faces_from: dict[str, Any]
    world: dict[str, Bins]
    engines: dict[str, EngineBaseline] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    def of_engine(self, model: Model, graph: str) -> Bins | None:
        """Return a graph's bins of log10 KL where they were measured with the files that the card names now."""
        found, now = self.engines.get(graph), model.card.graphs
        same = found and found.graph_sha256 == now[graph].sha256 and self.fp32_sha256 == now["fp32"].sha256
        return found.log_kl if found and same else None

    def of_world(self, model: Model) -> dict[str, Bins]:
        """Return the bins that still hold: another FP32 answers otherwise, another calibration has other ranges."""
        fp32, int8 = hashes_of(model)
        stale: tuple[str, ...] = ()
        if fp32 != self.fp32_sha256:
            stale = (*OF_FP32, *OF_RANGES)
        elif int8 != self.int8_sha256:
            stale = OF_RANGES
        return {name: bins for name, bins in self.world.items() if name not in stale}


def hashes_of(model: Model) -> tuple[str, str]:
    """Return the hashes that a baseline is bound to: fp32.onnx's, and int8.onnx's, '' without one."""
    graphs = model.card.graphs
    return graphs["fp32"].sha256, graphs["int8"].sha256 if "int8" in graphs else ""


def read_baseline(model: Model) -> Baseline | None:
    """Return a model's baseline, verified; None where its card names none. Raises BadModel."""
    content = model.read_drift()
    if content is None:
        return None
    try:
        values = json.loads(content)
        if not isinstance(values, dict) or values.get("version") != VERSION:
            raise BadConfig(f"expected a baseline of version {VERSION}, found another")
        return build(Baseline, values, FILE)
    except (ValueError, RecursionError, BadConfig) as error:
        raise BadModel(f"expected a drift baseline in {model.directory}/{FILE}, found: {error}; "
                       "mien drift baseline makes it again") from error
