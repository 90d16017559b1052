"""stream.yaml and flags: one dataclass, every key known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mien import main
from runtime.camera.recovery import Recovery
from runtime.card import load_model
from runtime.config import read_yaml
from runtime.errors import BadConfig, BadInput
from runtime.stream import StreamConfig, config_of, load_config

ROOT = Path(__file__).resolve().parents[2]


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "s.yaml").write_text(text)
    return tmp_path / "s.yaml"


def test_the_repositorys_stream_yaml_has_every_key_with_its_default() -> None:
    values = read_yaml(ROOT / "stream.yaml")
    assert set(values) == {f.name for f in dataclasses.fields(StreamConfig)}
    kiosk = StreamConfig(source=values["source"], recovery=Recovery(wait_at_start=True))  # which nobody watches start
    assert load_config(ROOT / "stream.yaml") == kiosk


def test_every_key_of_stream_yaml_has_a_comment() -> None:
    lines = (ROOT / "stream.yaml").read_text().splitlines()
    bare = [line for above, line in zip(["", *lines], lines)
            if line and not line.startswith("#") and "#" not in line + above and not above.partition(":")[2]]
    assert bare == []


def test_relative_paths_lie_beside_the_file(tmp_path: Path) -> None:
    text = "{source: clip.mp4, model: ./m, faces: y.onnx, events: e.jsonl, video: v.mp4}"
    config = load_config(written(tmp_path, text))
    assert config == StreamConfig(str(tmp_path / "clip.mp4"), model=str(tmp_path / "m"), faces=str(tmp_path / "y.onnx"),
                                  events=tmp_path / "e.jsonl", video=tmp_path / "v.mp4")


@pytest.mark.parametrize("source", ["0", "'0'", "v4l2:///dev/video0", "file:///a.mp4", "/a/b.mp4"])
def test_cameras_uris_and_absolute_paths_stay_as_they_are(tmp_path: Path, source: str) -> None:
    assert load_config(written(tmp_path, f"source: {source}")).source == source.strip("'")


def test_haar_and_a_shipped_models_name_are_no_paths(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "{source: a.mp4, model: mien-light, faces: haar}"))
    assert (config.model, config.faces) == ("mien-light", "haar")


def test_overrides_replace_keys_and_none_means_not_given(tmp_path: Path) -> None:
    path = written(tmp_path, "{source: a.mp4, precision: fp16, threshold: 0.2}")
    config = load_config(path, {"precision": "int8", "threshold": None, "events": Path("here.jsonl")})
    assert (config.precision, config.threshold, config.events) == ("int8", 0.2, Path("here.jsonl"))


def test_flags_alone_make_a_config() -> None:
    assert config_of({"source": "0", "video": Path("a.mp4"), "events": None}) == StreamConfig("0", video=Path("a.mp4"))


@pytest.mark.parametrize(("text", "told"), [
    ("sauce: 0", "did you mean source"), ("{}", "value for source"), ("{source: a, precision: int4}", "int8"),
    ("{source: a, threshold: 1.5}", "threshold of 0–1"), ("{source: a, max_faces: 0}", "max_faces of 1–64"),
    ("{source: a, threads: -1}", "threads"), ("{source: a, view: 1}", "expected bool"),
    ("source: ''", "expected a source"),
    ("{source: a, threshold: .nan}", "finite"), ("{source: a, source: b}", "duplicate"),
    ("source: true", "expected str")])
def test_a_wrong_key_or_value_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadConfig, match=told):
        load_config(written(tmp_path, text))


def test_a_printed_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "{source: a.mp4, events: e.jsonl, mqtt: {host: broker, tls: true, "
                                           "ca_file: ca.pem}, event_files: {keep: 3}, supervision: {state: s}}"))
    assert config.mqtt.ca_file == tmp_path / "ca.pem" and config.supervision.state == tmp_path / "s"
    (tmp_path / "printed.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "printed.yaml") == config


def test_a_printed_configuration_holds_no_credential(tmp_path: Path) -> None:
    config = config_of({"source": "rtsp://user:secret@camera/stream"})
    assert "secret" not in config.to_yaml() and "rtsp://***@camera/stream" in config.to_yaml()


@pytest.mark.parametrize(("text", "told"), [
    ("mqtt: {topic: ''}", "topic"), ("mqtt: {topic: /a}", "topic"), ("mqtt: {ca_file: a.pem}", "tls: true"),
    ("mqtt: {queue: 0}", "queue of 1–100000"), ("mqtt: {pasword_file: a}", "did you mean mqtt.password_file"),
    ("metrics: {host: ''}", "expected a host"), ('metrics: {host: "kiosk\\u00e4"}', "expected a host"),
    ("event_files: {fsync: often}", "choose one of always, interval"),
    ("supervision: {engine_tries: 0}", "engine_tries of 1–100"), ("event_files: 5", "keys under event_files")])
def test_a_wrong_value_in_a_section_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadConfig, match=told):
        load_config(written(tmp_path, "source: a\n" + text))


def test_the_sections_of_stream_yaml_have_every_key_with_its_default_and_a_comment() -> None:
    values = read_yaml(ROOT / "stream.yaml")
    config = StreamConfig("x")
    for section in ("tracking", "smoothing", "recovery", "event_files", "metrics", "mqtt", "dashboard", "supervision"):
        assert list(values[section]) == [f.name for f in dataclasses.fields(getattr(config, section))]


@pytest.mark.parametrize("key", ["faces", "model"])
def test_a_name_too_long_for_a_file_is_a_name(key: str, tmp_path: Path) -> None:
    path = tmp_path / "stream.yaml"
    path.write_text(f"source: '0'\n{key}: {'n' * 300}\n")
    config = load_config(path)
    assert str(getattr(config, key)) == "n" * 300
    with pytest.raises(BadInput, match="expected a model directory with card.json, found n"):
        load_model(Path("n" * 300))


def test_flags_say_how_faces_are_searched(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--face-side", "320", "--face-threshold", "0.6"]
    assert main(["stream", "0", *flags, "--print-config", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["face_side"], values["face_threshold"]) == (320, 0.6)
