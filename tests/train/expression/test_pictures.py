"""Every picture is a whole PNG and an SVG that takes the page's ink; and it shows the figures it was given."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from train.expression.evaluate import figures_of
from train.expression.figures_folder import calibrations_of
from train.expression.pictures.ablation import Bar, draw_ablation
from train.expression.pictures.confusion import draw_confusion
from train.expression.pictures.probabilities import draw_probabilities
from train.expression.pictures.reliability import draw_reliability
from train.expression.pictures.style import INK, as_svg, save_png
from train.expression.pictures.training_curves import draw_training_curves
from train.expression.run_history import read_run

NAMES = ("happy", "sad", "<neutral>")


def confusion() -> Figure:
    return draw_confusion(np.array([[1005, 1, 0], [0, 4, 2], [0, 0, 0]]), NAMES, "title")


def probabilities(channels: int = 1) -> Figure:
    face = np.random.default_rng(0).integers(0, 256, (channels, 48, 48), dtype=np.uint8)
    return draw_probabilities(face, np.array([0.2, 0.7, 0.1]), NAMES, "face.png")


def reliability() -> Figure:
    random = np.random.default_rng(0)
    entry = figures_of(random.normal(0, 2, (200, 3)), random.integers(0, 3, 200), NAMES, temperature=2.5)
    return draw_reliability(calibrations_of(entry), "PrivateTest")


def ablation() -> Figure:
    return draw_ablation([Bar("ours", 0.674, (0.658, 0.689)), Bar("theirs too", 0.68, (0.66, 0.7), 0.6943)], "FER2013")


def words_of(figure: Figure) -> list[str]:
    """Every text of a figure, as the SVG holds it."""
    root = ET.fromstring(as_svg(figure, "x"))
    return ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("}text")]


@pytest.mark.parametrize("draw", [confusion, probabilities, reliability, ablation])
def test_a_picture_is_kept_as_a_png_and_nothing_else(draw, tmp_path: Path) -> None:
    save_png(draw(), tmp_path / "new" / "picture.png")
    image = cv2.imread(str(tmp_path / "new" / "picture.png"))
    assert image.shape[2] == 3 and image[0, 0].tolist() == [255, 255, 255] and image.min() < 100
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["picture.png"]


@pytest.mark.parametrize("draw", [confusion, probabilities, reliability, ablation])
def test_a_picture_in_a_page_has_the_pages_ink_and_no_link(draw) -> None:
    svg = as_svg(draw(), "name")
    assert svg.startswith("<svg") and "currentColor" in svg and INK not in svg
    root = ET.fromstring(svg)
    links = {value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")}
    assert all(link.startswith(("#", "data:")) for link in links)
    assert root.attrib["id"] == "name"


def test_two_pictures_of_a_page_share_no_id() -> None:
    first, second = ({e.attrib["id"] for e in ET.fromstring(as_svg(reliability(), name)).iter() if "id" in e.attrib}
                     for name in ("one", "two"))
    assert len(first) == len(second) > 2 and not first & second


def test_drawing_leaves_the_callers_look_alone() -> None:
    before = matplotlib.rcParams["font.size"], matplotlib.rcParams["axes.spines.top"]
    confusion()
    assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["axes.spines.top"]) == before


def test_a_confusion_shows_percent_of_the_true_class_and_images() -> None:
    words = words_of(confusion())
    assert {"99.9", "0.1", "66.7", "33.3", "1,005"} <= set(words)
    assert "sad (6)" in [" ".join(word.split()) for word in words]


def test_probabilities_are_drawn_best_first() -> None:
    words = words_of(probabilities())
    assert [w for w in words if w in NAMES] == ["sad", "happy", "<neutral>"]
    assert [w for w in words if w in ("70.0 %", "20.0 %", "10.0 %")] == ["70.0 %", "20.0 %", "10.0 %"]


def test_a_face_in_colour_is_drawn_in_colour(tmp_path: Path) -> None:
    for channels in (1, 3):
        save_png(probabilities(channels), tmp_path / f"{channels}.png")
    grey, colour = (cv2.imread(str(tmp_path / f"{n}.png"))[100:300, 50:300].astype(int) for n in (1, 3))
    assert np.ptp(grey, axis=2).max() == 0 and np.ptp(colour, axis=2).max() > 100


def test_a_reliability_diagram_says_both_errors() -> None:
    words = words_of(reliability())
    for start in ("as it is: ECE", "after, T = 2.50: ECE"):
        assert any(word.startswith(start) for word in words)


def test_an_ablation_shows_ours_and_the_papers_figures() -> None:
    words = words_of(ablation())
    assert {"67.4", "68.0", "69.4", "ours", "paper"} <= set(words)
    assert "paper" not in words_of(draw_ablation([Bar("ours", 0.67, (0.65, 0.69))], "FER2013"))


@pytest.mark.parametrize("width", [0.004, 0.02, 0.3])
def test_no_two_ticks_of_an_axis_read_alike(width: float) -> None:
    words = words_of(draw_ablation([Bar("one", 0.67, (0.67 - width, 0.67 + width))], "FER2013"))
    ticks = [word for word in words if word.endswith(" %") and word[0].isdigit()]
    assert len(ticks) > 2 and len(ticks) == len(set(ticks))


def test_training_curves_mark_sizes_and_the_kept_epoch(trained_run: Path) -> None:
    run = read_run(trained_run)
    words = words_of(draw_training_curves(run))
    assert {"16 px", "20 px", "run: 2 of 2 epochs", "held out (PublicTest)", "learning rate",
            f"{100 * run.kept.held_out:.1f} %"} <= set(words)
