"""Labels and logits in a record: what comes back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from export.gate.packed import pack_labels, pack_logits, unpack_labels, unpack_logits
from runtime.agreement import softmax


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 40_000), max_size=50))
def test_labels_come_back_as_they_were_packed(said: list[int]) -> None:
    assert unpack_labels(pack_labels(np.array(said, dtype=int))).tolist() == said


def test_a_record_of_37_labels_is_whole_json_and_one_sign_an_image() -> None:
    said = np.arange(-1, 37)
    packed = json.loads(json.dumps(pack_labels(said)))
    assert len(packed) == 38 and packed.startswith("-0123456789ab") and unpack_labels(packed).tolist() == said.tolist()
    with pytest.raises(ValueError, match=r"."):
        unpack_labels("\u00ff")


@settings(max_examples=30)
@given(arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 9)), elements=st.floats(-30, 30, width=32)))
def test_logits_come_back_as_the_same_probabilities(logits: np.ndarray) -> None:
    found = unpack_logits(json.loads(json.dumps(pack_logits(logits))), len(logits))
    assert np.abs(softmax(found) - softmax(logits)).max() < 1e-3
    assert (found.max(axis=1) == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_stays_so_and_alone(bad: float) -> None:
    logits = np.array([[1.0, 2.0], [bad, 3.0], [4.0, 1e6]])
    found = unpack_logits(pack_logits(logits), 3)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, True]


def test_a_large_test_split_takes_less_than_300_kb() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (7178, 7))
    assert len(json.dumps(pack_logits(noise))) < 150_000


@pytest.mark.parametrize("changes", [{"classes": 3}, {"classes": "2"}, {"classes": 0}, {"zlib_base64": "?"}])
def test_other_logits_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack_logits({**pack_logits(np.eye(2)), **changes}, 2)


def test_a_flipped_bit_is_found() -> None:
    packed = pack_logits(np.random.default_rng(0).normal(0, 3, (50, 7)))
    text = packed["zlib_base64"]
    place = len(text) // 2
    damaged = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
    with pytest.raises(Exception, match=r"."):
        unpack_logits({**packed, "zlib_base64": damaged}, 50)
