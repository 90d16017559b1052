"""Which faces are picked, and the identity of what was picked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_graphs import random_faces

from calibration.pick_images import hash_images, pick_random
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


def test_the_hash_follows_the_pixels() -> None:
    faces = random_faces(3)
    changed = faces.copy()
    changed[2, 0, 15, 15] ^= 1
    assert hash_images(faces) == hash_images(iter(faces.copy())) != hash_images(changed)


def test_the_hash_follows_the_order() -> None:
    assert hash_images(random_faces(3)) != hash_images(random_faces(3)[::-1])
