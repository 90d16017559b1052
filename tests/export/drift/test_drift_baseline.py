"""The baseline is measured as a stream measures, and put into the card."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from kiosk import wait_until
from tiny_model import write_tiny_model
from watched_model import answers_to, random_faces

import mien
from export.drift.baseline import departures, measure_baseline, watch_faces, write_baseline
from export.drift.record import REPLAYS, delays, perturbed, unchanged
from runtime.card import Model, load_model
from runtime.drift.baseline import read_baseline
from runtime.drift.bins import Bins
from runtime.drift.config import DriftConfig
from runtime.drift.monitor import DriftMonitor
from runtime.drift.quantities import ENGINE
from runtime.drift.watch import Watch, WatchRules
from runtime.errors import BadInput

FACES = random_faces(500)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_tiny_model(tmp_path / "model"))


def test_a_written_baseline_reads_back_and_holds_for_its_engine(model: Model) -> None:
    measured = measure_baseline(model, FACES, {"name": "noise"})
    write_baseline(model, measured)
    now = load_model(model.directory)
    assert read_baseline(now) == measured
    assert measured.faces == 500 and measured.of_engine(now, "fp32") == Bins((-9.0,), (500, 0))
    assert set(measured.of_world(now)) == {"brightness", "contrast", "sharpness", "confidence", "energy"}


def test_a_stream_measures_the_same_values(model: Model) -> None:
    face = FACES[:1]
    with closing(DriftMonitor(model, "fp32", "cpu", DriftConfig())) as monitor:
        monitor.offer(face, np.array([[0.0, 0.0, 9.0, 9.0]]), answers_to(face, model), [1], 0.0)
        wait_until(lambda: monitor.status()["samples"] == 1)
        seen = monitor.status()["quantities"]
    for name, values in watch_faces(model, face).world.items():
        assert seen[name]["last"] == pytest.approx(values[0], abs=1e-5)


def test_few_faces_make_no_baseline(model: Model) -> None:
    with pytest.raises(BadInput, match="expected at least 500 faces for a drift baseline, found 499"):
        measure_baseline(model, FACES[:499], {})
    assert model.card.drift is None


def test_an_answer_that_is_not_finite_departs_as_far_as_can_be(model: Model) -> None:
    logits = watch_faces(model, FACES[:3]).logits
    broken = logits.copy()
    broken[1, 0] = np.nan
    assert departures(model, logits, broken)["log_kl"].tolist() == [-9, 3, -9]


def test_a_shipped_model_is_not_written_into(mien_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["drift", "baseline", "mien-light", "--data", str(mien_data / "fer2013")]) == 2
    assert "which ships with mien; copy it first" in capsys.readouterr().err


def test_the_shipped_baseline_is_of_the_files_that_ship() -> None:
    shipped = load_model(Path("mien-light"))
    baseline = read_baseline(shipped)
    assert baseline is not None
    assert all(baseline.of_engine(shipped, graph) for graph in ("fp32", "fp16", "int8"))
    assert "beyond_range" in baseline.of_world(shipped)


def test_perturbed_weights_keep_their_type_and_places(model: Model) -> None:
    content = model.read_graph("fp32")
    assert perturbed(content, 0.05) != content and perturbed(content, 0.05) == perturbed(content, 0.05)


def test_replays_tell_a_drift_from_none() -> None:
    generator = np.random.default_rng(0)
    before, after = ({ENGINE: generator.normal(mean, size=400)} for mean in (0.0, 2.0))

    def watches() -> dict[str, Watch]:
        return {ENGINE: Watch(WatchRules(1.25, 1e6), Bins.of(before[ENGINE]))}

    assert delays(watches, before, after)["alarmed"] == REPLAYS
    assert delays(watches, before, before)["alarmed"] == 0
    assert unchanged(watches(), before, 5000)["false_alarms"] == {ENGINE: 0}
