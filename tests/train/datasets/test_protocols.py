"""What every protocol promises: nothing twice, nothing lost, the same draw for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import BadInput
from train.datasets.protocols import (
    canonical_split,
    random_90_10,
    shared_subjects,
    subject_independent_ten_fold,
    ten_fold,
)

SEEDS = st.integers(0, 2**32 - 1)
PEOPLE = st.lists(st.integers(0, 30), min_size=20, max_size=200).filter(lambda people: len(set(people)) >= 10)


def assert_partition(fold, count: int) -> None:
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.train, fold.test])), np.arange(count))


@settings(deadline=None)  # a busy machine is no failure
@given(count=st.integers(10, 300), seed=SEEDS)
def test_ninety_ten_is_a_partition_with_a_tenth_rounded_up(count, seed):
    fold = random_90_10(count, seed)
    assert_partition(fold, count)
    assert len(fold.test) == -(-count // 10)


def test_ck_plus_gives_the_99_of_paper_c():
    assert len(random_90_10(981, 0).test) == 99


@settings(deadline=None)
@given(count=st.integers(10, 300), seed=SEEDS)
def test_ten_fold_tests_every_image_once(count, seed):
    folds = ten_fold(count, seed)
    for fold in folds:
        assert_partition(fold, count)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(count))
    sizes = [len(fold.test) for fold in folds]
    assert len(folds) == 10 and max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(people=PEOPLE, seed=SEEDS)
def test_subject_independent_folds_test_every_image_once_and_share_nobody(people, seed):
    subjects = np.array([f"S{person:03}" for person in people])
    folds = subject_independent_ten_fold(subjects, seed)
    assert len(folds) == 10
    for fold in folds:
        assert_partition(fold, len(subjects))
        assert len(fold.test) and shared_subjects(fold, subjects) == 0
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(len(subjects)))


@settings(deadline=None)
@given(people=PEOPLE, seed=SEEDS)
def test_subject_independent_folds_differ_by_one_person_at_most(people, seed):
    subjects = np.array([f"S{person:03}" for person in people])
    sizes = [len(fold.test) for fold in subject_independent_ten_fold(subjects, seed)]
    assert max(sizes) - min(sizes) <= np.unique(subjects, return_counts=True)[1].max()


def test_random_folds_share_people_and_the_count_says_so():
    subjects = np.repeat([f"S{i:03}" for i in range(20)], 5)
    assert all(shared_subjects(fold, subjects) > 0 for fold in ten_fold(100, 0))


@pytest.mark.parametrize("draw", [
    lambda seed: [random_90_10(100, seed)],
    lambda seed: ten_fold(100, seed),
    lambda seed: subject_independent_ten_fold(np.repeat(np.arange(20).astype(str), 5), seed),
])
def test_the_seed_decides(draw):
    def tests(seed: int) -> list[list[int]]:
        return [fold.test.tolist() for fold in draw(seed)]

    assert tests(3) == tests(3) and tests(3) != tests(4)


def test_a_seed_is_the_same_draw_for_good():
    assert random_90_10(20, 0).test.tolist() == [1, 18]
    assert [fold.test.tolist() for fold in ten_fold(10, 0)] == [[2], [8], [4], [9], [1], [6], [7], [3], [0], [5]]


def test_canonical_split_takes_the_names():
    splits = np.array(["Training", "PublicTest", "Training", "PrivateTest"])
    fold = canonical_split(splits, train=["Training"], test=["PublicTest", "PrivateTest"])
    assert fold.train.tolist() == [0, 2] and fold.test.tolist() == [1, 3]


def test_a_split_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="found test"):
        canonical_split(np.array(["All"] * 3), train=["All"], test=["test"])


def test_one_split_on_both_sides_is_refused():
    with pytest.raises(BadInput, match="without one in common"):
        canonical_split(np.array(["All"] * 3), train=["All"], test=["All"])


@pytest.mark.parametrize("draw", [
    lambda: random_90_10(9, 0), lambda: ten_fold(9, 0),
    lambda: subject_independent_ten_fold(np.repeat(np.arange(9).astype(str), 5), 0),
])
def test_fewer_than_ten_are_refused(draw):
    with pytest.raises(BadInput, match="expected 10 or more"):
        draw()
