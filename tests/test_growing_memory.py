"""Growth by windows, on a machine whose other programs take and give memory meanwhile."""

from __future__ import annotations

from growing_memory import WINDOWS, growth_of_a_window

NEIGHBOURS = (0, 900, 0, -700, 0, 300, 0)  # what other programs take in each window


def growth_beside_neighbours(leak: int) -> float:
    used, turns = [5000], iter(NEIGHBOURS)

    def work() -> None:
        used[0] += leak + next(turns)

    return growth_of_a_window(work, lambda: used[0])


def test_a_neighbour_is_no_leak() -> None:
    assert len(NEIGHBOURS) == WINDOWS and growth_beside_neighbours(leak=0) == 0


def test_a_leak_shows_beside_neighbours() -> None:
    assert growth_beside_neighbours(leak=40) == 40
