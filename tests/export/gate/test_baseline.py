"""This build against the last one's record: paired where its labels were kept, refused on other data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.gate.answers import Answers
from export.gate.baseline import judge_baseline, pack_labels, read_baseline, unpack_labels
from export.gate.budget import Budget
from runtime.errors import BadInput

IMAGES, DATA = 2000, "d" * 64
LABELS = np.arange(IMAGES) % 4
NAMES = ("a", "b", "c", "d")


def said_with(wrong: slice) -> np.ndarray:
    """Return labels that are right but for a stretch of images."""
    said = LABELS.copy()
    said[wrong] = (said[wrong] + 1) % 4
    return said


def record(path: Path, said: np.ndarray, **changes: object) -> Path:
    values = {"model": "m", "graph": "int8", "sha256": "5" * 64, "data": {"sha256": DATA}, "images": IMAGES,
              "accuracy_engine": float((said == LABELS).mean()), "predictions": pack_labels(said),
              "made_on": {"commit": "abc"}} | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return path


def answers(said: np.ndarray) -> Answers:
    return Answers(np.eye(4)[LABELS], np.eye(4)[said], LABELS, NAMES)


@given(st.lists(st.integers(-1, 35), max_size=50))
def test_labels_come_back_as_they_were_packed(said: list[int]) -> None:
    assert unpack_labels(pack_labels(np.array(said, dtype=int))).tolist() == said


@pytest.mark.parametrize(("now", "verdict"), [
    (slice(0, 100), "pass"), (slice(0, 200), "fail"), (slice(0, 122), "inconclusive")])
def test_the_same_faces_are_compared_one_by_one(tmp_path: Path, now: slice, verdict: str) -> None:
    baseline = read_baseline(record(tmp_path / "r.json", said_with(slice(0, 100))), DATA)
    assert judge_baseline(baseline, answers(said_with(now)), Budget(recall_drop=10)).verdict == verdict


def test_equal_accuracy_by_other_labels_is_found(tmp_path: Path) -> None:
    baseline = read_baseline(record(tmp_path / "r.json", said_with(slice(0, 200))), DATA)
    judged = judge_baseline(baseline, answers(said_with(slice(400, 600))), Budget(recall_drop=10))
    assert [f.name for f in judged.findings if f.verdict == "fail"] == ["labels_changed"]


def test_a_record_without_labels_is_compared_unpaired_and_decides_less(tmp_path: Path) -> None:
    baseline = read_baseline(record(tmp_path / "r.json", said_with(slice(0, 100)), predictions=None), DATA)
    same = judge_baseline(baseline, answers(said_with(slice(0, 100))), Budget())
    worse = judge_baseline(baseline, answers(said_with(slice(0, 300))), Budget())
    assert (same.verdict, worse.verdict) == ("inconclusive", "fail")
    assert same.findings[0].name == "accuracy_drop, unpaired"


@pytest.mark.parametrize(("changes", "words"), [
    ({"data": {"sha256": "e" * 64}}, "baseline of the same data"),
    ({"predictions": "012"}, "baseline of the same data"),
    ({"predictions": "?"}, "expected a record of mien check"), ({"graph": None}, "expected a record of mien check")])
def test_another_record_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_baseline(record(tmp_path / "r.json", LABELS, **changes), DATA)


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[1]")
    with pytest.raises(BadInput, match="expected a record of mien check"):
        read_baseline(tmp_path / "r.json", DATA)
