"""`drift-camera.json`, `drift-engine.json`: what watches came to outlives restarts, each engine and camera its own."""

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
from runtime.drift.learned import (
    CAMERA_FILE,
    ENGINE_FILE,
    EVERY,
    MOST,
    LearnedBaselines,
    camera_words,
    engine_words,
    learned_of,
)
from runtime.drift.monitor import DriftMonitor
from runtime.drift.watch import LEARN, Past, Watch, WatchRules

OF = {"log_kl": "engine a", "face_side": "camera 1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / CAMERA_FILE


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
        made[name].go_on_from(one)
    return made


def write(path: Path, seen: dict[str, Watch], of: dict[str, str] = OF) -> None:
    kept = LearnedBaselines(path)
    kept.read(of)
    kept.write_in_time(seen, now=True)


def first(watch: Watch) -> int:
    """Return how many first values a watch has that learns."""
    assert watch.learning
    return len(watch.past.first)


def test_learning_goes_on_after_a_restart_as_if_there_had_been_none(path: Path) -> None:
    write(path, watches(log_kl=LEARN - 7))
    again = restarted(path)["log_kl"]
    whole = watches(log_kl=LEARN)["log_kl"]
    for value in np.random.default_rng(0).normal(size=LEARN)[-7:].tolist():
        assert again.learning
        again.add(value)
    assert not again.learning and again.past == whole.past


def test_a_restart_compares_with_what_was_learned_at_first(path: Path) -> None:
    write(path, watches(log_kl=LEARN))
    again = restarted(path)["log_kl"]
    assert not again.learning
    for value in np.random.default_rng(1).normal(2.0, size=LEARN).tolist():
        again.add(value)
    assert again.alarming  # learned anew these would have been the baseline


def test_evidence_and_alarms_outlive_a_restart_as_if_there_had_been_none(path: Path) -> None:
    """A kiosk that is switched off each evening would never gather enough of a small departure in a day."""
    rules, baseline = WatchRules(1.25, 1e6), Bins.of(np.random.default_rng(0).normal(size=LEARN))
    whole, split = Watch(rules, baseline), Watch(rules, baseline)
    alarmed = 0
    for number, value in enumerate(np.random.default_rng(1).normal(0.7, size=3000).tolist()):
        if number % 100 == 50:
            write(path, {"log_kl": split})
            split = Watch(rules, baseline)
            split.go_on_from(LearnedBaselines(path).read(OF)["log_kl"])
        whole.add(value)
        split.add(value)
        assert (split.alarming, split.stability) == (whole.alarming, whole.stability)
        assert split.progress == pytest.approx(whole.progress)
        alarmed += whole.alarming
    assert alarmed > 1000 and split.stood == whole.stood


@pytest.mark.parametrize("other", [
    Watch(WatchRules(1.25, 1e6), Bins((0.0,), (500, 501))), Watch(WatchRules(1.5, 1e6), Bins((0.0,), (500, 500))),
    Watch(WatchRules(1.25, 1e6))])
def test_evidence_against_another_baseline_or_by_another_tolerance_is_none(path: Path, other: Watch) -> None:
    given = Watch(WatchRules(1.25, 1e6), Bins((0.0,), (500, 500)))
    for _ in range(300):
        given.add(1.0)
    assert given.alarming
    write(path, {"log_kl": given})
    other.go_on_from(LearnedBaselines(path).read(OF)["log_kl"])
    assert not other.alarming and other.progress == other.stability == 0 and other.learning == (other.past.bins is None)
    other.add(1.0)
    with pytest.raises(ValueError, match="has met nothing"):
        other.go_on_from(Past())


def test_another_engine_learns_its_own_and_the_first_goes_on_once_it_is_back(path: Path) -> None:
    write(path, watches(log_kl=LEARN, face_side=20))
    other = OF | {"log_kl": "engine b"}
    second = restarted(path, other)
    assert first(second["log_kl"]) == 0 and first(second["face_side"]) == 20  # the camera is the same
    write(path, watches(log_kl=30), other)
    assert not restarted(path)["log_kl"].learning
    assert first(restarted(path, other)["log_kl"]) == 30


def test_what_was_not_met_for_longest_is_forgotten(path: Path) -> None:
    write(path, watches(log_kl=5))
    for number in range(MOST):
        write(path, watches(log_kl=5), {"log_kl": f"engine {number}", "face_side": "camera 1"})
    kept = json.loads(path.read_text())["of"]
    assert len(kept) == MOST and "engine a" not in kept and {"camera 1", f"engine {MOST - 1}"} <= set(kept)


def test_it_is_written_as_often_as_it_is_worth_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(learned_module.time, "monotonic", lambda: clock[0])
    kept, seen = LearnedBaselines(path), watches()
    kept.read(OF)

    def written(values: int, seconds: float, of: dict[str, Watch]) -> list[int]:
        """Return after which of so many values, so far apart, the file was written."""
        found = []
        for number in range(1, values + 1):
            of["log_kl"].add(float(number % 7))
            clock[0] += seconds
            path.unlink(missing_ok=True)
            kept.write_in_time(of)
            if path.exists():
                found.append(number)
        return found

    alone = {"log_kl": seen["log_kl"]}
    assert written(LEARN, 0.1, alone) == [1, *range(1 + EVERY, LEARN, EVERY), LEARN]
    assert written(200, 60, alone | {"face_side": seen["face_side"]}) == [60, 120, 180]  # evidence: once an hour
    slow = watches()  # of which one has nothing to learn from
    assert written(40, 60, slow) == [1, 11, 21, 31]  # few faces a day, and the power goes each evening
    path.unlink(missing_ok=True)
    kept.write_in_time(slow, now=True)
    assert path.exists()
    path.unlink()
    kept.write_in_time(slow, now=True)
    assert not path.exists()  # nothing is new


def test_without_a_folder_nothing_is_kept() -> None:
    kept = LearnedBaselines(None)
    assert kept.read(OF) == {} and kept.file == ""
    kept.write_in_time(watches(log_kl=LEARN), now=True)


BETS = [{"counts": [1.0, 1.0], "weight": 1.0, "sum": 1.0}] * 3


@pytest.mark.parametrize("content", [
    "", "null", "[1]", '{"version": 2, "of": {}}', '{"version": 1}', "{" * 5000, "\udcff", '{"version": 1, "of": 3}',
    '{"version": 1, "of": {"engine a": 3}}', '{"version": 1, "of": {"engine a": {"log_kl": null}}}',
    '{"version": 1, "of": {"engine a": {"log_kl": {"first": [NaN]}}}}',
    '{"version": 1, "of": {"engine a": {"log_kl": {"first": [1e999]}}}}',
    '{"version": 1, "of": {"engine a": {"log_kl": {"bins": {"edges": [2, 1], "counts": [1, 1, 1]}}}}}',
    json.dumps({"version": 1, "of": {"engine a": {"log_kl": {"first": [0.0] * LEARN}}}}),
    json.dumps({"version": 1, "of": {"engine a": {"log_kl": {"recent": [0] * 501}}}}),
    json.dumps({"version": 1, "of": {"engine a": {"log_kl": {"stood": 10**400}}}}),
    json.dumps({"version": 1, "of": {"engine a": {"log_kl": {"bets": [BETS[0] | {"sum": 1e300}]}}}}),
    json.dumps({"version": 1, "of": {}, "more": "x" * (learned_module.MAX_BYTES + 1)})])
def test_a_damaged_file_is_told_and_put_aside(path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert all(first(watch) == 0 for watch in restarted(path).values())
    assert [r.getMessage().count(f"what was learned in {path}") for r in caplog.records] == [1]
    aside = path.with_name("drift-camera-damaged.json")
    assert not path.exists() and aside.read_bytes() == content.encode(errors="surrogateescape")
    write(path, watches(log_kl=3))
    assert first(restarted(path)["log_kl"]) == 3 and aside.exists()


@pytest.mark.parametrize("past", [
    {"bins": {"edges": [0.0], "counts": [10**400, 1]}}, {"bins": {"edges": [0.0], "counts": [3, 1]}},
    {"bins": {"edges": [0.0], "counts": [LEARN - 1, 1]}, "tolerance": 1.25, "recent": [2], "bets": BETS},
    {"bins": {"edges": [0.0], "counts": [LEARN - 1, 1]}, "tolerance": 1.25, "recent": [-1], "bets": BETS},
    {"bins": {"edges": [0.0], "counts": [LEARN - 1, 1]}, "tolerance": 1.25, "recent": [1] * 60, "bets": BETS[:2]}])
def test_numbers_that_no_watch_comes_to_harm_none(path: Path, past: dict[str, object]) -> None:
    path.write_text(json.dumps({"version": 1, "of": {"engine a": {"log_kl": past}}}))
    watch = restarted(path)["log_kl"]
    watch.add(1.0)
    assert watch.stability == 0 and not watch.alarming and watch.past.first in ((1.0,), ())


def test_one_owners_damage_costs_the_others_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, watches(log_kl=LEARN, face_side=20))
    values = json.loads(path.read_text())
    values["of"]["engine a"]["log_kl"]["bins"]["counts"][0] = -1
    path.write_text(json.dumps(values))
    again = LearnedBaselines(path)
    found = again.read(OF)
    assert set(found) == {"face_side"} and "drift-camera-damaged.json" in caplog.text
    again.write_in_time(watches(), now=True)  # soon, whether something is new or not
    assert first(restarted(path)["face_side"]) == 0 and path.exists()


def test_a_file_that_cannot_be_read_is_left_as_it_is(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, watches(log_kl=LEARN))
    before = path.read_bytes()

    def broken(self: Path, mode: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", broken)
        kept = LearnedBaselines(path)
        assert kept.read(OF) == {} and kept.file == "" and "Input/output error" in caplog.text
    kept.write_in_time(watches(log_kl=3), now=True)
    assert path.read_bytes() == before


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
    assert first(restarted(path)["log_kl"]) == 2 * EVERY


@pytest.mark.parametrize("now", [True, False])
def test_what_a_full_disk_refused_is_written_at_the_end_or_an_hour_later(
    path: Path, now: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, seen = LearnedBaselines(path), watches(log_kl=LEARN)
    kept.read(OF)
    if not now:
        monkeypatch.setattr(learned_module, "SECONDS", 0.0)
    with full_disk():
        kept.write_in_time(seen)
    kept.write_in_time(seen, now)
    assert not restarted(path)["log_kl"].learning


def test_a_folder_that_cannot_be_read_costs_the_past_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    assert LearnedBaselines(path).read(OF) == {} and "Is a directory" in caplog.text


def test_what_a_quantity_is_learned_of(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    of = learned_of(model, "engine a", "camera 1")
    fp32, int8 = hashes_of(model)
    assert of["log_kl"] == "engine a" and of["face_side"] == "camera 1"
    assert of["brightness"] == f"camera 1 {fp32}" and of["beyond_range"] == f"camera 1 {fp32} {int8}"
    with closing(DriftMonitor(model, "fp32", "cpu", EAGER)) as monitor:
        assert set(of) == set(monitor.status()["quantities"])
    one = engine_words(model, "fp32", "tensorrt", "ab12")
    assert " tensorrt ab12 " in one and one != engine_words(model, "fp32", "tensorrt", "cd34")
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
        assert monitor.status()["learned"] == {"file": str(tmp_path / CAMERA_FILE),
                                               "engine": str(tmp_path / ENGINE_FILE)}
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
