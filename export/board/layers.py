"""The engine inspector on every engine of this GPU, its layers counted by verdict. Judges nothing itself."""

from __future__ import annotations

from typing import Any

from export.board.builds import prepared
from export.board.task import Measured, Task, of_every_precision
from export.engine_from_onnx import judge_inspected
from runtime.engines.inspector import ask_inspector
from runtime.engines.layer_verdicts import count_verdicts


def inspect_layers(task: Task) -> Measured:
    """Inspect every precision at its usual batch; each row is a `record.Layers`."""
    model = task.open_model()

    def row(precision: str) -> dict[str, Any]:
        engine = prepared(task, precision)
        request = engine.request
        told = ask_inspector(engine.cached.engine, task.target,
                             {request.input_name: (request.batches[1], *request.face_shape)})
        counts = count_verdicts(judge_inspected(model, precision, task.target, told, f"the {precision} engine"))
        return {"precision": precision, "graph_sha256": engine.key.graph_sha256,
                **{verdict.replace(" ", "_"): count for verdict, count in counts.items()}}

    return of_every_precision(row)
