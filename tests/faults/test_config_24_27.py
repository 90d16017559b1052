"""Faults 24–27: what a stream.yaml may hold that it must not."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kiosk import endless_folder, events_in, finish, has_event, start, wait_until, write_config

from runtime.errors import BadConfig
from runtime.stream_config import StreamConfig, load_config

SHIPPED = (Path(__file__).resolve().parents[2] / "stream.yaml").read_text()
Record = Callable[[str, object], None]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(SHIPPED)), cut=st.integers(0, 40),
       put=st.text(alphabet="ab:{}[]-,&*!|>'\"#%@?\n \t0.e1~\x00\ud800é", max_size=12))
def test_24_bad_yaml(tmp_path: Path, at: int, cut: int, put: str, record_property: Record) -> None:
    record_property("fault", "bad YAML")
    record_property("injected", "stream.yaml with text cut out and put in, 60 ways")
    record_property("observed", "a configuration, or one line that names the file; never another exception")
    path = tmp_path / "stream.yaml"
    path.write_bytes((SHIPPED[:at] + put + SHIPPED[at + cut :]).encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load_config(path), StreamConfig)
    except BadConfig as error:
        assert "\n" not in str(error) and "stream.yaml" in str(error)


def test_24_bad_yaml_while_it_runs(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record
) -> None:
    record_property("fault", "bad YAML, read again on SIGHUP")
    record_property("injected", "an unknown key, then a good file with another detection threshold and events file")
    source, events = endless_folder(tmp_path / "in", face_photo), tmp_path / "e.jsonl"
    keys = {"source": source, "model": tiny_model, "events": events}
    config = write_config(tmp_path / "s.yaml", **keys)
    running = start(config)
    wait_until(lambda: has_event(events, "faces"), running)
    write_config(config, **keys, max_facs=2)
    running.send_signal(signal.SIGHUP)
    wait_until(lambda: has_event(events, "reload", done=False), running)
    written = len(events.read_bytes())
    wait_until(lambda: len(events.read_bytes()) > written + 1000, running)  # the old goes on
    write_config(config, **{**keys, "events": tmp_path / "f.jsonl"}, face_threshold=0.3)
    running.send_signal(signal.SIGHUP)
    wait_until(lambda: has_event(tmp_path / "f.jsonl", "faces"), running)
    running.send_signal(signal.SIGTERM)
    code, summary, told = finish(running)
    refused = next(e for e in events_in(events) if e["event"] == "reload")
    first = events_in(tmp_path / "f.jsonl")[0]
    assert "found max_facs; did you mean max_faces?" in refused["why"] and refused["why"] in told
    assert (first["event"], first["done"], first["changed"]) == ("reload", True, ["detector", "events"])
    assert (code, summary["ended"]) == (0, "stopped")
    record_property("observed", f"refused in one line, the old went on; the good one took over; {summary['frames']} "
                                "frames in one count")


def test_25_duplicate_keys(tmp_path: Path, record_property: Record) -> None:
    record_property("fault", "duplicate keys")
    for text in ("source: a\nsource: b", "{source: a, mqtt: {port: 1, port: 2}}", "source: a\nmqtt: {}\nmqtt: {}"):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(BadConfig, match=r"s\.yaml:\d.*duplicate key"):
            load_config(tmp_path / "s.yaml")
    record_property("injected", "a key twice at the top, in a section, a section twice")
    record_property("observed", "refused with its line")


@pytest.mark.parametrize(("name", "text", "told"), [
    ("3,000 levels", "source: " + "[" * 3000 + "]" * 3000, "nested deeper than 20"),
    ("an alias bomb", "a: &a [x, x]\n" + "\n".join(f"b{i}: &b{i} [*a, *a]" for i in range(30)), "aliases"),
    ("300 KiB", "source: a\n" + "#" * 300 * 1024, "at most 262144 bytes"),
    ("a number of 5,000 digits", "source: a\nthreads: " + "9" * 5000, "expected valid YAML")])
def test_26_depth_aliases_and_size(
    tmp_path: Path, name: str, text: str, told: str, record_property: Record
) -> None:
    record_property("fault", "deep nesting, alias bomb, huge file")
    record_property("injected", name)
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(BadConfig, match=told) as caught:
        load_config(tmp_path / "s.yaml")
    record_property("observed", str(caught.value)[:120])


@pytest.mark.parametrize(("text", "told"), [
    ("threshold: .nan", "finite number for threshold"), ("camera_fps: .inf", "finite"), ("threshold: 1e999", "finite"),
    ("max_faces: '8'", "expected int for max_faces"), ("max_faces: 010", "disagree what number"),
    ("camera_width: 1:30", "disagree"), ("max_frames: 1_000", "disagree"), ("view: 1", "expected bool for view"),
    ("metrics: {port: 70000}", "port of 0–65535, found 70000.*metrics"),
    ("event_files: {keep: .nan}", "event_files.keep"),
    ("supervision: 5", "keys under supervision"), ('events: "a\\0b"', "printable text for events"),
    ('model: "\\ud800"', "printable text for model"), ("mqtt: {topic: 'a/#'}", "topic without"),
    ("mqtt: {password: x}", "did you mean mqtt.password_file")])
def test_27_nan_and_numbers_as_text(tmp_path: Path, text: str, told: str, record_property: Record) -> None:
    record_property("fault", "not a number, or not that type")
    record_property("injected", text)
    (tmp_path / "s.yaml").write_text("source: a\n" + text)
    with pytest.raises(BadConfig, match=told) as caught:
        load_config(tmp_path / "s.yaml")
    assert "\n" not in str(caught.value)
    record_property("observed", str(caught.value).replace(str(tmp_path), "")[:120])


def test_27_a_power_of_ten_is_a_number(tmp_path: Path, record_property: Record) -> None:
    record_property("fault", "1e3, which PyYAML reads as text")
    record_property("injected", "supervision.memory_slope: 1e3")
    (tmp_path / "s.yaml").write_text("source: a\nsupervision: {memory_slope: 1e3}")
    assert load_config(tmp_path / "s.yaml").supervision.memory_slope == 1000.0
    record_property("observed", "read as 1000")
