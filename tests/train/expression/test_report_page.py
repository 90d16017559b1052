"""The page of a run: well-formed, alone, and true to the run; nothing a name says becomes markup."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from html_reader import Page

from train.expression.report_page import report_page
from train.expression.run_figures import figures_of_run
from train.expression.run_history import RunHistory, read_run


@pytest.fixture(scope="module")
def measured(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunHistory, dict[str, Any]]:
    """The run and its report, measured once in a copy."""
    copy = tmp_path_factory.mktemp("measured") / "run"
    shutil.copytree(trained_run, copy)
    run = read_run(copy)
    with pytest.warns(UserWarning, match="not as published"):
        report = figures_of_run(copy, run, trained_run.parent / "fer2013.csv", None)
    assert report is not None
    return run, report


@pytest.fixture(scope="module")
def text(measured: tuple[RunHistory, dict[str, Any]]) -> str:
    """The page of the run, drawn once."""
    return report_page(*measured)


def test_a_page_stands_alone(text: str) -> None:
    page = Page(text)
    assert not set(page.tags) & {"script", "link", "iframe", "img", "form"} and "@import" not in text
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "prefers-color-scheme: dark" in text and text.startswith("<!doctype html>")


def test_no_two_things_of_a_page_share_an_id(text: str) -> None:
    ids = Page(text).ids
    assert {"curves", "confusion0", "reliability1"} <= set(ids) and len(ids) == len(set(ids))


def test_a_page_says_what_was_measured(measured: tuple[RunHistory, dict[str, Any]], text: str) -> None:
    run, report = measured
    words = Page(text).words
    entry = report["splits"]["PrivateTest"]
    assert f"{100 * entry['accuracy']:.1f} %" in words and f"{entry['calibration']['nll']:.3f}" in words
    assert f"{100 * entry['calibration_after']['ece']:.1f} %" in words
    kept = entry["without_training_copies"]
    assert kept["images"] == 42 and f"{100 * kept['accuracy']:.1f} % of 42" in words  # three are copies
    assert report["data"]["sha256"] in words and run.facts["sha256"] in words
    assert {"PublicTest", "PrivateTest", "mirror views", "learning_rate", "augmentation.flip"} <= set(words)


def test_a_page_shows_every_classs_recall(measured: tuple[RunHistory, dict[str, Any]], text: str) -> None:
    words = Page(text).words
    for recall in measured[1]["splits"]["PrivateTest"]["recall"].values():
        assert f"{100 * recall:.1f} %" in words


def test_an_unmeasured_run_has_its_curves_and_says_what_is_absent(trained_run: Path) -> None:
    page = Page(report_page(read_run(trained_run), None))
    assert any("Nothing else was measured" in word for word in page.words)
    assert "svg" in page.tags and "run: 2 of 2 epochs" in page.words and "PrivateTest" not in page.words


def test_names_are_text_not_markup(measured: tuple[RunHistory, dict[str, Any]]) -> None:
    run, report = measured
    evil = "<script>alert(1)</script>&amp;'\""
    facts = run.facts | {"network": evil, "recipe": run.facts["recipe"] | {evil: evil}}
    renamed = dataclasses.replace(run, name=evil, facts=facts)
    labels = [evil, *report["labels"][1:]]
    entry = report["splits"]["PrivateTest"]
    splits = {evil: entry | {"recall": dict(zip(labels, entry["recall"].values()))}}
    page = Page(report_page(renamed, report | {"labels": labels, "splits": splits}))
    assert "script" not in page.tags and evil in page.words
