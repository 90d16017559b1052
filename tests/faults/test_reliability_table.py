"""The page of faults is what the fault tests recorded: its generator, and the page against the tests that are here."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
PAGE = (FOLDER.parents[1] / "docs" / "reliability.md").read_text(encoding="utf-8")
SPEC = importlib.util.spec_from_file_location("reliability_table", FOLDER / "reliability_table.py")
assert SPEC and SPEC.loader
made = sys.modules["reliability_table"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made)

CASE = """<testsuites><testsuite>
<testcase classname="tests.faults.test_x" name="test_07_blow[a]"><properties>
<property name="fault" value="gets SIGSTOP"/><property name="injected" value="the | real
signal"/><property name="observed" value="replaced"/></properties></testcase>
<testcase classname="tests.faults.test_y" name="test_47_48_restart[x]"><properties>
<property name="fault" value="48 out of memory"/><property name="injected" value="i"/>
<property name="observed" value="o"/></properties></testcase>
<testcase classname="tests.faults.test_z" name="test_a_helper"/>OTHER</testsuite></testsuites>"""


def junit(folder: Path, other: str = "") -> Path:
    (folder / "junit.xml").write_text(CASE.replace("OTHER", other))
    return folder / "junit.xml"


def test_rows_come_from_what_tests_recorded(tmp_path: Path) -> None:
    seen, others = made.read_junit(junit(tmp_path))
    assert [(s.row, s.fault, s.injected) for s in seen] == [(7, "gets SIGSTOP", "the | real signal"),
                                                          (48, "out of memory", "i")]
    assert others == ["test_a_helper: recorded nothing"]


def test_a_row_links_its_test_and_breaks_no_table(tmp_path: Path) -> None:
    text = made.table(made.read_junit(junit(tmp_path))[0])
    assert "| 7 | gets SIGSTOP | the \\| real signal | replaced | [test_07_blow](../tests/faults/test_x.py) |" in text
    assert "2 faults injected, in 2 of the catalogue's 54 rows" in text
    assert "49 (two instances)" in text and "48 (out of memory)" not in text


def test_the_page_keeps_its_words_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{made.BEGIN}old{made.END}\nafter\n")
    assert made.main([str(junit(tmp_path)), str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith(f"{made.END}\nafter\n")
    assert "old" not in text and "SIGSTOP" in text


@pytest.mark.parametrize("what", ["failure", "error", "skipped"])
def test_a_test_that_did_not_pass_leaves_the_page(what: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{made.BEGIN}old{made.END}")
    bad = f'<testcase classname="c" name="test_01_x"><{what} message="m"/></testcase>'
    assert made.main([str(junit(tmp_path, bad)), str(page)]) == 1
    assert "old" in page.read_text()


def test_the_catalogue_is_whole() -> None:
    assert list(made.CATALOGUE) == list(range(1, 55)) and list(made.ROOMS)[-1] == 54


def recording_tests() -> dict[str, str]:
    """Return the tests here that record a fault in the usual run, and their files."""
    found = {}
    for file in sorted(FOLDER.glob("test_*.py")):
        content = file.read_text(encoding="utf-8")
        slow = re.findall(r"@pytest\.mark\.slow\n(?:@.*\n)*def (test_\w+)", content)
        for text in re.split(r"\n(?=def )", content):
            name = re.match(r"def (test_\w+)", text)
            if name and name[1] not in slow and "record_property" in text and file.name != Path(__file__).name:
                found[name[1]] = file.name
    return found


@pytest.mark.parametrize("test", recording_tests())
def test_the_page_names_every_fault_test(test: str) -> None:
    assert f"[{test}](../tests/faults/{recording_tests()[test]})" in PAGE, "make reliability writes the page anew"


def test_the_page_names_no_test_that_is_gone() -> None:
    assert set(re.findall(r"\[(test_\w+)\]", PAGE)) <= set(recording_tests())


def test_at_least_45_faults_were_injected() -> None:
    count = re.search(r"(\d+) faults injected", PAGE)
    assert count and int(count[1]) >= 45
