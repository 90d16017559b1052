"""What a slot's own mien refuses while it is tried: a camera that gives too little, a board that is slow, answers that
are no numbers. An engine that departs from PyTorch is `tests/faults`' row 53."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from bundles import kiosk_files
from tiny_model import TinyNetwork

import mien
from runtime import stream
from runtime.card import FileEntry, load_model, save_card
from runtime.errors import MienError
from runtime.slots import canary
from runtime.slots.canary import Trial, prepare, try_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A kiosk's configuration as it lies in a slot; it would write events if it ran."""
    bundle = tmp_path / "1.0-slot" / "bundle"
    for name, content in kiosk_files(tmp_path, events=str(tmp_path / "events.jsonl")).items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(content)
    return bundle / "stream.yaml"


def test_a_good_slot_is_measured_and_writes_no_events(config: Path, tmp_path: Path) -> None:
    found = try_config(config, Trial(frames=5, budget_ms=60_000))
    assert (found["frames"], found["not_finite"]) == (5, 0) and 0 < found["p95_ms"] < 60_000
    assert not (tmp_path / "events.jsonl").exists()


def test_a_source_that_ends_too_soon_fails(config: Path) -> None:
    with pytest.raises(MienError, match="expected 9 frames of .*found 3; look at the camera"):
        try_config(config, Trial(frames=9, source="synthetic://?size=160x120&frames=3"))


def test_frames_that_take_too_long_fail(config: Path) -> None:
    with pytest.raises(MienError, match="expected at most 1e-06 ms a frame at p95"):
        try_config(config, Trial(frames=3, budget_ms=1e-6))


def test_answers_that_are_no_numbers_fail(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = stream.run_stream
    monkeypatch.setattr(stream, "run_stream", lambda config: dataclasses.replace(real(config), not_finite=2))
    with pytest.raises(MienError, match="expected finite answers, found 2"):
        try_config(config, Trial(frames=3))


def test_a_slot_whose_engines_cannot_be_prepared_fails_with_its_own_words(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace('"haar"', '"haar", "unknown": 1'))
    with pytest.raises(MienError, match="expected 1.0-slot to prepare its engines, found exit 2: .*unknown"):
        prepare(config.parent.parent, tmp_path / "cache", every=True)


def test_a_graph_that_only_a_fallback_opens_is_proven_before_the_switch_and_keeps_no_kiosk_from_starting(
    config: Path, tmp_path: Path
) -> None:
    model = config.parent / "models" / "tiny"
    (model / "fp16.onnx").write_bytes(TinyNetwork.random(8).graph().SerializeToString())
    card, fp16 = load_model(model).card, FileEntry.of(model / "fp16.onnx")
    save_card(model, dataclasses.replace(card, graphs={**card.graphs, "fp16": fp16},
                                         golden_bound={**card.golden_bound, "fp16": 1e-4}))
    with pytest.raises(MienError, match="expected the fp16 engine within"):
        prepare(config.parent.parent, tmp_path / "cache", every=True)
    assert "the CPU needs nothing prepared" in prepare(config.parent.parent, tmp_path / "cache", every=False)


@pytest.mark.parametrize(("target", "gpu", "asked"), [
    ("cpu", "NVIDIA", False), ("auto", "", False), ("auto", "NVIDIA", True), ("tensorrt", "", True)])
def test_at_a_start_a_slot_is_asked_to_prepare_only_where_a_gpu_reads(
    target: str, gpu: str, asked: bool, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text().replace('"cpu"', f'"{target}"'))
    monkeypatch.setattr(canary, "find_gpu", lambda root: gpu)
    runs = list[list[str]]()
    monkeypatch.setattr(canary, "run_in", lambda slot, words, *_: runs.append(words) or (0, "", "compiled"))
    prepare(config.parent.parent, tmp_path / "cache", every=False)
    assert bool(runs) == asked
    prepare(config.parent.parent, tmp_path / "cache", every=True)
    assert runs[-1][-1] == "--every"


def test_a_slot_whose_mien_is_older_than_the_device_is_prepared_by_what_it_knows(config: Path, tmp_path: Path) -> None:
    slot = config.parent.parent
    older = slot / "venv" / "bin" / "python"
    older.parent.mkdir(parents=True)
    older.write_text("#!/bin/sh\nfor word; do shift; test \"$word\" = --every && word=--not-yet; "
                     f"set -- \"$@\" \"$word\"; done\nexec {sys.executable} \"$@\"\n")
    older.chmod(0o755)
    (slot / "venv.done").touch()
    assert "golden faces" in prepare(slot, tmp_path / "cache", every=True)


def test_the_verb_says_so_with_its_exit_code(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["slot", "try", str(config), "--frames", "3", "--budget-ms", "0.000001"]) == 1
    assert "is the power mode right?" in capsys.readouterr().err
