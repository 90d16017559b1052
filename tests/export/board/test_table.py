"""docs/devices.md and devices.yaml against the records under docs/boards."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from export.board.record import BoardRecord, save_record
from export.board.table import BOARDS, PAGE, boards_markdown, current, page_with, read_boards, with_records
from runtime.card import Model
from runtime.engines.devices import TABLE, load_platforms
from runtime.errors import BadInput

ROW = "JetPack 6.2, 6.2.1"


def read() -> tuple[str, str]:
    return TABLE.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")


def test_the_page_and_the_rows_are_what_the_records_make_them(shipped: Model) -> None:
    assert current(*read(), read_boards(), shipped.card) == read(), "old: python -m export.board.table"


def test_a_complete_record_flips_its_row_and_no_other(
        complete: BoardRecord, small_model: Model, tmp_path: Path) -> None:
    yaml, page = current(*read(), {"r.json": complete}, small_model.card)
    (tmp_path / "devices.yaml").write_text(yaml)
    rows = load_platforms(tmp_path / "devices.yaml")
    assert {row.platform: row.record for row in rows if row.record} == {ROW: "r.json"}
    line = next(line for line in page.splitlines() if line.startswith(f"| {ROW} |"))
    assert "| r.json |" in line and "unverified" not in line
    assert f"| {ROW} |" in page.partition("### GPUs")[2].partition("### CPUs")[0]


def test_a_record_that_proves_nothing_is_shown_and_flips_nothing(complete: BoardRecord, small_model: Model) -> None:
    forged = dataclasses.replace(complete, commit=f"{complete.commit}+")
    yaml, page = current(*read(), {"r.json": forged}, small_model.card)
    assert yaml == with_records(read()[0], {})
    assert "r.json" in page and "nothing: its code is of no commit" in page


def test_a_row_whose_record_is_gone_is_unverified_again(complete: BoardRecord, small_model: Model) -> None:
    flipped = current(*read(), {"r.json": complete}, small_model.card)
    again = current(*flipped, {}, small_model.card)
    assert "r.json" not in again[0] + again[1]


def test_bringing_up_to_date_twice_changes_nothing(complete: BoardRecord, small_model: Model) -> None:
    once = current(*read(), {"r.json": complete}, small_model.card)
    assert current(*once, {"r.json": complete}, small_model.card) == once


def test_a_cpus_record_never_stands_among_the_gpus(complete: BoardRecord, small_model: Model) -> None:
    page = boards_markdown({"r.json": dataclasses.replace(complete, target="cpu")}, small_model.card)
    gpus, _, cpus = page.partition("### CPUs")
    assert "r.json" not in gpus and "r.json" in cpus and "Orin" not in cpus


def test_a_busy_or_throttled_machine_says_so_beside_its_times(complete: BoardRecord, small_model: Model) -> None:
    busy = tuple(dataclasses.replace(t, waited_for_core=0.5) for t in complete.bench)
    page = boards_markdown({"r.json": dataclasses.replace(complete, bench=busy, throttled=True)}, small_model.card)
    assert page.count("throttled busy |") == 3


def test_a_record_stands_under_its_own_name(complete: BoardRecord, tmp_path: Path) -> None:
    path = save_record(tmp_path, complete)
    assert list(read_boards(tmp_path)) == [path.name]
    path.rename(tmp_path / "agx-thor.json")
    with pytest.raises(BadInput, match="rename it"):
        read_boards(tmp_path)


def test_a_page_without_its_places_is_refused() -> None:
    with pytest.raises(BadInput, match="restore them"):
        page_with("# Devices\n", "", "")


def test_every_record_here_was_made_of_the_model_that_ships(shipped: Model) -> None:
    ours = {entry.sha256 for entry in shipped.card.graphs.values()}
    assert {n.graph_sha256 for record in read_boards(BOARDS).values() for n in record.numerics} <= ours
