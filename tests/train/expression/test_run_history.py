"""What a run's folder says of its training: one that was really trained, and lines of the first version."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from runtime.errors import BadInput
from train.expression.run_history import read_run
from train.schedules import learning_rate


def test_a_trained_runs_epochs_are_read(trained_run: Path) -> None:
    run = read_run(trained_run)
    assert run.name == "run" and run.recipe.name == "quick"
    assert [epoch.number for epoch in run.epochs] == [1, 2]
    assert run.size_changes() == [(1, 16), (2, 20)]
    assert run.kept.held_out == run.facts["figures"]["accuracy"] and run.held_out_name == "PublicTest"
    assert run.seconds == pytest.approx(sum(epoch.seconds for epoch in run.epochs)) and run.seconds > 0


def test_lines_of_the_first_version_count_from_zero(trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run / "best", tmp_path / "best")
    lines = [{"loss": 2.0 - e, "accuracy": 0.3 + 0.1 * e, "epoch": e, "size": 20, "seconds": 5.0} for e in (0, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(tmp_path)
    assert [(e.number, e.accuracy, e.held_out) for e in run.epochs] == [(1, None, 0.3), (2, None, 0.4)]


def test_the_learning_rate_follows_the_recipes_schedule(trained_run: Path) -> None:
    run = read_run(trained_run)
    drawn = run.learning_rates()
    assert drawn[0][0] == 0.5 and drawn[-1][0] == pytest.approx(2.5, abs=0.01)
    assert max(rate for _, rate in drawn) == pytest.approx(run.recipe.learning_rate, rel=1e-3)
    assert drawn[200][1] == pytest.approx(learning_rate(500, 1000, run.recipe))


def test_a_run_in_progress_is_drawn_only_as_far_as_it_is(trained_run: Path) -> None:
    run = read_run(trained_run)
    longer = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, epochs=20))
    assert longer.learning_rates()[-1][0] == pytest.approx(2.5, abs=0.01)


def test_a_fold_says_so(trained_run: Path) -> None:
    run = read_run(trained_run)
    fold = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, data="ck-plus", protocol="ten-fold"))
    assert fold.held_out_name == "the fold's test"


@pytest.mark.parametrize(("lines", "said"), [
    ("", "a finished epoch"), ("{\"epoch\": 1}\n", "one epoch a line"), ("not json\n", "one epoch a line")])
def test_lines_that_are_no_epochs_are_refused(trained_run: Path, tmp_path: Path, lines: str, said: str) -> None:
    shutil.copytree(trained_run / "best", tmp_path / "best")
    (tmp_path / "metrics.jsonl").write_text(lines)
    with pytest.raises(BadInput, match=said):
        read_run(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a run's folder with best/"):
        read_run(tmp_path)
