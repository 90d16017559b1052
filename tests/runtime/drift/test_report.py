"""Events → a page that stands alone."""

from __future__ import annotations

import html
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien
from runtime.drift.chart import Line, chart
from runtime.drift.report import disagreement, page, read_events
from runtime.errors import BadInput

BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def event(minutes: int, alarm: str = "", run: str = "a", kl: float | None = 1e-3, **more: Any) -> str:
    when = (BEGIN + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts = {"samples": 5, "last": 1.0, "stability": 0.01 * minutes, "evidence": 0.1, "alarms": 0, "alarming": False}
    return json.dumps({"seq": minutes, "event": "drift", "run": run, "time": when, "precision": "int8", "alarm": alarm,
                       "state": "alarm" if alarm else "watching", "samples": minutes, "agreement": 0.99, "kl": kl,
                       "confidence_shift": 0.0, "compared_with": "calibration",
                       "quantities": {"energy": facts, "face_side": facts | {"samples": 0}}, **more})


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "e.jsonl"
    path.write_text("\n".join(['{"seq":0,"event":"start"}', event(0), event(10), event(20, "the <camera> moved", "b"),
                               event(30, "the <camera> moved", "b"), '{"seq":4,"event":"dri']))
    return path


def test_a_page_names_the_alarm_once_with_its_time(events: Path) -> None:
    text = page(read_events([events]))
    rows = re.findall(r"<tr><td>(2026-11-22 12:20)<td>20<td>the &lt;camera&gt; moved", text)
    assert len(rows) == 1 and text.index("class='bad'") < text.index("Alarms")
    assert "<camera>" not in text


def test_a_page_asks_for_nothing_from_elsewhere(events: Path) -> None:
    text = page(read_events([events]))
    assert not re.search(r"<script|https?://|@import|url\(|<img|<link", text)
    assert text.count("<svg") == 5 and text.count("</svg>") == 5


def test_only_quantities_that_were_seen_are_drawn(events: Path) -> None:
    svgs = "".join(re.findall(r"<svg.*?</svg>", page(read_events([events])), re.DOTALL))
    assert "NaN" not in svgs and "face_side" not in svgs


def test_a_line_is_broken_where_a_run_ended(events: Path) -> None:
    path = re.search(r'labels as FP32.*?stroke-width="1.6"', page(read_events([events])), re.DOTALL)
    assert path and path[0].count("M") == 3  # the axes, and one piece a run


def test_rotated_files_are_put_in_order(tmp_path: Path) -> None:
    for name, minutes in (("b", 20), ("a", 10)):
        (tmp_path / name).write_text(event(minutes))
    assert [e.values["samples"] for e in read_events([tmp_path / "b", tmp_path / "a"])] == [10, 20]


def read(tmp_path: Path, *lines: str) -> list[str]:
    """Return the alarms of lines in the order in which they are read."""
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    return [e.values["alarm"] for e in read_events([tmp_path / "e.jsonl"])]


def test_a_clock_that_is_set_late_changes_no_order(tmp_path: Path) -> None:
    """A board without a clock of its own begins each boot on the same day, and may be set to the year meanwhile."""
    assert read(tmp_path, event(5, "one", seq=1), event(90, "two", seq=2), event(7, "three", "b", seq=3)) == [
        "one", "two", "three"]


def test_where_numbers_began_anew_runs_follow_each_other_by_time(tmp_path: Path) -> None:
    assert read(tmp_path, event(50, "three", "b", seq=0), event(60, "four", "b", seq=9), event(5, "one", seq=3),
                event(9, "two", seq=4)) == ["one", "two", "three", "four"]


def test_numbers_that_begin_anew_after_a_purge_are_not_taken_for_a_wrong_clock_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = event(5, "old", seq=5000), event(90, "the engine departs", "b", seq=10)
    (tmp_path / "e.jsonl").write_text(f"{old}\n{new}")
    found = read_events([tmp_path / "e.jsonl"])
    assert "numbers began anew" in disagreement(found) and html.escape(disagreement(found)) in page(found)
    assert mien.main(["drift", "report", str(tmp_path / "e.jsonl"), "--out", str(tmp_path / "r.html")]) == 0
    assert "note: the runs' times are not in the order" in capsys.readouterr().err
    (tmp_path / "e.jsonl").write_text(f"{event(5, seq=1)}\n{event(90, run='b', seq=2)}")
    assert disagreement(read_events([tmp_path / "e.jsonl"])) == ""


def test_an_event_that_is_given_twice_counts_once(events: Path) -> None:
    assert len(read_events([events, events])) == len(read_events([events])) == 4


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    assert read(tmp_path, event(0, "one", time="2026-11-22T12:00:00"), event(10, "two")) == ["one", "two"]


@pytest.mark.parametrize(("content", "found"), [
    ("", "found none"), ('{"event":"start"}\n', "found none"), ("no\n" + event(0), "in line 1"),
    ('{"event":"drift"}\n' + event(0), "in line 1"), ("[1]\n" + event(0), "in line 1"),
    *((event(0, **more) + "\n" + event(1), "in line 1") for more in (
        {"quantities": {"energy": {}}}, {"quantities": {"energy": None}}, {"quantities": None}, {"quantities": [1]},
        {"samples": None}, {"samples": "5"}, {"agreement": "x"}, {"agreement": float("nan")}, {"run": None},
        {"seq": None}, {"state": 1}, {"time": None}, {"time": "yesterday"}))])
def test_other_files_are_refused(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "e.jsonl").write_text(content)
    with pytest.raises(BadInput, match=found):
        read_events([tmp_path / "e.jsonl"])


def test_the_verb_writes_the_page_and_says_what_stands(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mien.main(["drift", "report", str(events), "--out", str(tmp_path / "r.html"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["events"] == 4 and "the <camera> moved" in told.err
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert mien.main(["drift", "report", str(tmp_path / "none"), "--out", str(tmp_path / "r2.html")]) == 2
    assert not (tmp_path / "r2.html").exists()


@given(st.lists(st.tuples(st.floats(0, 2e9), st.none() | st.floats(-1e6, 1e6)), max_size=20))
def test_any_points_lie_inside_the_chart(points: list[tuple[float, float | None]]) -> None:
    svg = chart("t", [Line("x", tuple(sorted(points, key=lambda p: p[0])))], str)
    places = [float(n) for n in re.findall(r"[ML](-?[\d.]+) ", svg)]
    assert all(0 <= place <= 900 for place in places) and "nan" not in svg
