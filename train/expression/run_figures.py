"""A run's folder → its figures: read from RUN/figures if they are of its best weights, or measured and kept there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.errors import BadInput
from runtime.machine import describe_machine
from train.expression.evaluate import evaluate
from train.expression.figures_folder import read_figures, write_figures
from train.expression.measured_faces import load_measurement
from train.expression.open_network import open_network
from train.expression.run_history import RunHistory
from train.expression.views import Views

FOLDER = "figures"


def runs_in(path: Path) -> list[Path]:
    """Return the run's own folder, or of a cross-validation its folds' in order."""
    folds = sorted(path.glob("fold-*"), key=lambda fold: fold.name)
    return [path] if (path / "best").exists() or not folds else folds


def figures_of_run(path: Path, run: RunHistory, data: Path | None, views: Views | None) -> dict[str, Any] | None:
    """Return the report of a run's best weights, or None where nobody has measured them and `data` is not given.

    views: None takes the recipe's own. What was measured with other views is measured again, given data. Raises
    BadInput.
    """
    found = read_figures(path / FOLDER, run.facts["sha256"])
    wanted = views or run.recipe.test_views
    if data is None or (found is not None and found["views"] == wanted):
        return found
    network = open_network(path / "best", "fp32")
    report = evaluate([network], load_measurement(network, data), wanted) | {"made_on": describe_machine()}
    write_figures(report, path / FOLDER)
    return report


def require_figures(path: Path, run: RunHistory, data: Path | None, views: Views | None) -> dict[str, Any]:
    """Return the report as `figures_of_run` does; raises BadInput where there is none."""
    report = figures_of_run(path, run, data, views)
    if report is None:
        raise BadInput(f"expected the figures of {path}/best in {path / FOLDER}, found none or those of other weights; "
                       "give --data to measure them")
    return report
