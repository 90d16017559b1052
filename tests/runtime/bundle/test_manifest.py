"""A manifest has one form, and names nothing outside its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from bundles import HERE
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle.manifest import BundledFile, Manifest, parse_manifest
from runtime.errors import BadInput

CONFIG = BundledFile.of("stream.yaml", b"source: 0\n")
GOOD = Manifest("kiosk", "1.4.0", HERE, (CONFIG,))


def test_a_manifest_reads_back_as_it_was_written() -> None:
    assert parse_manifest(GOOD.encode()) == GOOD


@pytest.mark.parametrize("path", [
    "../x", "/etc/passwd", "a/../b", "a//b", "a/", "./a", ".hidden", "a\\b", "a\nb", "ä", "", "a" * 101, "-rf",
    "manifest.json", "manifest.json.sig"])
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="plain path"):
        replace(GOOD, files=tuple(sorted((BundledFile.of(path, b""), CONFIG), key=lambda f: f.path)))


@pytest.mark.parametrize(("files", "says"), [
    ((), "1–1000 files"), ((CONFIG, CONFIG), "once and in order"),
    ((CONFIG, BundledFile.of("a", b"")), "once and in order"),
    ((BundledFile.of("a", b""), BundledFile.of("a/b", b""), CONFIG), "a file or a folder"),
    ((BundledFile.of("a", b""),), "stream.yaml among the files"),
    ((BundledFile("a", "x", 1), CONFIG), "SHA-256"), ((BundledFile("a", "0" * 64, -1), CONFIG), "SHA-256"),
    ((BundledFile("a", "0" * 64, 4 << 30), CONFIG), "bytes in all")])
def test_files_that_do_not_fit_together_are_refused(files: tuple[BundledFile, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(GOOD, files=files)


@pytest.mark.parametrize("change", [
    {"schema": 2}, {"version": "1.4.0-rc1"}, {"version": "01.4"}, {"version": "1"}, {"target": "toaster"},
    {"name": "Kiosk"}, {"extra": 1}, {"files": "none"}])
def test_values_out_of_range_are_refused(change: dict[str, object]) -> None:
    values = json.loads(GOOD.encode()) | change
    with pytest.raises(BadInput):
        parse_manifest((json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


@pytest.mark.parametrize("content", [
    b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000,
    GOOD.encode().replace(b'"name"', b'"name": "other",\n "name"'), GOOD.encode().replace(b"\n", b" "),
    GOOD.encode() + b" "])
def test_another_form_is_refused(content: bytes) -> None:
    with pytest.raises(BadInput):
        parse_manifest(content)


@given(st.lists(st.integers(0, 99), min_size=2, max_size=4), st.lists(st.integers(0, 99), min_size=2, max_size=4))
def test_versions_compare_as_numbers(first: list[int], second: list[int]) -> None:
    made = [replace(GOOD, version=".".join(map(str, numbers))).ordered_version for numbers in (first, second)]
    pad = [[*numbers, *[0] * (4 - len(numbers))] for numbers in (first, second)]
    assert (made[0] < made[1]) == (pad[0] < pad[1])


def test_two_bundles_of_one_version_have_two_slots() -> None:
    other = replace(GOOD, files=(BundledFile.of("stream.yaml", b"source: 1\n"),))
    assert GOOD.slot() != other.slot() and {GOOD.slot()[:6], other.slot()[:6]} == {"1.4.0-"}
    assert asdict(GOOD)["files"][0]["size"] == 10
