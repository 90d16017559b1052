"""The worker beside the loop: what it samples, what it drops, what it says, that it ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from watched_model import BOX, EAGER, answers_to, feed, random_faces, wait_until, watched_model

from runtime.card import Model
from runtime.drift import monitor as monitor_module
from runtime.drift.config import DriftConfig
from runtime.drift.monitor import MOST_TRACKS, NICER, TRACK_SECONDS, DriftMonitor
from runtime.drift.reference import Answer, Reference
from runtime.errors import MienError


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return watched_model(tmp_path / "model")


@pytest.fixture
def monitor(model: Model) -> Iterator[DriftMonitor]:
    with closing(DriftMonitor(model, "fp32", "cpu", EAGER)) as opened:
        yield opened


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The reference waits for this event."""
    go, real = threading.Event(), Reference.run

    def run(self: Reference, crop: np.ndarray) -> Answer:
        go.wait(30)
        return real(self, crop)

    monkeypatch.setattr(Reference, "run", run)
    yield go
    go.set()


def test_an_engine_that_is_fp32_agrees(monitor: DriftMonitor, model: Model) -> None:
    feed(monitor, model, random_faces(20))
    status = monitor.status()
    assert status["agreement"] == 1 and status["kl"] < 1e-9 and not status["alarming"]
    assert (status["state"], status["compared_with"]) == ("watching", "calibration")
    assert status["quantities"]["face_side"]["last"] == 100
    assert status["quantities"]["log_kl"]["last"] == -9 and "beyond_range" in status["quantities"]


def test_a_sample_waits_until_it_was_read(monitor: DriftMonitor, model: Model, held: threading.Event) -> None:
    face = random_faces(1)
    monitor.offer(face, BOX, answers_to(face, model), [1], 0.0)
    assert monitor.waiting == 1
    held.set()
    wait_until(lambda: not monitor.waiting)
    assert monitor.status()["samples"] == 1


def test_perturbed_weights_alarm_as_the_engines_departure(monitor: DriftMonitor, model: Model) -> None:
    feed(monitor, model, random_faces(40), off=0.05)
    assert monitor.status()["alarming"] == ["log_kl"] and monitor.status()["state"] == "alarm"


