"""One run: engines are proven before they are timed, and a machine's power, memory and state are in the record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from boards import make_jetson
from tiny_model import TinyNetwork, write_tiny_card

from runtime.bench import Entrant, alone
from runtime.bench.alone import Opening, memory_alone, power_alone
from runtime.bench.run import Plan, run_bench
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.errors import MienError

ROOT = Path(__file__).parents[3]


def plan(model: Path, root: Path = Path("/"), precisions: tuple[str, ...] = (), target: str = "cpu") -> Plan:
    return Plan((model,), precisions, target, (1, 4), 3, warm_up_seconds=0, root=root)


def test_a_run_times_what_a_model_has_at_every_batch(tiny_model: Path, tmp_path: Path) -> None:
    record, code = run_bench(plan(tiny_model, tmp_path))
    assert code == 0
    assert [(row["name"], row["batch"]) for row in record["rows"]] == [("tiny fp32", 1), ("tiny fp32", 4)]
    row = record["rows"][0]
    assert row["status"].startswith("agrees with PyTorch")
    assert row["sha256"] == load_model(tiny_model).card.graphs["fp32"].sha256
    assert {"processor", "commit", "onnxruntime"} <= set(record["made_on"])
    assert "power" not in row


def test_a_detector_is_timed_a_picture_at_a_time_and_sent_to_its_own_check(tmp_path: Path) -> None:
    asked = Plan((Path("mien-face"),), ("fp32",), "cpu", (), 1, warm_up_seconds=0, root=tmp_path)
    row, = run_bench(asked)[0]["rows"]
    assert row["batch"] == 1 and row["accuracy"] is None
    assert "mien faces check MODEL --precision fp32" in row["accuracy_on"]


def test_without_batches_those_are_timed_that_a_model_is_made_for(tiny_model: Path, tmp_path: Path) -> None:
    asked = Plan((tiny_model,), (), "cpu", (), 1, warm_up_seconds=0, root=tmp_path)
    assert [row["batch"] for row in run_bench(asked)[0]["rows"]] == [1, 8]


def test_a_fast_wrong_answer_is_not_timed(tiny_model: Path, tmp_path: Path) -> None:
    (tiny_model / "fp32.onnx").write_bytes(TinyNetwork.random(seed=9).graph().SerializeToString())
    write_tiny_card(tiny_model)  # an honest card of the wrong graph
    record, code = run_bench(plan(tiny_model, tmp_path))
    assert code == 1
    row, = record["rows"]
    assert "within 0.0001 of PyTorch" in row["status"] and "milliseconds" not in row


def test_an_engine_that_cannot_be_opened_leaves_the_others_timed(tiny_model: Path, tmp_path: Path) -> None:
    record, code = run_bench(plan(tiny_model, tmp_path, precisions=("fp16", "fp32")))
    assert code == 2
    assert [("milliseconds" in row, row["name"]) for row in record["rows"]] == [
        (True, "tiny fp32"), (True, "tiny fp32"), (False, "tiny fp16")]
    assert "mien export makes it" in record["rows"][-1]["status"]


def test_a_target_without_its_gpu_is_a_status_and_the_environments_exit_code(tiny_model: Path, tmp_path: Path) -> None:
    record, code = run_bench(plan(tiny_model, tmp_path, target="onnxruntime-cuda"))
    assert code == 3 and "CUDAExecutionProvider" in record["rows"][0]["status"]


def test_a_jetsons_power_is_measured_with_each_engine_alone(
        tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "POWER_SECONDS", 0.3)
    monkeypatch.setattr(power_alone, "__defaults__", (Path("/"), 0.3))
    record, _ = run_bench(plan(tiny_model, make_jetson(tmp_path)))
    power = record["rows"][0]["power"]
    assert power["watts"]["total"] == power["watts_at_rest"]["total"] == 9.0  # VDD_IN: 5 V times 1.8 A
    assert power["millijoules_per_face"] > 0
    assert record["made_on"]["l4t"] == "36.4.3" and record["throttling"] == {"before": [], "after": []}


def test_energy_is_power_over_faces(tiny_model: Path, tmp_path: Path) -> None:
    model = load_model(tiny_model)
    entrant = Entrant("tiny", model, open_engine(model, "fp32", "cpu", threads=1), 1)
    one, many = (power_alone(entrant, batch, make_jetson(tmp_path), seconds=0.5) for batch in (1, 64))
    assert one["millijoules_per_face"] > many["millijoules_per_face"] > 0  # a batch costs less than its faces


def test_a_larger_graph_takes_more_memory() -> None:
    openings = [Opening("mien-light", precision, "cpu", 1, 8) for precision in ("fp32", "int8")]
    float32, int8 = (memory_alone(opening) for opening in openings)
    assert float32["opened_mib"] > int8["opened_mib"] > 1.0
    assert all(found["peak_mib"] >= found["opened_mib"] for found in (float32, int8))


def test_memory_that_cannot_be_measured_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="expected to measure the memory") as caught:
        memory_alone(Opening(str(tmp_path / "nowhere"), "fp32", "cpu", 1, 1))
    assert "\n" not in str(caught.value)


def mien(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "mien.py", "bench", *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, check=False)


def test_the_verb_writes_a_record_and_a_picture_and_compares_itself(tiny_model: Path, tmp_path: Path) -> None:
    made = mien(tiny_model, "--batch", 1, "--rounds", 40, "--record", tmp_path, "--picture", tmp_path / "p.png",
                "--json")
    assert made.returncode == 0, made.stderr
    record = json.loads(made.stdout)
    path, = tmp_path.glob("bench-tiny-*.json")
    assert json.loads(path.read_text()) == record and (tmp_path / "p.png").is_file()
    # the run itself, made ten times faster: today's is slower, or its machine was busy; never "not slower"
    for row in record["rows"]:
        row["samples_ms"] = (np.array(row["samples_ms"]) / 10).tolist()
    (tmp_path / "faster.json").write_text(json.dumps(record))
    compared = mien(tiny_model, "--batch", 1, "--rounds", 40, "--against", tmp_path / "faster.json")
    assert compared.returncode in (1, 4) and "times the old median" in compared.stderr


@pytest.mark.parametrize(("flags", "words"), [
    (("--rounds", 0), "at least one round"), (("--batch", 0), "batches of one or more"),
    (("--tolerance", -1), "tolerance"), (("--against", "nowhere.json"), "nowhere.json"),
    (("--picture", "x.txt"), "such an ending"), (("--picture", "nowhere/x.png"), "make it first"),
    (("--record", "nowhere/x.json"), "make it first")])
def test_bad_flags_are_one_line(tiny_model: Path, flags: tuple[object, ...], words: str) -> None:
    result = mien(tiny_model, *flags)  # one line: nothing was timed
    assert result.returncode == 2 and words in result.stderr and len(result.stderr.splitlines()) == 1
