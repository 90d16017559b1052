"""A new configuration in a running stream: the new is open before the old goes, and a mistake changes nothing."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kiosk import Manager

from runtime.errors import BadConfig, MienError, Unavailable
from runtime.pieces import Piece, Pieces
from runtime.reload import SECONDS, Current, CurrentSource, _reloadable, reload_pieces
from runtime.sinks.metrics import MetricsServer
from runtime.stream_config import StreamConfig, SupervisionConfig
from runtime.supervision.health import Health
from runtime.supervision.stop_request import StopAsked, StopRequest
from runtime.supervision.systemd import Notifier

OLD = StreamConfig("old", model="m")
NO_METRICS = Piece("metrics", (), lambda config, beside: None)


class Part:
    """Something open, which writes down what happens to it."""

    def __init__(self, log: list[str], what: str):
        self.log, self.what, self.name, self.damaged = log, what, what, 0
        log.append(f"open {what}")

    def __iter__(self) -> Iterator[Any]:
        yield from (f"{self.what}-{number}" for number in range(3))

    def facts(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self.log.append(f"close {self.what}")


def parts(log: list[str]) -> list[Piece]:
    def opening(key: str) -> Any:
        def open_part(config: StreamConfig, beside: Any) -> Part:
            value = getattr(config, key)
            if value == "bad":
                raise Unavailable(f"expected a {key}, found none")
            return Part(log, str(value))
        return open_part
    return [Piece("reading", ("model",), opening("model")), Piece("source", ("source",), opening("source")),
            Piece("video", ("video",), lambda config, beside: None), NO_METRICS]


def test_parts_close_in_the_reverse_order() -> None:
    log: list[str] = []
    with Pieces(parts(log), OLD):
        pass
    assert log == ["open m", "open old", "close old", "close m"]


def test_a_part_that_does_not_open_closes_the_others() -> None:
    log: list[str] = []
    with pytest.raises(Unavailable):
        Pieces(parts(log), replace(OLD, source="bad"))
    assert log == ["open m", "close m"]


def test_only_what_changed_is_opened_and_before_the_old_goes() -> None:
    log: list[str] = []
    pieces = Pieces(parts(log), OLD)
    assert pieces.replace(replace(OLD, source="new", threshold=0.9)) == ["source"]
    assert log[2:] == ["open new", "close old"]
    assert (pieces["source"].what, pieces["reading"].what, pieces.config.threshold) == ("new", "m", 0.9)


def test_a_mistake_leaves_all_as_it_was() -> None:
    log: list[str] = []
    pieces = Pieces(parts(log), OLD)
    with pytest.raises(Unavailable):
        pieces.replace(replace(OLD, model="other", source="bad"))
    assert log[2:] == ["open other", "close other"]
    assert pieces.config == OLD and pieces["reading"].what == "m"


def test_the_pipeline_goes_on_with_the_next_source() -> None:
    pieces = Pieces(parts([]), OLD)
    seen = []
    for frame in CurrentSource(pieces, "source"):
        seen.append(frame)
        if frame == "old-1":
            pieces.replace(replace(OLD, source="new"))
    assert seen == ["old-0", "old-1", "new-0", "new-1", "new-2"]


def test_damaged_frames_of_all_sources_are_counted() -> None:
    pieces = Pieces(parts([]), OLD)
    source = CurrentSource(pieces, "source")
    frames = iter(source)
    next(frames)
    pieces["source"].damaged = 3
    assert source.damaged == 3
    pieces.replace(replace(OLD, source="new"))
    pieces["source"].damaged = 4
    assert next(frames) == "new-0" and source.damaged == 7


def test_a_part_sees_what_it_would_stand_beside() -> None:
    seen = []

    def open_video(config: StreamConfig, beside: Any) -> None:
        seen.append(beside["source"].what)
        if config.video == Path("bad"):
            raise Unavailable("expected a video, found none")

    pieces = Pieces([*parts([])[:2], Piece("video", ("video",), open_video)], OLD)
    with pytest.raises(Unavailable):
        pieces.replace(replace(OLD, source="new", video=Path("bad")))
    pieces.replace(replace(OLD, video=Path("good")))
    assert seen == ["old", "new", "old"], "what was rejected is beside nothing"


def test_what_a_rejected_part_said_of_itself_is_taken_back() -> None:
    health, told = Health(), Told()
    health.started()

    def open_source(config: StreamConfig, beside: Any) -> Part:
        health.report("detector", f"{config.source} runs on the CPU")
        return Part([], config.source)

    def open_video(config: StreamConfig, beside: Any) -> None:
        if config.video:
            raise Unavailable("expected a video, found none")

    pieces = Pieces([Piece("source", ("source",), open_source), Piece("video", ("video",), open_video), NO_METRICS],
                    OLD)
    with closing(Notifier({})) as notifier:
        reload_pieces(pieces, lambda: replace(OLD, source="new", video=Path("v")), told, health,  # type: ignore[arg-type]
                      notifier, StopRequest())
    assert told.events[-1]["done"] is False and health.troubles == {"detector": "old runs on the CPU"}


def test_a_stand_in_passes_on_to_what_is_open_now() -> None:
    pieces = Pieces(parts([]), OLD)
    stand_in = Current(pieces, "reading")
    assert stand_in.what == "m"
    pieces.replace(replace(OLD, model="other"))
    assert stand_in.what == "other"


@pytest.mark.parametrize("new", [
    replace(OLD, max_frames=3), replace(OLD, supervision=SupervisionConfig(engine_tries=9))])
def test_what_only_a_start_reads_is_refused(new: StreamConfig) -> None:
    with pytest.raises(BadConfig, match="restart the stream"):
        _reloadable(new, OLD)


def in_turn(log: list[str]) -> list[Piece]:
    """The video is alone, as a port is."""
    model, source, *_ = parts(log)

    def open_video(config: StreamConfig, beside: Any) -> Part:
        if config.video == Path("taken"):
            raise Unavailable("expected a video, found it taken")
        return Part(log, str(config.video))
    return [model, Piece("video", ("video",), open_video, alone=True), source]


def test_a_part_that_is_alone_goes_before_the_next_opens_and_after_all_others_did() -> None:
    log: list[str] = []
    pieces = Pieces(in_turn(log), replace(OLD, video=Path("a")))
    assert pieces.replace(replace(OLD, video=Path("b"), source="new")) == ["video", "source"]
    assert log[3:] == ["open new", "close a", "open b", "close old"]
    assert pieces["video"].what == "b"


@pytest.mark.parametrize("new", [replace(OLD, video=Path("taken")), replace(OLD, video=Path("b"), source="bad")])
def test_a_part_that_is_alone_comes_back_where_the_next_fails(new: StreamConfig) -> None:
    log: list[str] = []
    pieces = Pieces(in_turn(log), replace(OLD, video=Path("a")))
    with pytest.raises(Unavailable):
        pieces.replace(new)
    assert pieces["video"].what == "a" and log[-1] != "close a"
    assert pieces.config.video == Path("a")


def test_a_stop_while_a_part_opens_is_no_failure_and_changes_nothing() -> None:
    stop, log = StopRequest(), []

    def interrupted() -> StreamConfig:
        stop.ask(signal.SIGTERM, None)  # between reading the file and opening what it names
        return replace(OLD, model="other")

    with Pieces(parts(log), OLD) as pieces, closing(Notifier({})) as notifier:
        told = Told()
        reload_pieces(pieces, interrupted, told, Health(), notifier, stop)  # type: ignore[arg-type]
        assert (pieces["reading"].what, told.events, stop.asked) == ("m", [], True)
    assert log == ["open m", "open old", "close old", "close m"]


def test_a_signal_interrupts_what_opens_once_and_closes_it() -> None:
    stop, log = StopRequest(), []

    def open_slowly(config: StreamConfig, beside: Any) -> Part:
        Part(log, "half")
        stop.ask(signal.SIGTERM, None)
        raise AssertionError("the signal came before")

    with pytest.raises(StopAsked):
        Pieces([*parts(log), Piece("slow", (), open_slowly)], OLD, stop.interruptible)
    assert log == ["open m", "open old", "open half", "close old", "close m"]
    stop.ask(signal.SIGTERM, None)  # what closes now is not interrupted


def test_the_watchdog_hears_of_a_reload_that_takes_longer_than_it_waits(tmp_path: Path) -> None:
    def open_slowly(config: StreamConfig, beside: Any) -> Part:
        time.sleep(1.0 if config.source == "new" else 0)
        return Part([], config.source)

    pieces = Pieces([parts([])[0], Piece("source", ("source",), open_slowly), NO_METRICS], OLD)
    pieces["reading"].fallback = ""
    with closing(Manager(tmp_path / "notify")) as manager:
        with closing(Notifier({**manager.environment, "WATCHDOG_USEC": "800000"})) as notifier:
            reload_pieces(pieces, lambda: replace(OLD, source="new"), Told(), Health(), notifier,  # type: ignore[arg-type]
                          StopRequest())
        heard = manager.heard()
    assert heard[0].startswith("RELOADING=1") and heard[-1].startswith("READY=1")
    assert heard[1:-1].count("WATCHDOG=1") >= 2


def test_a_reload_is_alive_for_as_long_as_the_watchdog_hears_of_it_and_no_longer(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")
    now, alive = 0.0, list[bool]()
    monkeypatch.setattr("runtime.sinks.metrics.time", SimpleNamespace(monotonic=lambda: now))

    def open_slowly(config: StreamConfig, beside: Any) -> Part:
        nonlocal now
        for seconds in (SECONDS - 1, 2.0) if config.source == "new" else ():
            now += seconds
            alive.append(live())
        return Part([], config.source)

    def live() -> bool:
        with closing(HTTPConnection("127.0.0.1", pieces["metrics"].port, timeout=10)) as connection:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200

    metrics = Piece("metrics", (), lambda config, beside: MetricsServer(config.metrics, Health()))
    with Pieces([parts([])[0], Piece("source", ("source",), open_slowly), metrics], OLD) as pieces:
        pieces["reading"].fallback = ""
        with closing(Notifier({})) as notifier:
            reload_pieces(pieces, lambda: replace(OLD, source="new"), Told(), Health(), notifier,  # type: ignore[arg-type]
                          StopRequest())
        assert [*alive, live()] == [True, False, True]


class Told:
    """Stands where the sinks stand; keeps the events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def join(self) -> None:
        """Nobody listens."""

    def event(self, name: str, **fields: Any) -> None:
        self.events.append({"event": name, **fields})


