"""Latency histograms: where the bars and marks stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.bench.interleave import percentiles
from runtime.bench.picture import BARS, MARGIN, MEDIAN, PANEL, TAIL, WIDTH, draw_latencies, save_latencies
from runtime.errors import BadInput


def row(name: str, samples: list[float], batch: int = 1) -> dict[str, Any]:
    return {"name": name, "batch": batch, "samples_ms": samples, "milliseconds": percentiles(np.array(samples))}


def columns_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((picture == colour).all(axis=2).any(axis=0))


def test_every_timed_engine_has_a_panel_and_others_none() -> None:
    rows = [row("a", [1.0, 2.0]), row("b", [1.0]), {"name": "c", "status": "no GPU"}]
    assert draw_latencies(rows).shape == (2 * PANEL + MARGIN, WIDTH, 3)


def test_the_median_and_the_tail_stand_where_they_are() -> None:
    samples = [1.0] * 98 + [4.0] * 2
    picture, end = draw_latencies([row("a", samples)]), 1.1 * np.percentile(samples, 99)
    for value, colour in ((1.0, MEDIAN), (float(np.percentile(samples, 99)), TAIL)):
        wanted = MARGIN + (WIDTH - 2 * MARGIN) * value / end
        assert abs(columns_of(picture, colour).mean() - wanted) < 3


def test_engines_of_one_batch_share_their_axis() -> None:
    picture = draw_latencies([row("slow", [10.0] * 9), row("fast", [1.0] * 9)])
    slow, fast = columns_of(picture[:PANEL], BARS), columns_of(picture[PANEL : 2 * PANEL], BARS)
    assert slow.mean() > 5 * fast.mean()


def test_another_batch_has_its_own_axis() -> None:
    picture = draw_latencies([row("a", [10.0] * 9, batch=8), row("a", [1.0] * 9)])
    assert np.array_equal(columns_of(picture[:PANEL], BARS), columns_of(picture[PANEL : 2 * PANEL], BARS))


def test_what_is_slower_than_the_axis_stands_in_the_last_bin() -> None:
    picture = draw_latencies([row("a", [1.0] * 999 + [500.0])])
    assert columns_of(picture, BARS).max() > WIDTH - MARGIN - 14


def test_a_run_without_times_is_an_empty_picture() -> None:
    assert (draw_latencies([]) == 255).all()


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    save_latencies(tmp_path / "p.png", [row("näme", [1.0, 2.0])])
    assert cv2.imread(str(tmp_path / "p.png")).shape == (PANEL + MARGIN, WIDTH, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="png"):
        save_latencies(tmp_path / "p.gif", [row("a", [1.0])])
