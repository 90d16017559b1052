"""evaluate, report and results as a person runs them, on a real run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien

pytestmark = pytest.mark.filterwarnings("ignore:.*not as published")


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A run that a test may change."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.fixture
def data(trained_run: Path) -> Path:
    return trained_run.parent / "fer2013.csv"


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Run a verb in this process: its exit code and what people read."""
    code = mien.main([str(a) for a in arguments])
    return code, capsys.readouterr().err


def test_evaluate_keeps_figures_and_pictures(run: Path, data: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "evaluate", run / "best", "--data", data, "--views", "ten-crop",
                      "--out", tmp_path / "out")
    assert code == 0 and "without 3 exact copies of training images" in text and "at temperature" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "figures.json", "confusion-PublicTest.png", "confusion-PrivateTest.png", "reliability-PublicTest.png",
        "reliability-PrivateTest.png"}
    record = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert record["views"] == "ten-crop" and record["made_on"]["commit"] and len(record["data"]["sha256"]) == 64
    assert record["data"]["sha256"] == json.loads((run / "best/checkpoint.json").read_text())["data"]["sha256"]


def test_evaluate_averages_several_networks(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "evaluate", run / "best", run / "last", "--data", data, "--split", "PrivateTest")
    assert code == 0 and "mean of quick, quick: " in text and "parameters together" in text


def test_evaluate_reads_one_image(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), np.full((90, 70, 3), 128, np.uint8))
    code, text = said(capsys, "evaluate", run / "best", "--image", tmp_path / "face.png", "--out", tmp_path / "out")
    shares = [float(line.split()[1]) for line in text.splitlines()]
    assert code == 0 and len(shares) == 7 and shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.05)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["probabilities.png"]


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "either --data or --image, found neither"),
    (("--data", "x", "--image", "y"), "found both"),
    (("--image", "nowhere.png"), "expected a readable image"),
    (("--data", "nowhere", "--dataset", "fer2014"), "did you mean fer2013?"),
])
def test_evaluate_refuses_bad_input_in_one_line(run: Path, arguments: tuple[str, ...], words: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "evaluate", run / "best", *arguments)
    assert code == 2 and len(text.splitlines()) == 1 and text.startswith("mien: expected") and words in text


def test_report_writes_one_page_beside_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "report", run)
    assert code == 0 and "not measured: --data measures it" in text
    assert "Nothing else was measured" in (run / "report.html").read_text()


def test_results_need_figures_or_data(run: Path, data: Path, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "results", run)
    assert code == 2 and "give --data to measure them" in text
    code, text = said(capsys, "results", run, "--data", data, "--out", tmp_path / "results")
    assert code == 0 and "| quick | small-vgg | " in text
    assert {p.name for p in (tmp_path / "results").iterdir()} == {"results.md", "results.json", "results-fer2013.png"}
    record = json.loads((tmp_path / "results" / "results.json").read_text())
    assert record["rows"][0]["views"] == "mirror"  # the recipe's
    code, _ = said(capsys, "results", run)  # what was measured is kept
    assert code == 0


def test_figures_of_other_weights_are_not_taken_for_a_runs_own(run: Path, data: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "evaluate", run / "best", "--data", data, "--out", run / "figures")
    report = json.loads((run / "figures/figures.json").read_text())
    assert said(capsys, "results", run)[0] == 0
    report["network"]["sha256"] = "0" * 64
    (run / "figures/figures.json").write_text(json.dumps(report))
    code, text = said(capsys, "results", run)
    assert code == 2 and "found none or those of other weights" in text
