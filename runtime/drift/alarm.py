"""A monitor's status → the line that a person can act on. Knows nothing of statistics."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from runtime.card import MODELS, Model
from runtime.drift.quantities import ENGINE


def is_engines_fault(status: Mapping[str, Any]) -> bool:
    """Whether the engine departs from FP32 while the faces are as they were."""
    return list(status["alarming"]) == [ENGINE]


def alarm_line(status: Mapping[str, Any], model: Model, precision: str) -> str:
    """Return what is wrong and the command that mends it, or ''."""
    if status["why"]:
        return str(status["why"])
    alarming = list(status["alarming"])
    if not alarming:
        return ""
    before = ("was calibrated on" if status["compared_with"] == "calibration"
              else "it saw in its first samples")
    if is_engines_fault(status):
        return (f"the engine departs from FP32 more than it did, on faces as before; mien check "
                f"{_quoted(model)} --precision {precision} --data PATH, then install the model again")
    changed = ", ".join(name for name in alarming if name != ENGINE)
    worse = ", and the engine errs more on it" if ENGINE in alarming else ""
    return f"the camera no longer sees what {before} ({changed}){worse}; {recalibrate_command(status, model)}"


def recalibrate_command(status: Mapping[str, Any], model: Model) -> str:
    """Return the commands that recalibrate a model from what this camera saw; without histograms, from faces."""
    ships = MODELS in model.directory.absolute().parents  # calibrating in place is refused there
    mine = shlex.quote(f"my-{model.card.name}") if ships else _quoted(model)
    copy = f"cp -r {_quoted(model)} {mine} && " if ships else ""
    file = status["ranges"]["file"]
    if not file or not model.card.calibration.get("thresholds"):
        return f"{copy}mien calibrate {mine} --images PATH"
    return f"{copy}mien calibrate {mine} --from-histograms {shlex.quote(file)}"


def _quoted(model: Model) -> str:
    return shlex.quote(str(model.directory))
