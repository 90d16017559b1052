"""The figures of mien's own cost: that they are measured, not how large they are; the record holds those."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.bench import overhead
from runtime.card import load_model
from runtime.errors import MienError

ROOT = Path(__file__).parents[3]


def test_every_figure_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "PACED_CALLS", 5)
    found = overhead.measure(load_model(Path("mien-light")), calls=20, starts=1)
    assert set(found["met"]) == set(found["asked"]) == set(overhead.ASKED)
    assert found["wrapper"]["bare_microseconds"] > 0
    assert 0 < found["imports"]["ratio_of_runtime"] < found["imports"]["ratio_of_kiosk_program"]
    assert found["start_to_first_result"]["seconds"]["p50"] > 0.2  # numpy and OpenCV alone take that
    assert found["spinning"]["sleeping"]["milliseconds"] > 0
    json.dumps(found, allow_nan=False)


def test_a_child_that_fails_is_said() -> None:
    with pytest.raises(MienError, match="No such thing"):
        overhead._python({}, "-c", "raise SystemExit('No such thing')")


def test_the_record_meets_what_was_asked_or_says_which_it_does_not() -> None:
    record = json.loads((ROOT / "docs/results/engine-overhead-cpu.json").read_text())
    figures = {"wrapper_microseconds": record["wrapper"]["microseconds_added"],
               "import_ratio": record["imports"]["ratio_of_runtime"],
               "kiosk_import_ratio": record["imports"]["ratio_of_kiosk_program"],
               "start_seconds": record["start_to_first_result"]["seconds"]["p50"]}
    assert record["met"] == {name: figures[name] <= record["asked"][name] for name in figures}
