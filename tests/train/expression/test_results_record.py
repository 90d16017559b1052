"""results.json: rows come back as they were, grow, and one measured anew stands in its old place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from made_up_runs import folds, recipe_of, report_of, run_of

from runtime.errors import BadInput
from train.expression.results_record import as_record, joined, read_rows
from train.expression.results_table import Row, as_markdown, gather

ROOT = Path(__file__).parents[3]


def row_of(network: str, accuracy: float, epochs: int = 2) -> Row:
    (row,) = gather([(run_of(recipe_of(network), epochs), report_of(PublicTest=accuracy, PrivateTest=accuracy))])
    return row


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = (row_of("improved-vgg16", 0.6), row_of("small-vgg", 0.7), *gather(folds([0.9, 0.96], protocol="ten-fold")))
    (tmp_path / "results.json").write_text(json.dumps(as_record(rows)))
    assert tuple(read_rows(tmp_path / "results.json")) == rows


@pytest.mark.parametrize("name", ["fer2013", "ck-plus", "ablations"])
def test_the_tables_on_record_are_those_of_their_rows(name: str) -> None:
    folder = ROOT / "docs/results" / name
    assert as_markdown(read_rows(folder / "results.json")) == (folder / "results.md").read_text()


def test_a_table_grows_and_what_was_measured_anew_keeps_its_place() -> None:
    first, second, third = row_of("improved-vgg16", 0.6), row_of("small-vgg", 0.7), row_of("vgg16", 0.5)
    anew = row_of("improved-vgg16", 0.65, epochs=4)
    assert joined([first, second], [third, anew]) == (anew, second, third)
    twice = row_of("small-vgg", 0.6), row_of("small-vgg", 0.7, epochs=4)  # neither run is lost, nor either row
    assert joined([], twice) == twice == joined(twice, []) and joined([second, first], twice) == (*twice, first)
    changed = dataclasses.replace(first, changes=("hidden=256",))
    assert joined([first], [changed]) == (first, changed)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"rows": [3]}', '{"rows": [{"recipe": "mine"}]}',
                                  '{"rows": "mine"}', '{"rows": null}'])
def test_what_is_no_table_is_said_in_one_line(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=r"expected .*results\.json") as caught:
        read_rows(path)
    assert len(str(caught.value).splitlines()) == 1
