"""How many rows a batch runs as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.io_tensors import padded_batch


@pytest.mark.parametrize(("rows", "runs_as"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (33, 64), (64, 64)])
def test_a_batch_runs_as_the_next_power_of_two(rows: int, runs_as: int) -> None:
    assert padded_batch(rows, 1, 64) == runs_as


@given(st.integers(1, 200), st.integers(0, 200), st.integers(1, 400))
def test_it_holds_the_rows_and_keeps_the_profile(smallest: int, more: int, rows: int) -> None:
    largest = smallest + more
    rows = min(rows, largest)
    size = padded_batch(rows, smallest, largest)
    assert rows <= size and smallest <= size <= largest
    assert size < 2 * rows or size == smallest


@given(st.integers(1, 64))
def test_few_sizes_are_met(largest: int) -> None:
    assert len({padded_batch(rows, 1, largest) for rows in range(1, largest + 1)}) <= largest.bit_length() + 1
