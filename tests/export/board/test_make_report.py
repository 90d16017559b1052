"""A whole report: on a stand-in for a Jetson in this process, and for real, with its child processes, on this CPU."""

from __future__ import annotations

import getpass
import glob
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boards import make_jetson, write
from inspector_samples import engine, layer

import mien
from calibration.onnx_graph import parse_model
from export.board.make_report import make_report, target_here
from export.board.record import BoardRecord, read_record
from export.board.task import Task
from export.board_verbs import exit_code_of

ROOT = Path(__file__).parents[3]


def status(record: BoardRecord) -> dict[str, str]:
    return {part.name: part.status for part in record.parts}


# the stand-in

def test_every_part_of_a_board_that_works_is_done(board, task: Task) -> None:
    record = make_report(task, lambda _: None)
    not_done = {name: part for name, part in status(record).items() if part != "done"}
    assert not_done == {"ahead of time": "not possible here"}, record.parts


def test_a_record_holds_what_every_precision_showed(complete: BoardRecord) -> None:
    every = ["fp32", "fp16", "int8"]
    for rows in (complete.builds, complete.layers, complete.numerics):
        assert [row.precision for row in rows] == every  # type: ignore[attr-defined]
    assert {build.gpus for build in complete.builds} == {("sm87",)}
    assert [(t.precision, t.batch) for t in complete.bench] == [(p, b) for b in (1, 8) for p in every]
    assert complete.facts["l4t"] == "36.4.3" and complete.gpu_tests is not None and complete.gpu_tests.passed == 1
    assert all(row.as_asked and not row.not_as_asked for row in complete.layers)


def test_an_engine_that_departs_fails_and_its_departure_is_in_the_record(board, task: Task) -> None:
    board.wrong_by = 5.0
    record = make_report(task, lambda _: None)
    found = status(record)
    assert [found[name] for name in ("builds", "numerics", "oracle", "bench")] == ["done", *["failed"] * 3]
    assert [round(row.worst) for row in record.numerics] == [5, 5, 5]
    assert record.bench == () and exit_code_of(record) == 1


def test_an_engine_without_an_answer_leaves_the_others(board, task: Task) -> None:
    board.wrong_by = float("nan")
    record = make_report(task, lambda _: None)
    assert record.part("numerics").status == "failed" and "NaN" in record.part("numerics").why
    assert record.part("builds").status == "done"


def test_a_layer_that_is_not_as_asked_is_counted(board, task: Task) -> None:
    conv = next(n.name for n in parse_model(task.open_model().read_graph("fp16"), "fp16").graph.node
                if n.op_type == "Conv")
    board.told["fp16"] = engine([layer(conv, "CaskConvolution", "float", "half", (conv,))])
    record = make_report(task, lambda _: None)
    assert {row.precision: row.not_as_asked for row in record.layers} == {"fp32": 0, "fp16": 1, "int8": 0}


def test_a_part_that_raises_what_nobody_expected_is_one_line(board, task: Task, monkeypatch) -> None:
    def defect(_: object) -> None:
        raise ZeroDivisionError("in\nseveral lines")

    monkeypatch.setattr("export.board.layers.judge_inspected", defect)
    record = make_report(task, lambda _: None)
    part = record.part("inspector")
    assert (part.status, record.part("bench").status) == ("failed", "done") and "\n" not in part.why


# the machine at hand

def test_a_machine_is_asked_for_its_gpu_whether_or_not_that_works(tmp_path: Path) -> None:
    assert target_here(tmp_path) == "cpu"
    write(tmp_path / "pc/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  595.78\n")
    assert target_here(tmp_path / "pc") == "tensorrt-rtx"
    assert target_here(make_jetson(tmp_path / "jetson")) == "tensorrt"


def report(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "mien.py", "board-report", *map(str, arguments)], cwd=ROOT, text=True,
                          capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"} | more)


@pytest.fixture(scope="module")
def on_this_cpu(small_model, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The verb, and the folder with its record."""
    place, scratch = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("scratch")
    done = report(small_model.directory, "--target", "cpu", "--rounds", 3, "--draws", 0, "--out", place,
                  TMPDIR=str(scratch))
    assert list(scratch.glob("mien*")) == []
    return done, place


def test_the_cpu_stands_in_for_a_board(on_this_cpu) -> None:
    done, place = on_this_cpu
    assert done.returncode == 0, done.stderr
    record = read_record(next(place.iterdir()))
    found = status(record)
    assert {found[name] for name in ("numerics", "oracle", "bench")} == {"done"}
    assert found["builds"] == found["inspector"] == "not possible here"
    assert record.builds == () and record.oracle is not None and record.oracle.integers > 0 == record.oracle.illegal


def test_the_gpu_tests_are_run_or_their_reason_is_in_the_record(on_this_cpu) -> None:
    part = read_record(next(on_this_cpu[1].iterdir())).part("gpu tests")
    assert part.status == "done" or ("every test skipped" in part.why and "GPU" in part.why)


def test_what_was_compiled_ahead_of_time_stands_apart(on_this_cpu) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    record = read_record(next(on_this_cpu[1].iterdir()))
    assert [build.precision for build in record.ahead_of_time] == ["fp32", "fp16", "int8"], record.parts
    assert all("sm86" in build.gpus for build in record.ahead_of_time)


def test_the_record_tells_nobodys_name_and_no_place(on_this_cpu, small_model) -> None:
    text = next(on_this_cpu[1].iterdir()).read_text()
    for private in (str(Path.home()), str(ROOT), str(small_model.directory), sys.prefix, "/tmp", " /", "~"):
        assert private not in text
    for name in {getpass.getuser(), platform.node()}:
        assert not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)


def test_it_says_how_to_send_the_record(on_this_cpu) -> None:
    done, place = on_this_cpu
    assert str(next(place.iterdir())) in done.stderr and "docs/boards" in done.stderr and "issue" in done.stderr


def test_check_takes_the_record_and_says_that_it_verifies_nothing(on_this_cpu, capsys) -> None:
    assert mien.main(["board-report", "--check", str(next(on_this_cpu[1].iterdir())), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["target"] == "cpu" and "it verifies no row" in said.err and "CPU" in said.err


@pytest.mark.parametrize(("flags", "words"), [
    (("--rounds", "0"), "a round or more"), (("--out", "nowhere/there/x.json"), "make it first"),
    (("nowhere",), "shipped models"), (("--check", "nowhere.json"), "nowhere.json")])
def test_bad_flags_are_one_line(flags: tuple[str, ...], words: str, capsys) -> None:
    assert mien.main(["board-report", *flags]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("mien: expected") and words in last


def temporary_folders(scratch: Path) -> list[str]:
    # glob, unlike Path.glob, does not mind what vanishes meanwhile
    return glob.glob(f"{scratch}/mien-*") + glob.glob(f"{scratch}/*/mien-*")


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "mien.py", "board-report", "--target", "cpu", "--out", str(tmp_path / "out")]
    # a suite that runs in a shell's background was told to ignore Ctrl-C, and its children inherit that
    with subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE,
                          env=os.environ | {"TMPDIR": str(tmp_path / "scratch")},
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)) as process:
        assert process.stderr is not None
        while "1 of 7" not in process.stderr.readline():
            assert process.poll() is None
        deadline = time.monotonic() + 30  # deep into the part: the report, the part and its child have a folder each
        while len(temporary_folders(tmp_path / "scratch")) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 128 + signal.SIGINT
    assert list((tmp_path / "out").iterdir()) == [] == list((tmp_path / "scratch").glob("mien*"))
