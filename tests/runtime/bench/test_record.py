"""Records: their layout, their names, and the table for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runtime.bench.record import layout, record_name, save_record, table

ROW = {"name": "mien-light int8", "batch": 1, "bytes": 1_937_185, "accuracy": 0.671, "status": "agrees with PyTorch",
       "milliseconds": {"p50": 1.5, "p90": 1.6, "p95": 1.7, "p99": 2.0}, "faces_per_second": 651.9, "ratio": 0.44,
       "memory": {"opened_mib": 9.0, "peak_mib": 12.5}, "samples_ms": [1.5, 1.6]}


def record(**made_on: str) -> dict[str, Any]:
    return {"target": "cpu", "rows": [ROW], "made_on": {"processor": "Intel(R) Xeon(R) Processor × 2",
                                                        "onnxruntime": "1.31.1"} | made_on}


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                      | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(), values))
@example({"a string that looks like a list": "[ 1,  2 ]"})
def test_the_layout_changes_no_value(content: dict[str, Any]) -> None:
    assert json.loads(layout(content)) == content


def test_timings_stand_on_one_line() -> None:
    assert '"samples_ms": [1.5, 1.6, -2e-05]' in layout({"samples_ms": [1.5, 1.6, -2e-05]})


def test_a_record_is_named_by_model_device_target_and_version() -> None:
    assert record_name(record()) == "bench-mien-light-intel-xeon-processor-2-cpu-onnxruntime-1.31.1.json"


def test_a_jetsons_record_is_named_by_its_board_and_release() -> None:
    jetson = record(gpu="NVIDIA Jetson Orin Nano Developer Kit", l4t="36.4.3", tensorrt="10.3.0")
    assert record_name(jetson | {"target": "tensorrt"}) == (
        "bench-mien-light-nvidia-jetson-orin-nano-developer-kit-l4t-36.4.3-tensorrt-10.3.0.json")


def test_a_folder_takes_a_record_under_its_name_and_a_file_under_the_given_one(tmp_path: Path) -> None:
    assert save_record(tmp_path, record()) == tmp_path / record_name(record())
    assert save_record(tmp_path / "mine.json", record()) == tmp_path / "mine.json"
    assert json.loads((tmp_path / "mine.json").read_text()) == record()


def test_the_table_has_status_size_accuracy_and_times() -> None:
    line = table([ROW])[1]
    for word in ("mien-light int8", "1.94", "67.1 %", "1.500", "651.9", "0.440", "12.5", "agrees with PyTorch"):
        assert word in line


def test_the_table_says_once_what_an_accuracy_is_of() -> None:
    rows = [ROW | {"accuracy_on": "the 9 faces of s that chose the epoch", "batch": batch} for batch in (1, 8)]
    assert table(rows)[3:] == ["accuracy of mien-light int8: the 9 faces of s that chose the epoch"]


def test_the_gpus_milliseconds_have_their_column_and_a_cpu_has_a_dash() -> None:
    head, cpu, gpu = table([ROW, ROW | {"device_milliseconds": ROW["milliseconds"] | {"p50": 0.625}}])
    end = head.index("GPU ms") + len("GPU ms")
    assert gpu[:end].endswith(" 0.625") and cpu[:end].endswith(" –")


def test_an_engine_that_did_not_open_has_its_reason_in_the_table() -> None:
    line = table([{"name": "mien-light fp16", "status": "expected an NVIDIA GPU, found none"}])[1]
    assert "found none" in line and "0.000" not in line


def test_the_tables_columns_stand_under_their_names() -> None:
    head, row = table([ROW])
    assert head.index("status") == row.index("agrees")
    assert head.index("p50 ms") + len("p50 ms") == row.index("1.500") + len("1.500")
