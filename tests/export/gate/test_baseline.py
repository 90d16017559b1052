"""This build against the last one's record: paired where its labels were kept, refused on other data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from export.gate.answers import Answers
from export.gate.baseline import judge_baseline, read_baseline
from export.gate.budget import Budget
from export.gate.check import Finding, Judgement
from export.gate.packed import pack_labels, pack_logits
from runtime.agreement import softmax
from runtime.errors import BadInput

ROOT = Path(__file__).resolve().parents[3]
IMAGES, DATA = 2000, "d" * 64
LABELS = np.arange(IMAGES) % 4
NAMES = ("a", "b", "c", "d")


def said_with(wrong: slice) -> np.ndarray:
    """Return labels that are right but for a stretch of images."""
    said = LABELS.copy()
    said[wrong] = (said[wrong] + 1) % 4
    return said


def record(path: Path, said: np.ndarray, **changes: object) -> Path:
    data = {"sha256": DATA, "name": "fer2013", "splits": ["PublicTest"]}
    values = {"model": "m", "graph": "int8", "sha256": "5" * 64, "data": data, "images": IMAGES,
              "accuracy_engine": float((said == LABELS).mean()), "predictions": pack_labels(said),
              "made_on": {"commit": "abc"}} | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return path


def answers(said: np.ndarray) -> Answers:
    return Answers(np.eye(4)[LABELS], np.eye(4)[said], LABELS, NAMES)


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


def sure(noise: float = 0.05, shape: float = 1.0) -> np.ndarray:
    """Return logits of a network that is right on 80 % of the faces and about as sure, their differences scaled."""
    wanted = np.where(np.arange(IMAGES) % 5 > 0, LABELS, (LABELS + 1) % 4)
    return shape * (2.3 * np.eye(4)[wanted] + np.random.default_rng(0).normal(0, noise, (IMAGES, 4)))


def against(path: Path, before: np.ndarray, now: np.ndarray, temperature: float = 1.0,
            temperature_now: float = 1.0) -> Judgement:
    """Judge logits against those that a record kept."""
    kept = record(path, before.argmax(axis=1), logits=pack_logits(before), temperature=temperature)
    return judge_baseline(read_baseline(kept, DATA), Answers(now, now, LABELS, NAMES, temperature_now), Budget())


def finding(judged: Judgement, name: str) -> Finding:
    return next(f for f in judged.findings if f.name == name)


def test_the_same_logits_pass_every_question(tmp_path: Path) -> None:
    judged = against(tmp_path / "r.json", sure(), sure())
    assert judged.verdict == "pass" and finding(judged, "kl").value < 1e-6
    assert abs(finding(judged, "ece_shift").value) < 0.01  # points


def test_confidences_that_were_compressed_fail_though_every_label_stays(tmp_path: Path) -> None:
    judged = against(tmp_path / "r.json", sure(), sure(shape=0.6))
    assert [f.name for f in judged.findings if f.verdict == "fail"] == ["kl", "ece_shift"]


def test_the_kl_is_from_the_earlier_build(tmp_path: Path) -> None:
    before, now = sure(), sure(shape=0.8)
    p, q = softmax(before), softmax(now)
    assert finding(against(tmp_path / "r.json", before, now), "kl").value == pytest.approx(
        (p * np.log(p / q)).sum(axis=1).mean(), rel=0.01)


def test_a_temperature_that_changed_is_a_shift_and_no_kl(tmp_path: Path) -> None:
    judged = against(tmp_path / "r.json", sure(), sure(), temperature=1.0, temperature_now=2.0)
    assert [f.name for f in judged.findings if f.verdict == "fail"] == ["ece_shift"]


def test_answers_that_were_not_finite_are_left_out_of_the_kl_and_stay_in_the_labels(tmp_path: Path) -> None:
    before = sure()
    before[:300] = np.nan
    said = np.where(np.arange(IMAGES) < 300, -1, sure().argmax(axis=1))
    kept = record(tmp_path / "r.json", said, logits=pack_logits(before))
    judged = judge_baseline(read_baseline(kept, DATA), Answers(sure(), sure(), LABELS, NAMES), Budget())
    assert finding(judged, "kl").value < 1e-6 and finding(judged, "labels_changed").value == pytest.approx(15)


def test_logits_of_other_labels_are_refused(tmp_path: Path) -> None:
    kept = read_baseline(record(tmp_path / "r.json", LABELS, logits=pack_logits(np.eye(7)[LABELS])), DATA)
    with pytest.raises(BadInput, match="baseline of 4 labels, found 7"):
        judge_baseline(kept, answers(LABELS), Budget())


@pytest.mark.parametrize(("changes", "words"), [
    ({"data": {"sha256": "e" * 64, "name": "fer2013", "splits": ["PublicTest"]}},
     r"baseline of the same data.*faces of fer2013 PublicTest"),
    ({"predictions": "012"}, "labels of 3 images, not 2000"), ({"predictions": "?"}, "whole record of mien check"),
    ({"graph": None}, "whole record of mien check"), ({"accuracy_engine": 7.0}, "an accuracy of 7.0"),
    ({"images": float("inf")}, "OverflowError"), ({"temperature": 0}, "a temperature of 0"),
    ({"logits": {"classes": 4, "zlib_base64": "AAAA"}}, "whole record"), ({"logits": "x"}, "whole record")])
def test_another_record_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_baseline(record(tmp_path / "r.json", LABELS, **changes), DATA)


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[1]")
    with pytest.raises(BadInput, match="expected a whole record of mien check"):
        read_baseline(tmp_path / "r.json", DATA)


def test_a_record_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole.json", LABELS, logits=pack_logits(sure())).read_text()
    for end in range(0, len(whole), len(whole) // 50):
        (tmp_path / "r.json").write_text(whole[:end])
        with pytest.raises(BadInput, match="expected a whole record of mien check"):
            read_baseline(tmp_path / "r.json", DATA)


@pytest.mark.parametrize("file", [file for file in sorted((ROOT / "docs/results").glob("*mien-light-*.json"))
                                  if "agreement" in json.loads(file.read_text())], ids=lambda file: file.name)
def test_every_check_that_was_recorded_can_be_a_baseline(file: Path) -> None:
    values = json.loads(file.read_text())
    assert read_baseline(file, values["data"]["sha256"]).images == values["images"]
