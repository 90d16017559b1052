"""How well a list stands for its set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_graphs import random_faces

from calibration.coverage import coverage_lines, describe_coverage, distances_to_nearest, picture_qualities

NAMES = ("happy", "sad")


@settings(deadline=None, max_examples=30)
@given(arrays(np.float32, (12, 3), elements=st.integers(-20, 20)), st.integers(1, 12))
def test_distances_are_those_to_the_nearest_chosen_face(features: np.ndarray, chosen: int) -> None:
    apart = np.linalg.norm(features[:, None] - features[None, :chosen], axis=-1).min(axis=1)
    np.testing.assert_allclose(distances_to_nearest(features, features[:chosen]), apart, atol=0.02)


def test_light_contrast_and_sharpness_are_told_apart() -> None:
    flat = np.full((1, 16, 16), 90, np.uint8)
    stripes = np.where(np.arange(16) % 2, 100, 80).astype(np.uint8) * np.ones((1, 16, 1), np.uint8)
    halves = np.where(np.arange(16) < 8, 80, 100).astype(np.uint8) * np.ones((1, 16, 1), np.uint8)
    found = picture_qualities(np.stack([flat, stripes, halves]))
    assert found["brightness"].tolist() == [90, 90, 90]
    assert found["contrast"].tolist() == [0, 10, 10]
    assert found["sharpness"][0] == 0 and found["sharpness"][1] > 10 * found["sharpness"][2] > 0


def test_a_colour_face_is_judged_by_its_grey() -> None:
    grey = random_faces(3)
    colour = np.repeat(grey, 3, axis=1)
    for name, values in picture_qualities(colour).items():
        np.testing.assert_allclose(values, picture_qualities(grey)[name], rtol=1e-5)


def test_a_list_of_the_whole_set_covers_it() -> None:
    faces, labels = random_faces(10), np.arange(10) % 2
    features = np.random.default_rng(0).normal(0, 1, (10, 4)).astype(np.float32)
    report = describe_coverage(faces, np.arange(10), labels, NAMES, features)
    assert report["brightness"]["list"] == report["brightness"]["set"]
    assert report["classes"]["list"] == report["classes"]["set"] == {"happy": 0.5, "sad": 0.5}
    assert report["feature_distance"]["largest"] == pytest.approx(0, abs=0.01)


def test_a_one_sided_list_shows() -> None:
    faces, labels = random_faces(40), np.arange(40) % 2
    dark = np.argsort(faces.mean(axis=(1, 2, 3)))[:5]
    report = describe_coverage(faces, dark, labels, NAMES, None)
    assert report["brightness"]["list"]["0.5"] < report["brightness"]["set"]["0.1"]
    assert "feature_distance" not in report


def test_a_person_reads_a_line_a_quality() -> None:
    features = np.eye(10, 4, dtype=np.float32)
    report = describe_coverage(random_faces(10), np.arange(3), np.arange(10) % 2, NAMES, features)
    lines = coverage_lines(report)
    assert [line.split()[0] for line in lines] == ["brightness", "contrast", "sharpness", "classes,", "distance"]
    assert "happy 67/50" in lines[3]


def test_crops_without_labels_have_no_classes() -> None:
    report = describe_coverage(random_faces(4), np.arange(2), None, (), None)
    assert "classes" not in report and len(coverage_lines(report)) == 3