def reload_with(load: Any) -> tuple[Pieces, dict[str, Any]]:
    pieces, told = Pieces(parts([]), OLD), Told()
    pieces["reading"].fallback = ""
    with closing(Notifier({})) as notifier:
        reload_pieces(pieces, load, told, Health(), notifier, StopRequest())  # type: ignore[arg-type]
    return pieces, told.events[-1]


def test_a_reload_is_an_event() -> None:
    pieces, event = reload_with(lambda: replace(OLD, source="new"))
    assert event == {"event": "reload", "done": True, "changed": ["source"], "source": "new"}
    assert pieces.config.source == "new"


def bad_file() -> StreamConfig:
    raise BadConfig("expected a known key in s.yaml, found sauce")


@pytest.mark.parametrize(("load", "why"), [
    (None, "expected a --config"), (bad_file, "found sauce"), (lambda: replace(OLD, source="bad"), "expected a source"),
    (lambda: replace(OLD, max_frames=1), "restart the stream")])
def test_a_reload_that_fails_says_why_and_changes_nothing(
    load: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    pieces, event = reload_with(load)
    assert (event["event"], event["done"]) == ("reload", False) and why in event["why"] and why in caplog.text
    assert pieces.config == OLD


@pytest.mark.parametrize("alone", [False, True])
def test_an_old_part_that_fails_to_close_is_told_and_the_new_one_goes_on(
    alone: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Sticking(Part):
        def close(self) -> None:
            raise OSError(errno.EIO, f"{self.what} sticks")

    log, told = list[str](), Told()
    monkeypatch.setattr(Part, "fallback", "", raising=False)
    sticking = Piece("source", ("source",), lambda config, beside: Sticking(log, config.source), alone)
    pieces = Pieces([parts(log)[0], sticking, NO_METRICS], OLD)
    with closing(Notifier({})) as notifier:
        reload_pieces(pieces, lambda: replace(OLD, source="new", model="n"), told, Health(),  # type: ignore[arg-type]
                      notifier, StopRequest())
    assert told.events[-1]["done"] and (pieces["source"].what, pieces["reading"].what) == ("new", "n")
    assert pieces.config.source == "new" and "close m" in log
    assert "old sticks" in caplog.text and "the old configuration goes on" not in caplog.text


def test_why_a_part_failed_is_told_also_where_the_old_one_does_not_come_back() -> None:
    opened = []

    def open_once(config: StreamConfig, beside: Any) -> Part:
        opened.append(config.source)
        if len(opened) in (2, 3):
            raise Unavailable(f"expected {config.source}, found it taken")
        return Part([], config.source)

    pieces = Pieces([Piece("source", ("source",), open_once, alone=True)], OLD)
    with pytest.raises(Unavailable, match="expected new"):
        pieces.replace(replace(OLD, source="new"))
    assert pieces["source"] is None
    pieces.open_again("source")
    assert pieces["source"].what == "old"


def test_an_error_of_our_own_making_is_not_swallowed() -> None:
    def broken() -> StreamConfig:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reload_with(broken)
    assert not issubclass(ZeroDivisionError, MienError)
