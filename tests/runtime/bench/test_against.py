"""Two records of one machine: slower, not slower, or too few rounds to tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bench.against import Change, compare_records, exit_code_of, read_record
from runtime.errors import BadInput

MACHINE = {"processor": "Cortex-A78AE × 6", "gpu": "Orin", "power_mode": "MAXN (0)"}


def record(median: float, rounds: int = 200, scatter: float = 0.02, seed: int = 0, name: str = "net int8",
           **changed: Any) -> dict[str, Any]:
    samples = median * np.random.default_rng(seed).lognormal(0, scatter, rounds)
    row = {"name": name, "batch": 1, "samples_ms": samples.tolist(), "waited_for_core": changed.pop("waited", 0.0)}
    return {"target": "cpu", "threads": 1, "rows": [row], "made_on": MACHINE} | changed


def verdict(new: dict[str, Any], old: dict[str, Any], tolerance: float = 0.05) -> Change:
    change, = compare_records(new, old, tolerance)
    return change


def test_the_same_speed_is_not_slower() -> None:
    assert verdict(record(2.0, seed=1), record(2.0)).verdict == "not slower"


def test_a_tenth_more_is_slower_and_the_interval_says_by_how_much() -> None:
    change = verdict(record(2.2, seed=1), record(2.0))
    assert change.verdict == "slower" and change.low <= 1.1 <= change.high


def test_a_faster_run_is_not_slower() -> None:
    assert verdict(record(1.0, seed=1), record(2.0)).verdict == "not slower"


def test_what_the_tolerance_allows_is_not_slower() -> None:
    assert verdict(record(2.2, seed=1), record(2.0), tolerance=0.2).verdict == "not slower"


def test_too_few_rounds_to_tell_say_how_many_would() -> None:
    change = verdict(record(2.13, rounds=20, scatter=0.2, seed=1), record(2.0, rounds=20, scatter=0.2))
    assert change.verdict == "inconclusive" and change.rounds_needed >= 40
    assert f"about {change.rounds_needed} rounds" in change.to_text()


def test_a_busy_machine_is_never_called_slower() -> None:
    change = verdict(record(4.0, seed=1, waited=0.4), record(2.0))
    assert change.verdict == "inconclusive" and "busy" in change.to_text() and change.rounds_needed == 0


def test_a_busy_machine_that_keeps_up_is_not_slower_all_the_same() -> None:
    assert verdict(record(2.0, seed=1, waited=0.4), record(2.0)).verdict == "not slower"


def test_many_rows_hold_together() -> None:
    # with the same values in every row, more rows need wider intervals
    def wide(rows: int) -> dict[str, Any]:
        one = record(2.0, seed=1)["rows"][0]
        return record(2.0) | {"rows": [one | {"name": f"net {i}"} for i in range(rows)]}

    few, many = compare_records(wide(1), wide(1), 0.05)[0], compare_records(wide(12), wide(12), 0.05)[0]
    assert many.high - many.low > few.high - few.low


@pytest.mark.parametrize(("verdicts", "code"), [
    (["not slower", "not slower"], 0), (["not slower", "inconclusive"], 4), (["inconclusive", "slower"], 1), ([], 0)])
def test_the_worst_row_is_the_exit_code(verdicts: list[Any], code: int) -> None:
    assert exit_code_of([Change("n", 1, 1, 1, 1, v) for v in verdicts]) == code


@pytest.mark.parametrize(("changed", "words"), [
    ({"threads": 2}, "--threads 2"), ({"target": "tensorrt"}, "--target tensorrt"),
    ({"made_on": MACHINE | {"processor": "Xeon"}}, "one machine"),
    ({"made_on": MACHINE | {"power_mode": "15W (1)"}}, "power_mode")])
def test_other_conditions_are_not_compared(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match="expected records of one") as caught:
        compare_records(record(2.0), record(2.0, **changed), 0.05)
    assert words in str(caught.value)


def test_records_without_a_row_in_common_are_refused() -> None:
    with pytest.raises(BadInput, match="net int8 at 1 and net fp32 at 1"):
        compare_records(record(2.0), record(2.0, name="net fp32"), 0.05)


@pytest.mark.parametrize(("content", "words"), [
    ("", "expected a record"), ("{", "expected a record"), ("[]", "other JSON"), ('{"rows": []}', "other JSON"),
    ('{"rows": [7], "made_on": {}}', "other JSON"),
    ('{"rows": [{"name": "a", "batch": 1}], "made_on": {}}', "only their percentiles")])
def test_what_is_no_record_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(BadInput, match=words) as caught:
        read_record(tmp_path / "r.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("samples", [[], "abc", None, 2.0, [[1.0]], ["2.0"], [True], [2.0, 0.0], [-1.0], [float("nan")],
                                     [float("inf")], [10**400]])
def test_times_that_are_none_are_one_line(tmp_path: Path, samples: object) -> None:
    content = record(2.0)
    content["rows"][0]["samples_ms"] = samples
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match="times of net int8 to be a list of milliseconds above 0") as caught:
        read_record(tmp_path / "r.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changed", [{"batch": [1]}, {"batch": 0}, {"batch": True}, {"name": 7}, {"name": {}},
                                     {"waited_for_core": "much"}, {"waited_for_core": float("nan")}])
def test_a_row_that_is_none_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    content = record(2.0)
    content["rows"][0] |= changed
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match="other JSON"):
        read_record(tmp_path / "r.json")


def test_an_engine_that_did_not_open_spoils_no_record(tmp_path: Path) -> None:
    content = record(2.0)
    content["rows"].append({"name": "net fp16", "status": "expected an NVIDIA GPU, found none"})
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert [change.name for change in compare_records(content, read_record(tmp_path / "r.json"), 0.05)] == ["net int8"]


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere.json"):
        read_record(tmp_path / "nowhere.json")


def test_a_record_reads_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(record(2.0)))
    assert read_record(tmp_path / "r.json") == record(2.0)
