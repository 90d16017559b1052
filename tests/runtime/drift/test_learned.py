"""`drift-learned.json`: learning goes on after a restart, what was learned stays, of each engine and camera its own."""

from __future__ import annotations

import dataclasses
import errno
import json
import resource
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from watched_model import EAGER, feed, random_faces, wait_until, watched_model

from runtime.card import Model
from runtime.drift import learned as learned_module
from runtime.drift.baseline import hashes_of
from runtime.drift.bins import Bins
from runtime.drift.config import DriftConfig
from runtime.drift.learned import EVERY, FILE, MOST, LearnedBaselines, camera_words, engine_words, learned_of
from runtime.drift.monitor import DriftMonitor
from runtime.drift.watch import LEARN, Watch, WatchRules

OF = {"log_kl": "engine a", "face_side": "camera 1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return watched_model(tmp_path / "model")


def watches(**values: int) -> dict[str, Watch]:
    """Return watches without a baseline that met so many values."""
    made = {name: Watch(WatchRules(1.25, 1e6)) for name in OF}
    for name, count in values.items():
        for value in np.random.default_rng(0).normal(size=count).tolist():
            made[name].add(value)
    return made


def restarted(path: Path, of: dict[str, str] = OF) -> dict[str, Watch]:
    """Return what a new process begins with."""
    found, made = LearnedBaselines(path).read(of), watches()
    for name, one in found.items():
        made[name].go_on_from(one.bins or one.first)
    return made


def write(path: Path, seen: dict[str, Watch], of: dict[str, str] = OF) -> None:
    kept = LearnedBaselines(path)
    kept.read(of)
    kept.write_in_time(seen, now=True)


def test_learning_goes_on_after_a_restart_as_if_there_had_been_none(path: Path) -> None:
    write(path, watches(log_kl=LEARN - 7))
    again = restarted(path)["log_kl"]
    whole = watches(log_kl=LEARN)["log_kl"]
    for value in np.random.default_rng(0).normal(size=LEARN)[-7:].tolist():
        assert again.learning
        again.add(value)
    assert not again.learning and again.learned == whole.learned


def test_a_restart_compares_with_what_was_learned_at_first(path: Path) -> None:
    write(path, watches(log_kl=LEARN))
    again = restarted(path)["log_kl"]
    assert not again.learning
    for value in np.random.default_rng(1).normal(2.0, size=LEARN).tolist():
        again.add(value)
    assert again.alarming  # learned anew these would have been the baseline


def test_what_has_a_baseline_learns_and_writes_nothing(path: Path) -> None:
    given = Watch(WatchRules(1.25, 1e6), Bins((0.0,), (5, 5)))
    given.add(1.0)
    write(path, {"log_kl": given})
    assert given.learned is None and not path.exists()
    with pytest.raises(ValueError, match="has learned nothing"):
        given.go_on_from((1.0,))


def test_another_engine_learns_its_own_and_the_first_goes_on_once_it_is_back(path: Path) -> None:
    write(path, watches(log_kl=LEARN, face_side=20))
    other = OF | {"log_kl": "engine b"}
    second = restarted(path, other)
    assert second["log_kl"].learned == () and len(second["face_side"].learned or ()) == 20  # the camera is the same
    write(path, watches(log_kl=30), other)
    assert isinstance(restarted(path)["log_kl"].learned, Bins)
    assert len(restarted(path, other)["log_kl"].learned or ()) == 30  # type: ignore[arg-type]


def test_what_was_not_met_for_longest_is_forgotten(path: Path) -> None:
    write(path, watches(log_kl=5))
    for number in range(MOST):
        write(path, watches(log_kl=5), {"log_kl": f"engine {number}", "face_side": "camera 1"})
    kept = json.loads(path.read_text())["of"]
    assert len(kept) == MOST and "engine a" not in kept and {"camera 1", f"engine {MOST - 1}"} <= set(kept)


def test_it_is_written_while_something_learns_and_then_no_more(path: Path) -> None:
    kept, seen = LearnedBaselines(path), watches()
    kept.read(OF)
    written = []
    for number in range(1, LEARN + 100):
        seen["log_kl"].add(float(number % 7))
        before = path.read_bytes() if path.exists() else b""
        kept.write_in_time(seen)
        if path.exists() and path.read_bytes() != before:
            written.append(number)
    assert written == list(range(EVERY, LEARN + 1, EVERY))
    path.unlink()
    kept.write_in_time(seen, now=True)
    assert not path.exists()  # nothing is new


def test_without_a_folder_nothing_is_kept() -> None:
    kept = LearnedBaselines(None)
    assert kept.read(OF) == {} and kept.facts() == {"file": ""}
    kept.write_in_time(watches(log_kl=LEARN), now=True)


@pytest.mark.parametrize("content", [
    "", "null", "[1]", '{"version": 2, "of": {}}', '{"version": 1}', "{" * 5000, "\udcff",
    '{"version": 1, "of": {"engine a": {"log_kl": {"first": [NaN]}}}}',
    '{"version": 1, "of": {"engine a": {"log_kl": {"first": [1e999]}}}}',
    '{"version": 1, "of": {"engine a": {"log_kl": {"bins": {"edges": [2, 1], "counts": [1, 1, 1]}}}}}',
    json.dumps({"version": 1, "of": {"engine a": {"log_kl": {"first": [0.0] * LEARN}}}}),
    json.dumps({"version": 1, "of": {}, "more": "x" * (learned_module.MAX_BYTES + 1)})])
def test_a_damaged_file_is_told_and_replaced_in_time(
    path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert all(watch.learned == () for watch in restarted(path).values())
    assert [r.getMessage().count(f"what was learned in {path}") for r in caplog.records] == [1]
    write(path, watches(log_kl=3))
    assert len(restarted(path)["log_kl"].learned or ()) == 3  # type: ignore[arg-type]


@contextmanager
def full_disk() -> Iterator[None]:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_a_full_disk_is_told_and_tried_again_as_many_values_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept, seen = LearnedBaselines(path), watches(log_kl=EVERY)
    kept.read(OF)
    with full_disk():
        kept.write_in_time(seen)
        kept.write_in_time(seen)
    assert len(caplog.records) == 1 and not list(path.parent.iterdir())
    for value in range(EVERY):
        seen["log_kl"].add(float(value))
    kept.write_in_time(seen)
    assert len(restarted(path)["log_kl"].learned or ()) == 2 * EVERY  # type: ignore[arg-type]


@pytest.mark.parametrize("now", [True, False])
def test_bins_that_a_full_disk_refused_are_written_at_the_end_or_an_hour_later(
    path: Path, now: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, seen = LearnedBaselines(path), watches(log_kl=LEARN)
    kept.read(OF)
    if not now:
        monkeypatch.setattr(learned_module, "AGAIN_SECONDS", 0.0)
    with full_disk():
        kept.write_in_time(seen)
    kept.write_in_time(seen, now)
    assert isinstance(restarted(path)["log_kl"].learned, Bins)


def test_a_folder_that_cannot_be_read_costs_the_past_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    assert LearnedBaselines(path).read(OF) == {} and "Is a directory" in caplog.text


def test_what_a_quantity_is_learned_of(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    of = learned_of(model, "engine a", "camera 1")
    fp32, int8 = hashes_of(model)
    assert of["log_kl"] == "engine a" and of["face_side"] == "camera 1"
    assert of["brightness"] == f"camera 1 {fp32}" and of["beyond_range"] == f"camera 1 {fp32} {int8}"
    assert set(of) == {"log_kl", *DriftMonitor(model, "fp32", "cpu", EAGER).status()["quantities"]}
    first = engine_words(model, "fp32", "tensorrt", "ab12")
    assert " tensorrt ab12 " in first and first != engine_words(model, "fp32", "tensorrt", "cd34")
    monkeypatch.setitem(sys.modules, "tensorrt", dataclasses.make_dataclass("T", [("__version__", str, "10.3")])())
    assert "tensorrt 10.3" in engine_words(model, "fp32", "tensorrt", "ab12")
    assert "tensorrt" not in engine_words(model, "fp32", "cpu", "")  # imported in vain


def test_a_camera_is_known_by_its_settings_and_no_password_is_written() -> None:
    one = camera_words("rtsp://user:secret@camera/1", 640, "mien-face")
    assert "secret" not in one and one != camera_words("rtsp://user:secret@camera/2", 640, "mien-face")
    assert one == camera_words("rtsp://user:secret@camera/1", 640, "mien-face")


def monitor_of(model: Model, state: Path, compiled: str = "ab12") -> DriftMonitor:
    return DriftMonitor(model, "fp32", "tensorrt", DriftConfig(seconds_between=0.0, budget=1.0), state, compiled, "c")


def learning(monitor: DriftMonitor) -> dict[str, bool]:
    return {name: facts["learning"] for name, facts in monitor.status()["quantities"].items()}


def test_a_compiled_engine_that_departs_overnight_is_found_by_the_next_process(model: Model, tmp_path: Path) -> None:
    with closing(monitor_of(model, tmp_path)) as monitor:
        feed(monitor, model, random_faces(300))
        assert learning(monitor)["log_kl"] and not learning(monitor)["brightness"]
        assert monitor.status()["learned"] == {"file": str(tmp_path / FILE)}
    with closing(monitor_of(model, tmp_path)) as monitor:
        feed(monitor, model, random_faces(LEARN - 300, seed=1))
        assert not learning(monitor)["log_kl"]
    with closing(monitor_of(model, tmp_path)) as monitor:
        wait_until(lambda: not learning(monitor)["log_kl"])
        feed(monitor, model, random_faces(60, seed=2), off=0.05)
        assert monitor.status()["alarming"] == ["log_kl"]
    with closing(monitor_of(model, tmp_path, "cd34")) as monitor:  # compiled anew: it rounds in its own way
        feed(monitor, model, random_faces(1, seed=3))
        assert learning(monitor)["log_kl"] and not learning(monitor)["face_side"]


def test_a_full_disk_costs_the_monitor_nothing(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(learned_module, "write_text", full)
    with closing(monitor_of(model, tmp_path)) as monitor:
        feed(monitor, model, random_faces(EVERY + 10))
        assert monitor.status()["state"] == "learning"
