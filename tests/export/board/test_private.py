"""What is taken out of other people's words before they are sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from export.board.private import LONGEST, is_private, one_line, own_names, without_private

WORDS = st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.mark.parametrize(("text", "wanted"), [
    ("found none: /home/anna/.cache/mien/engines; run it", "found none: <path>; run it"),
    ("in ~/models and C:\\Users\\anna\\x", "in <path> and <path>"),
    ("TRT CPU/GPU memory, tests/gpu, n/a, 1/2", "TRT CPU/GPU memory, tests/gpu, n/a, 1/2"),
    ("file:///opt/x and https://host.example/a?b=c", "<address> and <address>"),
    ("GPU-12345678-9abc-def0-1234-56789abcdef0 at 0x7ffd12345678", "GPU-<number> at <number>"),
    ("serial 1425323012345 mac 48:b0:2d:ab:cd:ef", "serial <number> mac <number>"),
    ("anna@kiosk.local said", "<address> said"), ("TensorRT 10.16.2.10-1+cuda13.2", "TensorRT 10.16.2.10-1+cuda13.2"),
    ("two\nlines\x1b[31m", "two lines [31m")])
def test_what_tells_a_place_or_a_device_is_replaced(text: str, wanted: str) -> None:
    assert without_private(text, names=()) == wanted


def test_the_users_and_the_machines_names_are_replaced() -> None:
    said = without_private("Anna on KIOSK-7: kiosk-70, annals", {"anna", "kiosk-7"})
    assert said == "<name> on <name>: kiosk-70, annals"


def test_ones_own_home_is_replaced_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anna of the long name"))
    assert without_private("no /home/anna of the long name/x.onnx here", ()) == "no <path> here"


def test_this_machine_has_names() -> None:
    assert own_names() and all(own_names())


@given(WORDS, st.sampled_from(["/", "~/", "C:\\", "https://", "0x1234567", "a@b.c", "123456789012", ""]), WORDS)
@example("~", "/", "/0")
def test_nothing_private_is_left_whatever_was_said(before: str, private: str, after: str) -> None:
    cleaned = without_private(before + private + after, names=())
    assert not is_private(cleaned) and cleaned.isprintable() and len(cleaned) <= LONGEST


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable() and len(line) <= LONGEST and one_line(line) == line
