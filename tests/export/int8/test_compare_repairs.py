"""What repairs win back: a row for each, held against float, none of which changes what float says."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_graphs import random_faces

from export.int8.compare_repairs import ALPHAS, compare_repairs
from runtime.card import load_model


@pytest.fixture(scope="module")
def compared(tiny_export) -> dict:
    return compare_repairs(load_model(tiny_export.directory), random_faces(32), random_faces(64, seed=9),
                           np.zeros(64, np.int64))


def test_every_repair_is_a_row(compared: dict) -> None:
    names = [row["repair"] for row in compared["rows"]]
    assert names[:2] == ["none", "biases corrected"] and len(set(names)) == len(names) == 3 + len(ALPHAS)


def test_no_repair_changes_what_float_says(compared: dict) -> None:
    assert compared["rows"][0]["float_delta"] == 0
    assert max(row["float_delta"] for row in compared["rows"]) < 1e-4


def test_every_repair_changes_what_int8_says_but_alpha_0_without_depth_wise_layers(compared: dict) -> None:
    found = {row["repair"]: row["mean_kl"] for row in compared["rows"]}
    assert not any(pair["free"] for pair in compared["pairs"])
    assert found.pop("equalized, alpha 0.0") == found["none"]
    assert min(found.values()) > 0 and len(set(found.values())) == len(found)