def test_halved_light_alarms_as_the_worlds_change(monitor: DriftMonitor, model: Model) -> None:
    feed(monitor, model, random_faces(120) // 2)
    alarming = monitor.status()["alarming"]
    assert "brightness" in alarming and "log_kl" not in alarming


def test_a_compiled_engine_learns_its_departure(model: Model) -> None:
    with closing(DriftMonitor(model, "fp32", "tensorrt", EAGER)) as monitor:
        quantities = monitor.status()["quantities"]
        assert quantities["log_kl"]["learning"] and not quantities["brightness"]["learning"]


def test_told_to_learn_it_compares_with_its_first_samples(model: Model) -> None:
    with closing(DriftMonitor(model, "fp32", "cpu", DriftConfig(learn=True))) as monitor:
        status = monitor.status()
        assert (status["state"], status["compared_with"]) == ("learning", "first samples")


def test_one_face_is_asked_for_ever_less_often(monitor: DriftMonitor, model: Model) -> None:
    face = random_faces(1)
    answer, taken = answers_to(face, model), []
    for second in range(0, 300, 2):
        before = monitor.status()["samples"]
        monitor._due = 0.0
        monitor.offer(face, BOX, answer, [7], float(second))
        if monitor._tracks[7][0] > second + TRACK_SECONDS - 1 and (not taken or monitor._tracks[7][0] != taken[-1][1]):
            taken.append((second, monitor._tracks[7][0]))
            wait_until(lambda before=before: monitor.status()["samples"] > before)
    assert [second for second, _ in taken] == [0, 30, 90, 210]


def test_the_second_face_is_taken_where_the_first_is_not_due(monitor: DriftMonitor, model: Model) -> None:
    faces = random_faces(2)
    for _ in range(2):
        monitor._due = 0.0
        monitor.offer(faces, BOX.repeat(2, axis=0), answers_to(faces, model), [1, 2], 0.0)
    assert set(monitor._tracks) == {1, 2}


def test_samples_keep_their_distance(model: Model) -> None:
    faces = random_faces(50)
    with closing(DriftMonitor(model, "fp32", "cpu", DriftConfig(seconds_between=60.0))) as monitor:
        for number, (face, answer) in enumerate(zip(faces, answers_to(faces, model))):
            monitor.offer(face[None], BOX, [answer], [number], float(number))
        wait_until(lambda: monitor.status()["samples"] == 1)
        assert len(monitor._tracks) == 1


def test_a_costly_reference_is_asked_less_often(monitor: DriftMonitor, model: Model) -> None:
    monitor._cost = 10.0
    feed(monitor, model, random_faces(1))
    assert monitor._due > time.monotonic() + 8


def test_what_the_worker_has_no_time_for_is_dropped_and_the_loop_never_waits(
    held: threading.Event, monitor: DriftMonitor, model: Model
) -> None:
    faces = random_faces(20)
    answers = answers_to(faces, model)
    for number, (face, answer) in enumerate(zip(faces, answers)):
        monitor.offer(face[None], BOX, [answer], [number], 0.0)
    assert monitor.status()["dropped"] >= 16
    held.set()
    wait_until(lambda: monitor.status()["samples"] + monitor.status()["dropped"] == 20)


def test_memory_of_tracks_is_bounded(monitor: DriftMonitor, model: Model) -> None:
    face = random_faces(1)
    answer = answers_to(face, model)
    for number in range(2 * MOST_TRACKS):
        monitor._due = 0.0
        monitor.offer(face, BOX, answer, [number], 0.0)
    assert len(monitor._tracks) == MOST_TRACKS and min(monitor._tracks) == MOST_TRACKS


def test_a_crop_is_copied_not_kept(held: threading.Event, monitor: DriftMonitor, model: Model) -> None:
    faces = random_faces(1)
    brightness = float(faces.mean())
    monitor.offer(faces, BOX, answers_to(faces, model), [1], 0.0)
    faces[:] = 0  # the pipeline's buffer is another frame's now
    held.set()
    wait_until(lambda: monitor.status()["samples"] == 1)
    assert monitor.status()["quantities"]["brightness"]["last"] == pytest.approx(brightness, abs=1e-3)


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no priorities on this system")
def test_the_worker_has_a_lower_priority_than_the_loop(monitor: DriftMonitor, model: Model) -> None:
    feed(monitor, model, random_faces(1))
    worker = next(t for t in threading.enumerate() if t.name == "drift" and t is monitor._thread)
    loop = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert os.getpriority(os.PRIO_PROCESS, worker.native_id or 0) == min(19, loop + NICER)


def test_a_reference_that_fails_is_told_and_costs_no_frame(
    monitor: DriftMonitor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MienError("expected finite FP32 activations, found NaN")

    monkeypatch.setattr(Reference, "run", fail)
    face = random_faces(1)
    for number in range(3):
        monitor.offer(face, BOX, answers_to(face, model), [number], 0.0)
        wait_until(lambda: monitor.status()["state"] == "failed")
    assert "the drift monitor stopped: expected finite" in monitor.status()["why"]


def test_it_ends_with_samples_waiting(held: threading.Event, monitor: DriftMonitor, model: Model) -> None:
    faces = random_faces(4)
    for number, (face, answer) in enumerate(zip(faces, answers_to(faces, model))):
        monitor.offer(face[None], BOX, [answer], [number], 0.0)
    held.set()
    monitor.close()
    monitor.close()
    assert not monitor._thread.is_alive()


def test_no_worker_outlives_its_patience(
    held: threading.Event, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "CLOSING_SECONDS", 0.05)
    monitor = DriftMonitor(model, "fp32", "cpu", EAGER)
    face = random_faces(1)
    monitor.offer(face, BOX, answers_to(face, model), [1], 0.0)
    monitor.close()  # returns, though the reference hangs
    assert monitor._thread.daemon


@pytest.mark.parametrize("change", [{"budget": 0.0}, {"budget": 1.1}, {"tolerance": 0.9}, {"seconds_between": -1.0},
                                    {"false_alarms_per_month": 0.0}])
def test_a_budget_out_of_range_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"expected {next(iter(change))} of"):
        DriftConfig(**change)  # type: ignore[arg-type]


def test_more_quantities_or_fewer_false_alarms_ask_for_more_evidence() -> None:
    # 30 days at a sample every 5 s are 518,400; one false alarm in ten months of eight quantities together
    assert DriftConfig().samples_between_alarms(8) == 518_400 * 10 * 8
