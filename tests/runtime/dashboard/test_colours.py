"""Contrast of the page's colours, computed from its style sheet. https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SHEET = (Path(__file__).resolve().parents[3] / "runtime/dashboard/page/dashboard.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
               for block in re.findall(r":root \{(.*?)\}", SHEET, flags=re.DOTALL))
TEXTS = ("ink", "muted", "accent", "good", "warn", "bad")


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_the_standards() -> None:
    assert contrast("#000000", "#ffffff") == 21 and round(contrast("#767676", "#ffffff"), 2) == 4.54


def test_every_colour_is_given_for_light_and_dark() -> None:
    assert LIGHT.keys() == DARK.keys() and set(re.findall(r"var\(--([a-z-]+)\)", SHEET)) - {"small"} == LIGHT.keys()


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("behind", ["surface", "ground"])
def test_text_has_four_and_a_half_to_one(colours: dict[str, str], behind: str) -> None:
    assert {t: round(contrast(colours[t], colours[behind]), 2) for t in TEXTS
            if contrast(colours[t], colours[behind]) < 4.5} == {}
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_bars_marks_and_controls_have_three_to_one(colours: dict[str, str]) -> None:
    assert contrast(colours["accent"], colours["track"]) >= 3
    assert min(contrast(colours["control"], colours[behind]) for behind in ("surface", "track")) >= 3
