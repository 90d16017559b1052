"""What is opened after engines failed, counted over processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.engines import shared
from runtime.engines.engine import Engine
from runtime.errors import GpuLost, MienError, RestartNeeded, Unavailable
from runtime.reading import Reading, open_reading
from runtime.stream_config import StreamConfig, SupervisionConfig
from runtime.supervision.fallback import FILE, Choice, FailureCount, ladder

INT8 = Choice("int8", "tensorrt")


def test_the_ladder_ends_on_the_cpu() -> None:
    assert [str(c) for c in ladder(INT8)] == ["int8 on tensorrt", "fp32 on tensorrt", "int8 on cpu", "fp32 on cpu"]
    assert ladder(Choice("fp32", "cpu")) == [Choice("fp32", "cpu")]


def test_failures_outlive_a_process_and_lead_down(tmp_path: Path) -> None:
    rungs = []
    for _ in range(9):
        failures = FailureCount(tmp_path, "m", INT8, tries=2)
        rungs.append(failures.rung())
        failures.add("CUDA error 700")
    assert rungs == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert FailureCount(tmp_path, "m", INT8, 2).why == "CUDA error 700"


def test_another_model_or_choice_begins_anew(tmp_path: Path) -> None:
    FailureCount(tmp_path, "m", INT8, 1).add("x")
    assert FailureCount(tmp_path, "m", INT8, 1).rung() == 1
    assert FailureCount(tmp_path, "other", INT8, 1).rung() == 0
    assert FailureCount(tmp_path, "m", Choice("fp16", "tensorrt"), 1).rung() == 0


def test_what_was_asked_for_is_forgiven_once_it_works(tmp_path: Path) -> None:
    failures = FailureCount(tmp_path, "m", INT8, tries=3)
    failures.add("x")
    failures.settled()
    failures.add("y")
    failures.add("z")
    assert FailureCount(tmp_path, "m", INT8, tries=3).rung() == 0


def test_a_lower_rung_that_works_stays(tmp_path: Path) -> None:
    FailureCount(tmp_path, "m", INT8, tries=1).add("x")
    FailureCount(tmp_path, "m", INT8, tries=1).settled()
    assert FailureCount(tmp_path, "m", INT8, tries=1).rung() == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"count": 1}', '{"model":"m","asked":{"x":1},"count":9,"why":""}',
                                     '{"model":"m","asked":{"precision":"int8","target":"tensorrt"},"count":-5,"why":""}',
                                     "[" * 100_000, '"\\ud800"'])
def test_a_damaged_count_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert FailureCount(tmp_path, "m", INT8, 1).rung() == 0


def test_a_full_disk_costs_the_count_only(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
                                          tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runtime.supervision.fallback.write_text", full)
    FailureCount(tmp_path, "m", INT8, 1).add("x")
    assert "No space left" in caplog.text


def opening(monkeypatch: pytest.MonkeyPatch, failing: dict[str, MienError]) -> list[str]:
    """Let engines open on the CPU in place of their target, except those that fail; return what was tried."""
    tried: list[str] = []
    real = shared.open_engine

    def open_engine(model: object, precision: str, target: str, *rest: object, **more: object) -> Engine:
        tried.append(f"{precision} on {target}")
        if tried[-1] in failing:
            raise failing[tried[-1]]
        return real(model, precision, "cpu", *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(shared, "open_engine", open_engine)
    return tried


def config_for(model: Path, precision: str = "fp32") -> StreamConfig:
    return StreamConfig("0", model=str(model), precision=precision, target="tensorrt",  # type: ignore[arg-type]
                        supervision=SupervisionConfig(engine_tries=2))


def test_under_a_supervisor_the_next_rung_opens_and_says_why(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = opening(monkeypatch, {"fp32 on tensorrt": Unavailable("expected an engine, found none")})
    reading = open_reading(config_for(tiny_model), tmp_path)
    assert tried == ["fp32 on tensorrt", "fp32 on cpu"]
    assert reading.fallback == "fp32 on tensorrt failed: expected an engine, found none; fp32 on cpu runs"


def test_a_person_is_never_given_another_engine(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = opening(monkeypatch, {"fp32 on tensorrt": Unavailable("none")})
    with pytest.raises(Unavailable):
        open_reading(config_for(tiny_model), None)
    assert tried == ["fp32 on tensorrt"]


def test_a_lost_gpu_ends_the_process_and_is_counted(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = opening(monkeypatch, {"fp32 on tensorrt": GpuLost("the GPU is silent")})
    for _ in range(2):
        with pytest.raises(GpuLost):
            open_reading(config_for(tiny_model), tmp_path)
    reading = open_reading(config_for(tiny_model), tmp_path)
    assert tried == ["fp32 on tensorrt"] * 2 + ["fp32 on cpu"]
    assert "the GPU is silent" in reading.fallback


def test_an_engine_that_fails_in_work_is_counted_and_ends_the_process(tiny_model: Path, tmp_path: Path) -> None:
    config = StreamConfig("0", model=str(tiny_model), supervision=SupervisionConfig(engine_tries=1))
    reading: Reading = open_reading(config, tmp_path)
    reading.engine._engine.close()  # type: ignore[attr-defined]
    with pytest.raises(RestartNeeded, match="expected an open engine") as caught:
        reading.engine.run({})
    assert caught.value.exit_code == 75
    assert "expected an open engine" in FailureCount(tmp_path, "tiny", Choice("fp32", "auto"), 1).why
