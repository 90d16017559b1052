"""2,000 mutated inputs over all that reads hostile bytes, and a fuzzer that notices what it looks for.

`make fuzz` tries 100,000.
"""

from __future__ import annotations

import pytest
from fuzz.many_inputs import SHARES, Findings, fuzz
from fuzz.mutate import MOST_BYTES, mutate
from fuzz.targets import TARGETS

INPUTS = 2000


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_are_refused_or_read_and_no_more(name: str) -> None:
    found = fuzz(name, round(SHARES[name] * INPUTS))
    assert found.clean, found
    assert found.outcomes.total() == found.inputs and len(found.outcomes) > 1, "inputs reach more than the first check"


@pytest.mark.parametrize(("name", "where"), [
    ("raises", "tracebacks"), ("hangs", "hangs"), ("dies", "crashes"), ("writes", "writes_outside")])
def test_what_is_looked_for_is_found(name: str, where: str) -> None:
    found: Findings = fuzz(name, 25, dead_seconds=3.0)
    assert {line.partition(":")[0] for line in getattr(found, where)} == {"9", "19"} and not found.clean
    others = {"tracebacks", "hangs", "crashes", "writes_outside"} - {where}
    assert not any(getattr(found, other) for other in others)


def test_an_input_is_the_same_by_its_number() -> None:
    seeds, words = [b"one seed", b"another"], [b"word"]
    inputs = [mutate(seeds, words, number) for number in range(200)]
    assert inputs == [mutate(seeds, words, number) for number in range(200)]
    assert len(set(inputs)) > 150 and max(map(len, inputs)) <= MOST_BYTES


def test_the_shares_are_all_of_it() -> None:
    assert set(SHARES) == set(TARGETS) and sum(SHARES.values()) == pytest.approx(1.0)
