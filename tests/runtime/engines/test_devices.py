"""The table of platforms: every row has its source, the page shows the table, and a release finds its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.engines.devices import Platform, as_markdown, load_platforms, platform_of, version_of
from runtime.errors import BadConfig

ROOT = Path(__file__).parents[3]


def test_every_row_says_where_it_was_learned_and_how() -> None:
    for row in load_platforms():
        assert row.learned
        assert all(source.url.startswith("https://") and source.what for source in row.learned), row.platform


def test_no_row_is_verified_without_its_record() -> None:
    records = {row.platform: row.record for row in load_platforms() if row.record}
    assert [name for name, record in records.items() if not (ROOT / "docs/boards" / record).is_file()] == []


def test_no_release_stands_in_two_rows() -> None:
    releases = [release for row in load_platforms() for release in row.l4t]
    assert len(releases) == len(set(releases))


def test_the_page_shows_the_table_of_today() -> None:
    page = (ROOT / "docs/devices.md").read_text(encoding="utf-8")
    assert as_markdown() in page, "docs/devices.md is old: mien doctor --devices prints the table"


@pytest.mark.parametrize(("release", "platform", "named"), [
    ("36.4.3", "JetPack 6.2, 6.2.1", True), ("36.4.0", "JetPack 6.1", True), ("39.2.0", "JetPack 7.2", True),
    ("39.2.1", "JetPack 7.2", False), ("35.4.1", "JetPack 5.1.1, 5.1.2, 5.1.4", True)])
def test_a_release_finds_its_row(release: str, platform: str, named: bool) -> None:
    row, is_named = platform_of(release)
    assert row is not None and (row.platform, is_named) == (platform, named)


def test_a_release_of_no_known_branch_finds_none() -> None:
    assert platform_of("99.1.0") == (None, False)


def row_with(tensorrt: str, python: str) -> Platform:
    return Platform("x", (), (), tensorrt, "12", python, None, load_platforms()[0].learned)


@pytest.mark.parametrize(("tensorrt", "python", "status"), [
    ("8.5.2", "3.10", "too old: TensorRT 8.5.2"), ("10.3", "3.8", "too old: Python 3.8"),
    ("10.3", "3.10", "unverified"), ("RTX 1.7.1", "3.11", "unverified")])
def test_a_row_says_what_is_too_old_in_it(tensorrt: str, python: str, status: str) -> None:
    assert row_with(tensorrt, python).status.startswith(status)


@pytest.mark.parametrize(("text", "wanted"), [
    ("10.16.2.10-1+cuda13.2", (10, 16, 2, 10)), ("3.10.12", (3, 10, 12)), ("3.13.0rc1", (3, 13)), ("x", ()), ("", ())])
def test_versions_are_compared_as_numbers(text: str, wanted: tuple[int, ...]) -> None:
    assert version_of(text) == wanted


def test_a_row_without_a_source_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "devices.yaml"
    table.write_text("rows:\n  - {platform: JetPack 9, l4t: [], gpus: [], tensorrt: '12', cuda: '14', python: '3.14', "
                     "opencv: null, learned: []}\n")
    with pytest.raises(BadConfig, match="expected where JetPack 9 was learned"):
        load_platforms(table)


def test_the_table_is_shipped_with_the_package() -> None:
    assert re.search(r'runtime = \[.*"engines/\*\.yaml"', (ROOT / "pyproject.toml").read_text())
