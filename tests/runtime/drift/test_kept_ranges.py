"""`ranges.hist` in the state folder: written, gone on with, begun anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from watched_model import random_faces, watched_model

from runtime.drift import kept_ranges
from runtime.drift.kept_ranges import KeptRanges
from runtime.drift.reference import Reference
from runtime.ranges_file import read_ranges


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    model = watched_model(tmp_path / "model")
    card = dataclasses.replace(model.card, calibration={"thresholds": {"unit": 0.5}})
    return Reference(dataclasses.replace(model, card=card))


def see(reference: Reference, count: int) -> None:
    for face in random_faces(count):
        reference.run(face)


def test_a_restart_goes_on_where_the_file_ended(tmp_path: Path, reference: Reference) -> None:
    see(reference, 3)
    KeptRanges(tmp_path / "ranges.hist").write(reference)
    again = Reference(reference_model(tmp_path))
    kept = KeptRanges(tmp_path / "ranges.hist")
    kept.load_into(again)
    see(again, 2)
    kept.write(again)
    assert read_ranges(tmp_path / "ranges.hist").images == 5 and kept.facts()["faces"] == 5


def reference_model(folder: Path):  # type: ignore[no-untyped-def]
    from runtime.card import load_model

    model = load_model(folder / "model")
    return dataclasses.replace(model, card=dataclasses.replace(model.card, calibration={"thresholds": {"unit": 0.5}}))


def test_it_writes_by_the_hour_or_when_asked(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ranges.hist"
    kept = KeptRanges(path)
    see(reference, 1)
    kept.write_in_time(reference)
    assert not path.exists()
    kept.write_in_time(reference, now=True)
    assert read_ranges(path).images == 1
    see(reference, 1)
    monkeypatch.setattr(kept_ranges, "EVERY_SECONDS", 0.0)
    kept.write_in_time(reference)
    assert read_ranges(path).images == 2


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_damaged_file_is_begun_anew_and_told(
    tmp_path: Path, reference: Reference, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ranges.hist"
    path.write_bytes(content)
    kept = KeptRanges(path)
    kept.load_into(reference)
    assert "they begin anew" in caplog.text
    see(reference, 1)
    kept.write(reference)
    assert read_ranges(path).images == 1


def with_graph(tmp_path: Path, sha256: str) -> Reference:
    """A reference that calls its graph so."""
    other = Reference(reference_model(tmp_path))
    other._card = dataclasses.replace(other._card, graphs={
        "fp32": dataclasses.replace(other._card.graphs["fp32"], sha256=sha256)})
    return other


def test_another_graphs_file_is_put_aside_and_gone_on_with_once_the_graph_is_back(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial update and its rollback: months of counts were overwritten by the trial's first."""
    see(reference, 5)
    path = tmp_path / "ranges.hist"
    KeptRanges(path).write(reference)
    trial = with_graph(tmp_path, "0" * 64)
    kept = KeptRanges(path)
    kept.load_into(trial)
    aside = f"ranges-{reference.graph_sha256[:12]}.hist"
    assert trial.faces == 0 and f"found another's; they are {aside} now" in caplog.text
    see(trial, 1)
    kept.write(trial)
    back = Reference(reference_model(tmp_path))
    kept = KeptRanges(path)
    kept.load_into(back)
    assert back.faces == 5 == kept.facts()["faces"] == read_ranges(path).images
    assert {p.name for p in tmp_path.glob("ranges*")} == {"ranges.hist", "ranges-000000000000.hist"}


def test_files_of_a_few_other_graphs_stay(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "ranges.hist"
    for number in range(6):
        one = with_graph(tmp_path, f"{number}" * 64)
        kept = KeptRanges(path)
        kept.load_into(one)
        see(one, 1)
        kept.write(one)
    assert len(list(tmp_path.glob("ranges-*.hist"))) == kept_ranges.MOST_ASIDE


def test_a_full_disk_costs_the_file_only(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_ranges, "write_ranges", full)
    see(reference, 1)
    kept = KeptRanges(tmp_path / "ranges.hist")
    kept.write(reference)
    assert "No space left" in caplog.text and kept.facts()["faces"] == 0


def test_without_a_folder_nothing_is_written(tmp_path: Path, reference: Reference) -> None:
    see(reference, 1)
    kept = KeptRanges(None)
    kept.load_into(reference)
    kept.write(reference)
    assert kept.facts() == {"file": "", "faces": 0} and not list(tmp_path.glob("*.hist"))
