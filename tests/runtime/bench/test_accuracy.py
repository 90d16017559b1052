"""Which accuracy a row states: of that very graph, from a check or the card, or none and why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.bench.accuracy import Accuracy, accuracy_of, read_checks
from runtime.bench.run import Plan, run_bench
from runtime.card import FileEntry, Model, load_model
from runtime.errors import BadInput

ROOT = Path(__file__).parents[3]
TRAINED = {"figures": {"accuracy": 0.66}, "data": {"name": "fer2013", "chosen_on": 3589}}


@pytest.fixture
def model(tiny_model: Path) -> Model:
    """A model with a second graph, whose bytes nobody reads."""
    loaded = load_model(tiny_model)
    graphs = loaded.card.graphs | {"int8-gpu": FileEntry("int8-gpu.onnx", "8" * 64, 1)}
    return dataclasses.replace(loaded, card=dataclasses.replace(loaded.card, graphs=graphs))


def with_card(model: Model, **kept: Any) -> Model:
    return dataclasses.replace(model, card=dataclasses.replace(model.card, **kept))


def save_check(path: Path, sha256: str, **changes: Any) -> Path:
    path.write_text(json.dumps({"sha256": sha256, "accuracy_engine": 0.71, "made_on": {},
                                "data": {"name": "fer2013", "splits": ["PublicTest", "PrivateTest"], "images": 7178}}
                               | changes))
    return path


def test_a_check_of_that_very_graph_counts_most(model: Model, tmp_path: Path) -> None:
    checks = read_checks([save_check(tmp_path / "check.json", model.card.graphs["fp32"].sha256)])
    stated = with_card(model, metrics={"accuracy": {"fp32": 0.67}}, training=TRAINED)
    assert accuracy_of(stated, "fp32", checks) == Accuracy(
        0.71, "7178 faces of PublicTest and PrivateTest, fer2013, by mien check")


def test_a_check_of_other_weights_counts_nothing(model: Model, tmp_path: Path) -> None:
    checks = read_checks([save_check(tmp_path / "check.json", "0" * 64)])
    assert accuracy_of(with_card(model, metrics={}, training={}), "fp32", checks).share is None


@pytest.mark.parametrize(("kept", "graph", "wanted"), [
    ({"metrics": {"accuracy": {"int8-gpu": 0.67}}}, "int8-gpu", Accuracy(0.67, "")),
    ({"training": TRAINED}, "fp32", Accuracy(0.66, "the 3589 faces of fer2013 that chose the epoch")),
    ({"training": TRAINED, "metrics": {"accuracy": {"fp32": 0.67}}}, "fp32", Accuracy(0.67, "")),
    ({"training": {"figures": {"accuracy": 0.66}, "data": {"name": "ck48", "chosen_on": None}}}, "fp32",
     Accuracy(0.66, "ck48, as training saw it"))])
def test_without_a_check_the_card_is_asked(model: Model, kept: dict[str, Any], graph: str, wanted: Accuracy) -> None:
    assert accuracy_of(with_card(model, **{"metrics": {}, "training": {}} | kept), graph, {}) == wanted


def test_fp32s_figure_is_not_int8s_and_the_reason_says_what_to_run(model: Model) -> None:
    found = accuracy_of(with_card(model, training=TRAINED), "int8-gpu", {})
    assert found.share is None
    assert "mien check MODEL --precision int8 --data PATH --record FILE, then mien bench --checks FILE" in found.on
    assert str(model.directory) not in found.on  # a record shows nobody's folders


def test_the_last_record_of_a_graph_counts(tmp_path: Path) -> None:
    paths = [save_check(tmp_path / f"{share}.json", "a", accuracy_engine=share) for share in (0.6, 0.7)]
    assert read_checks(paths)["a"]["accuracy_engine"] == 0.7


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "a", "accuracy_engine": 0.7}'])
def test_what_is_no_record_of_a_check_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "check.json").write_text(content)
    with pytest.raises(BadInput, match="expected a record of mien check, found .*check.json"):
        read_checks([tmp_path / "check.json"])


@pytest.mark.parametrize("share", [70.0, -0.1, float("nan"), "0.7"])
def test_an_accuracy_that_is_no_share_is_refused(tmp_path: Path, share: object) -> None:
    with pytest.raises(BadInput, match="an accuracy of 0–1"):
        read_checks([save_check(tmp_path / "check.json", "a", accuracy_engine=share)])


def test_the_repositorys_own_records_are_read() -> None:
    checks = read_checks(sorted((ROOT / "docs/results").glob("mien-light-*-cpu-PrivateTest.json")))
    assert {check["graph"] for check in checks.values()} == {"fp16", "int8"}


def test_a_runs_rows_say_it(tiny_model: Path, tmp_path: Path) -> None:
    digest = load_model(tiny_model).card.graphs["fp32"].sha256
    checks = read_checks([save_check(tmp_path / "check.json", digest)])
    record, _ = run_bench(Plan((tiny_model,), (), "cpu", (1,), 3, warm_up_seconds=0, checks=checks, root=tmp_path))
    row, = record["rows"]
    assert row["accuracy"] == 0.71 and row["accuracy_on"].endswith("by mien check")
