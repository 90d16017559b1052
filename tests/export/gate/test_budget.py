"""Budgets: what is read from where, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from export.gate.budget import Budget, read_budget
from runtime.card import Model
from runtime.errors import BadConfig


def test_a_flag_counts_before_the_file_and_the_file_before_the_card(shipped: Model, tmp_path: Path) -> None:
    card = replace(shipped.card, metrics={"budget": {"kl": 0.1, "agreement": 0.9, "recall_drop": 7}})
    file = tmp_path / "check.yaml"
    file.write_text("agreement: 0.97\nrecall_drop: 5\nclasses: [disgust]\n")
    found = read_budget(card, file, {"recall_drop": 2.0, "kl": None})
    assert found == Budget(kl=0.1, agreement=0.97, recall_drop=2.0, classes=("disgust",))


def test_without_a_word_a_point_of_accuracy_may_be_lost(shipped: Model) -> None:
    assert read_budget(shipped.card, None, {}).accuracy_drop == 1.0


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_a_file_saved_on_windows_reads_the_same(shipped: Model, tmp_path: Path, before: bytes) -> None:
    file = tmp_path / "check.yaml"
    file.write_bytes(before + b"agreement: 0.97\r\nclasses:\r\n  - disgust\r\n")
    assert read_budget(shipped.card, file, {}) == Budget(agreement=0.97, classes=("disgust",))


def test_a_cards_budget_that_is_no_mapping_is_refused(shipped: Model) -> None:
    with pytest.raises(BadConfig, match="keys under metrics.budget"):
        read_budget(replace(shipped.card, metrics={"budget": "strict"}), None, {})


@pytest.mark.parametrize(("line", "words"), [
    ("acuracy_drop: 1", "did you mean accuracy_drop"), ("agreement: 97", "agreement of 0–1, found 97"),
    ("accuracy_drop: -1", "0–100 points"), ("accuracy_drop: 0", "accuracy_drop above 0 points.*give what may be lost"),
    ("recall_drop: 0.0", "recall_drop above 0 points"), ("kl: .nan", "finite number for kl"),
    ("kl: -1", "at least 0 nats"), ("classes: [hapy]", "classes among angry"),
    ("accuracy_drop: 1\naccuracy_drop: 2", "duplicate key")])
def test_a_wrong_line_is_refused_by_name(shipped: Model, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "check.yaml").write_text(line)
    with pytest.raises(BadConfig, match=words):
        read_budget(shipped.card, tmp_path / "check.yaml", {})
