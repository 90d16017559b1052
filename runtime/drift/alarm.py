"""A monitor's status → the line that a person can act on. Knows nothing of statistics."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from runtime.card import MODELS, Model
from runtime.drift.quantities import ENGINE

ON_ITS_WAY = 0.35  # of the evidence for an alarm; unchanged faces showed 0.27 at most in 400, masked ones 0.65 to 1
STANDS = 100  # samples that an engine's alarm stands before the engine is blamed: a changed world alarms by then
PLACE = "face_side"  # of the camera's place, which no calibration changes


def is_engines_fault(status: Mapping[str, Any]) -> bool:
    """Whether the engine departs from FP32 while the faces stayed as they were, none of their figures on its way."""
    return (list(status["alarming"]) == [ENGINE] and status["quantities"][ENGINE]["stood"] >= STANDS
            and not _changing(status))


def _changing(status: Mapping[str, Any]) -> list[str]:
    """Return what else than the engine changes, alarm or not: faces that are harder for FP32 cost INT8 more."""
    return [name for name, facts in status["quantities"].items() if name != ENGINE and (
        facts["alarming"] or facts["evidence"] >= ON_ITS_WAY)]


def alarm_line(status: Mapping[str, Any], model: Model, precision: str, target: str) -> str:
    """Return what is wrong and the command that mends it, or ''."""
    if status["why"]:
        return str(status["why"])
    alarming = list(status["alarming"])
    if not alarming:
        return ""
    before = ("was calibrated on" if status["compared_with"] == "calibration"
              else "it saw in its first samples")
    check = f"mien check {_quoted(model)} --precision {precision} --data PATH" + (
        "" if target == "cpu" else f" --target {target}")
    if is_engines_fault(status):
        return ("the engine departs from FP32 more than it did, on faces as before; "
                f"{check}, then install the model again")
    if alarming == [ENGINE]:
        changing = _changing(status)
        faces = (f"and the faces may have changed too ({', '.join(changing)})" if changing
                 else f"whether on faces as before {STANDS} samples tell")
        return f"the engine departs from FP32 more than it did, {faces}; {check} tells whether it is the engine"
    changed = [name for name in alarming if name != ENGINE]
    if changed == [PLACE]:
        first = (f"the engine departs from FP32 more than it did ({check} tells whether it is the engine), and "
                 if ENGINE in alarming else "")
        return (f"{first}faces are of another size than in its first samples ({PLACE}); has the camera been moved, or "
                f"do people stand elsewhere? {_learn_anew(status)}")
    moved = ", faces are of another size than in its first samples" if PLACE in changed else ""
    worse = ", and the engine errs more on it" if ENGINE in alarming else ""
    crops = ", ".join(name for name in changed if name != PLACE)
    return (f"the camera no longer sees what {before} ({crops}){moved}{worse}; "
            f"{recalibrate_command(status, model)}; where it will always look so: "
            + ("drift.learn: true in stream.yaml" if status["compared_with"] == "calibration" else _learn_anew(status)))


def _learn_anew(status: Mapping[str, Any]) -> str:
    """Return what has the world learned again; the engine is still held to what it said at first."""
    file = status["learned"]["file"]
    return (f"stop the stream, rm {shlex.quote(file)}, start it: it learns this place anew" if file
            else "a new start of the stream learns anew")


def recalibrate_command(status: Mapping[str, Any], model: Model) -> str:
    """Return the commands that recalibrate a model from what this camera saw; without histograms, from faces.

    Either way it is rounded as before: histograms keep that, faces are given the flags.
    """
    ships = MODELS in model.directory.absolute().parents  # calibrating in place is refused there
    mine = shlex.quote(f"my-{model.card.name}") if ships else _quoted(model)
    copy = f"cp -r {_quoted(model)} {mine} && " if ships else ""
    file = status["ranges"]["file"]
    before = model.card.calibration
    if not file or not before.get("thresholds"):
        how = [] if not before.get("method") else ["--method", str(before["method"])]
        how += [] if before.get("percentile") is None else ["--percentile", repr(before["percentile"])]
        how += ["--keep-float", *map(str, before["kept_float"])] if before.get("kept_float") else []
        how += ["--correct-biases"] * bool(before.get("biases_corrected"))
        return f"{copy}mien calibrate {mine} --images PATH {shlex.join(how)}".rstrip()
    return f"{copy}mien calibrate {mine} --from-histograms {shlex.quote(file)}"


def _quoted(model: Model) -> str:
    return shlex.quote(str(model.directory))
