"""Which faces are picked, and the identity of what was picked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_graphs import random_faces

from calibration.coverage import distances_to_nearest
from calibration.pick_images import hash_images, pick_herding, pick_k_center, pick_random, pick_stratified
from runtime.errors import BadInput


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 600), st.integers(0, 2**32))
def test_picks_are_distinct_sorted_and_there(available: int, wanted: int, seed: int) -> None:
    picks = pick_random(available, wanted, seed)
    assert len(picks) == min(available, wanted)
    assert (np.diff(picks) > 0).all() and picks[0] >= 0 and picks[-1] < available


def test_the_seed_decides() -> None:
    assert np.array_equal(pick_random(1000, 20, 3), pick_random(1000, 20, 3))
    assert not np.array_equal(pick_random(1000, 20, 3), pick_random(1000, 20, 4))


def test_a_seed_is_the_same_pick_for_good() -> None:
    assert pick_random(20, 4, 0).tolist() == [2, 4, 6, 19]


@pytest.mark.parametrize(("available", "wanted"), [(0, 5), (5, 0), (5, -1)])
def test_nothing_to_pick_is_refused(available: int, wanted: int) -> None:
    with pytest.raises(BadInput, match="at least one image"):
        pick_random(available, wanted)


FEATURES = arrays(np.float32, st.tuples(st.integers(2, 40), st.integers(1, 4)), elements=st.integers(-50, 50))
LABELS = st.lists(st.integers(0, 3), min_size=2, max_size=200).filter(lambda labels: len(set(labels)) > 1)


@settings(deadline=None, max_examples=50)
@given(LABELS, st.integers(1, 250), st.integers(0, 99))
def test_every_class_gets_its_share_to_within_one_and_a_part_of_the_others(
        labels: list[int], wanted: int, seed: int) -> None:
    of = np.array(labels)
    picks = pick_stratified(of, wanted, seed)
    assert len(np.unique(picks)) == len(picks) == min(wanted, len(of))
    for label in set(labels):
        share = (of == label).mean()
        assert abs((of[picks] == label).sum() - len(picks) * share) <= 1 + share * (len(set(labels)) - 2) + 1e-9


def test_large_picks_keep_the_classes_shares_closely() -> None:
    labels = np.repeat([0, 1, 2], [700, 280, 20])
    assert np.bincount(labels[pick_stratified(labels, 100, 1)]).tolist() == [70, 28, 2]


def test_one_class_cannot_be_stratified() -> None:
    with pytest.raises(BadInput, match="two or more classes"):
        pick_stratified(np.full(9, 3), 4)


@settings(deadline=None, max_examples=50)
@given(FEATURES, st.integers(1, 45), st.integers(0, 99))
def test_no_face_is_further_from_the_k_centers_than_they_are_from_each_other(
        features: np.ndarray, wanted: int, seed: int) -> None:
    picks = pick_k_center(features, wanted, seed)
    assert len(np.unique(picks)) == len(picks) == min(wanted, len(features))
    if 1 < len(picks) < len(features):  # which proves the factor of two (Gonzalez, 1985)
        radius = distances_to_nearest(features, features[picks]).max()
        chosen = features[picks]
        apart = np.sqrt(((chosen[:, None] - chosen[None]) ** 2).sum(-1))[~np.eye(len(picks), dtype=bool)].min()
        assert radius <= apart + 1e-3


def test_k_centers_span_what_random_picks_miss() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(0, 1, (990, 8)), random.normal(40, 1, (10, 8))]).astype(np.float32)
    assert (pick_k_center(features, 8, 0) >= 990).any()
    assert not (pick_random(1000, 8, 0) >= 990).any()


@settings(deadline=None, max_examples=50)
@given(FEATURES, st.integers(1, 45))
def test_herding_picks_distinct_faces(features: np.ndarray, wanted: int) -> None:
    picks = pick_herding(features, wanted)
    assert len(np.unique(picks)) == len(picks) == min(wanted, len(features))


def test_herding_keeps_the_mean_closer_than_random_picks_do() -> None:
    features = np.random.default_rng(0).exponential(1, (2000, 16)).astype(np.float32)

    def off(picks: np.ndarray) -> float:
        return float(np.linalg.norm(features[picks].mean(axis=0) - features.mean(axis=0)))

    assert off(pick_herding(features, 50)) < 0.2 * min(off(pick_random(2000, 50, seed)) for seed in range(10))


@pytest.mark.parametrize("how", ["random", "stratified", "k-center", "herding"])
def test_a_small_pick_is_part_of_a_larger_one(how: str) -> None:
    random = np.random.default_rng(0)
    features, labels = random.normal(0, 1, (300, 5)).astype(np.float32), random.integers(0, 4, 300)
    pick = {"random": lambda n: pick_random(300, n, 7), "stratified": lambda n: pick_stratified(labels, n, 7),
            "k-center": lambda n: pick_k_center(features, n, 7), "herding": lambda n: pick_herding(features, n)}[how]
    assert set(pick(20)) < set(pick(50)) < set(pick(299))
    assert np.array_equal(pick(50), pick(50))


@pytest.mark.parametrize("how", [lambda n: pick_stratified(np.arange(4), n), lambda n: pick_herding(np.eye(4), n),
                                 lambda n: pick_k_center(np.eye(4), n)])
def test_no_picks_wanted_are_refused(how) -> None:
    with pytest.raises(BadInput, match="at least one image"):
        how(0)


def test_the_hash_follows_the_pixels() -> None:
    faces = random_faces(3)
    changed = faces.copy()
    changed[2, 0, 15, 15] ^= 1
    assert hash_images(faces) == hash_images(iter(faces.copy())) != hash_images(changed)


def test_the_hash_follows_the_order() -> None:
    assert hash_images(random_faces(3)) != hash_images(random_faces(3)[::-1])
