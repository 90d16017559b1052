"""`mien bundle`: what goes in, what is refused, and that the wheel is the same each time."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from bundles import HERE, kiosk_files, make_key, write_kiosk

import mien
from export.bundle.contents import bundled_config, bundled_models, model_files
from export.bundle.lean_wheel import build_wheel
from export.bundle.make import manifest_of
from runtime.card import load_model
from runtime.errors import BadInput, BadModel
from runtime.stream_config import load_config

GOOD = "# the lobby's\nsource: 0\nmodel: mien-light  # shipped\nmetrics:\n  port: 9464  # for the commit\n"


def config_file(folder: Path, text: str) -> Path:
    path = folder / "stream.yaml"
    path.write_text(text)
    return path


def test_a_configuration_keeps_its_comments_and_names_the_bundled_models(tmp_path: Path) -> None:
    text = bundled_config(config_file(tmp_path, GOOD), "models/a", "models/b").decode()
    assert "# the lobby's" in text and "# for the commit" in text
    (tmp_path / "models" / "a").mkdir(parents=True)
    found = load_config(config_file(tmp_path, text))
    assert (found.model, found.faces) == (str(tmp_path / "models/a"), str(tmp_path / "models/b"))


@pytest.mark.parametrize(("text", "says"), [
    (GOOD + "events: events.jsonl\n", "absolute path for events"), (GOOD.replace("9464", "0"), "metrics.port"),
    (GOOD + "supervision: {state: here}\n", "supervision.state"),
    (GOOD.replace("source: 0", "source: clip.mp4"), "source"),
    (GOOD + "mqtt: {host: a, password_file: secret}\n", "mqtt.password_file"),
    (GOOD + "recovery: {credentials: camera}\n", "recovery.credentials"),
    (GOOD + "dashboard: {token_file: token}\n", "dashboard.token_file")])
def test_a_configuration_that_a_slot_cannot_run_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        bundled_config(config_file(tmp_path, text), "models/a", "haar")


def test_a_models_every_file_is_verified_on_its_way_in(tiny_model: Path) -> None:
    assert set(model_files(load_model(tiny_model))) == {"card.json", "fp32.onnx", "golden.npz"}
    (tiny_model / "golden.npz").write_bytes(b"others")
    with pytest.raises(BadModel):
        model_files(load_model(tiny_model))


def test_a_shipped_model_comes_with_all_that_its_card_names() -> None:
    model = load_model(Path("mien-light"))
    assert model.card.drift and model.card.drift.file in model_files(model)


def test_a_reader_of_expressions_is_no_detector(tiny_model: Path) -> None:
    with pytest.raises(BadInput, match="finds faces"):
        bundled_models(str(tiny_model), str(tiny_model))


def test_an_engine_file_never_goes_in(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="compiled on the device"):
        manifest_of("kiosk", "1.0", HERE, kiosk_files(tmp_path) | {"models/tiny/fp16.engine": b""}, {})


def test_a_diff_names_what_came_went_and_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, files = make_key(tmp_path / "key"), kiosk_files(tmp_path)
    write_kiosk(tmp_path / "a.mien", key, "1.0", files | {"gone": b""})
    write_kiosk(tmp_path / "b.mien", key, "1.1", files | {"come": b"", "NOTICE.txt": b"new\n"})
    assert mien.main(["bundle", "diff", str(tmp_path / "a.mien"), str(tmp_path / "b.mien"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["added"], found["removed"], found["changed"]) == (["come"], ["gone"], ["NOTICE.txt"])
    assert found["version"] == ["1.0", "1.1"]


@pytest.mark.parametrize(("words", "says"), [
    (["verify", "a.mien"], "--signers"), (["verify"], "expected 1 bundles"), (["diff", "a"], "expected 2"),
    ([], "--config"), (["inspect", "none.mien"], "expected a bundle")])
def test_what_is_missing_is_said_in_a_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["bundle", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_wheel_is_the_same_each_time_and_holds_the_units() -> None:
    (name, first), (_, second) = build_wheel(), build_wheel()
    names = zipfile.ZipFile(BytesIO(first)).namelist()
    assert name.endswith("-py3-none-any.whl") and first == second
    assert "runtime/units/mien-kiosk.service" in names and "runtime/models/mien-light/card.json" in names
    assert not [path for path in names if "checkpoints" in path]
