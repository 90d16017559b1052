"""tests/gpu as counts: a real pytest on made-up tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.board import gpu_tests
from export.board.gpu_tests import read_results, run_gpu_tests
from export.board.task import Task
from runtime.errors import MienError, Unavailable

TASK = Task("mien-light", "cpu", 1, 0, 60)
TESTS = """
import pytest
def test_right(): pass
@pytest.mark.parametrize("place", ["/home/anna/x"])
def test_wrong(place): assert False
def test_skipped(): pytest.skip("no GPU")
@pytest.fixture
def broken(): raise ValueError
def test_without_its_fixture(broken): pass
"""


def in_checkout(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / gpu_tests.FOLDER).mkdir(parents=True)
    (tmp_path / gpu_tests.FOLDER / "test_it.py").write_text(source)
    monkeypatch.setattr(gpu_tests, "ROOT", tmp_path)


def test_tests_are_counted_and_those_that_failed_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_checkout(tmp_path, TESTS, monkeypatch)
    measured = run_gpu_tests(TASK)
    assert measured.found == {"passed": 1, "failed": 2, "skipped": 1,
                              "names_of_failed": ["test_wrong[<path>]", "test_without_its_fixture"]}
    assert "2 of 4 tests failed" in measured.failures[0]


def test_where_all_are_skipped_the_first_reason_is_what_is_missing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_checkout(tmp_path, "import pytest\ndef test_it(): pytest.skip('needs a GPU')", monkeypatch)
    with pytest.raises(Unavailable, match="every test skipped: needs a GPU"):
        run_gpu_tests(TASK)


def test_tests_that_cannot_be_read_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_checkout(tmp_path, "import nowhere", monkeypatch)
    assert run_gpu_tests(TASK).found["failed"] == 1


def test_an_installed_package_has_no_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_tests, "ROOT", tmp_path)
    with pytest.raises(Unavailable, match="in a checkout"):
        run_gpu_tests(TASK)


def test_no_test_is_no_success() -> None:
    with pytest.raises(MienError, match="found none"):
        read_results("<testsuites><testsuite/></testsuites>")
