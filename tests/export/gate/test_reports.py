"""Every report says the same verdict: lines, record, JUnit, Markdown and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from html_reader import Page

from export.gate.answers import Answers
from export.gate.baseline import Baseline, judge_baseline
from export.gate.budget import Budget
from export.gate.chain import Link
from export.gate.check import judge
from export.gate.junit import junit_xml
from export.gate.markdown import markdown
from export.gate.page import gate_page
from export.gate.report import Report

NAMES = ("angry", "fear", "happy", "sad")
IMAGES = 4000


def report(lost: int, budget: Budget = Budget(), name: str = "mien-light") -> Report:  # noqa: B008
    """Return the report of an engine that loses so many of its answers."""
    labels = np.arange(IMAGES) % 4
    reference = 2.0 * np.eye(4)[np.where(np.arange(IMAGES) % 5 > 0, labels, (labels + 1) % 4)]
    engine = reference + np.random.default_rng(0).normal(0, 0.05, reference.shape)
    worst = np.flatnonzero(np.arange(IMAGES) % 5)[:lost]
    engine[worst] = np.roll(engine[worst], 1, axis=1)
    answers = Answers(reference, engine, labels, NAMES)
    gate = Link("int8.onnx", "fp32.onnx", None, judge(answers, budget), answers)
    data = {"name": "fer2013", "splits": ["PublicTest", "PrivateTest"], "without_copies": True, "images": IMAGES,
            "sha256": "d" * 64}
    return Report(name, {"graph": "int8", "sha256": "5" * 64, "bytes": 7}, "cpu", {"name": "fp32.onnx"}, data, budget,
                  gate, (Link("frame → crop → answer", "the card"),), tuple(f"{i}.png" for i in range(IMAGES)),
                  {"commit": "abc"}, warnings=("pooled",))


VERDICTS = [(0, "pass", "PASSED: "), (45, "inconclusive", "INCONCLUSIVE: about "),
            (400, "fail", "FAILED: int8.onnx departs from fp32.onnx: accuracy_drop 10.00 (")]


@pytest.mark.parametrize(("lost", "verdict", "words"), VERDICTS)
def test_the_first_line_is_the_verdict_and_its_cause(lost: int, verdict: str, words: str) -> None:
    found = report(lost)
    assert found.verdict == verdict and found.lines()[0].startswith(words)
    assert markdown(found).startswith("## ") and words in markdown(found).splitlines()[0]


def test_pooled_splits_and_left_out_copies_are_named() -> None:
    assert "PublicTest + PrivateTest pooled less copies of training images" in report(0).what


@pytest.mark.parametrize(("lost", "verdict", "words"), VERDICTS)
def test_the_record_is_json_and_can_be_a_baseline(lost: int, verdict: str, words: str) -> None:
    record = json.loads(json.dumps(report(lost).as_dict(), allow_nan=False))
    assert record["verdict"] == verdict and record["passed"] is (verdict == "pass")
    assert len(record["predictions"]) == IMAGES and len(record["logits_sha256"]) == 64
    assert len(record["flips"]) == min(record["flipped"], 200)


@pytest.mark.parametrize(("lost", "tag", "count"), [(0, "failure", 0), (45, "error", 1), (400, "failure", 1)])
def test_junit_counts_a_failure_and_calls_the_undecided_an_error(lost: int, tag: str, count: int) -> None:
    suite = ElementTree.fromstring(junit_xml(report(lost)).encode())
    assert len(suite.findall(f"testcase/{tag}")) == int(suite.attrib[f"{tag}s"]) >= count
    assert suite.find("testcase/skipped") is None and int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    if count:
        assert suite.find(f"testcase[@name='accuracy_drop']/{tag}") is not None


def test_the_page_stands_alone_and_begins_with_the_verdict() -> None:
    page = Page(gate_page(report(400), None))
    assert page.words[page.words.index("mien check: mien-light int8") :][0] and "FAILED: int8.onnx" in page.all
    assert page.all.index("FAILED") < page.all.index("What was asked")
    assert page.tags.count("svg") == 3 and "img" not in page.tags and "script" not in page.tags
    assert not any(address.startswith(("http", "//", "/")) for address in page.addresses)


def test_faces_are_shown_only_when_they_are_handed_over() -> None:
    faces = np.random.default_rng(0).integers(0, 255, (IMAGES, 1, 8, 8), dtype=np.uint8)
    assert "img" in Page(gate_page(report(400), faces)).tags


def test_a_name_cannot_become_markup() -> None:
    found = report(0, name="<b>|x")
    assert "<b>" not in gate_page(found, None) and "<b>" not in markdown(found)
    assert ElementTree.fromstring(junit_xml(found).encode()) is not None


def test_the_baselines_verdict_counts() -> None:
    found = report(0)
    before = Baseline("m int8", "5" * 64, IMAGES, IMAGES, found.answers.labels.copy())
    found = replace(found, baseline=(before, judge_baseline(before, found.answers, found.budget)))
    assert found.verdict == "fail"
    assert found.headline.startswith("FAILED: departs from the baseline: accuracy_drop 20.00")
    assert found.as_dict()["baseline"]["verdict"] == "fail" and "Against m int8" in markdown(found)


def test_a_broken_link_fails_though_the_figures_pass() -> None:
    found = report(0)
    found = replace(found, links=(*found.links, Link("int8.onnx", "PyTorch's recorded logits", said="expected 0.2")))
    assert found.headline == "FAILED: int8.onnx departs from PyTorch's recorded logits: expected 0.2"


def test_an_undecided_baseline_says_how_many_images_in_the_headline_and_in_the_record() -> None:
    found = report(0)
    before = Baseline("m int8", "5" * 64, 3200, IMAGES, None)  # as many were right, nobody knows which
    found = replace(found, baseline=(before, judge_baseline(before, found.answers, found.budget)))
    more = found.as_dict()["more_images"]
    assert found.verdict == "inconclusive" and f"about {more:,} more images would decide" in found.headline


def test_a_name_that_is_no_utf_8_and_no_xml_goes_through_every_report() -> None:
    found = report(400, name="m\udcff\x01\x1b\uffff")
    found = replace(found, image_names=tuple(f"happy/\udcff\x0c{i}.png" for i in range(IMAGES)))
    for text in (junit_xml(found), markdown(found), gate_page(found, None)):
        assert r"m\udcff\x01\x1b\uffff" in text.encode().decode()
    assert r"happy/\udcff\x0c" in gate_page(found, None)
    assert ElementTree.fromstring(junit_xml(found).encode()).attrib["name"].startswith(r"mien check m\udcff\x01")
    assert json.loads(json.dumps(found.as_dict()).encode())["flips"][0]["image"].startswith("happy/\udcff\x0c")
