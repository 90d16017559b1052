"""The simulation: seeded, and its draws have the truth that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from export.gate.simulate import draw_accuracy, draw_changed, draw_ece, draw_kl, simulate, verdicts


@pytest.mark.parametrize(("draw", "truth", "tolerance"), [
    (draw_accuracy(3000, 0.05, 2.0), 2.0, 0.1), (draw_changed(3000, 0.05), 5.0, 0.1),
    (draw_kl(3000, 0.05), 0.05, 0.002), (draw_ece(3000, 0.02), 2.0, 0.15)])
def test_a_draws_mean_is_its_truth(draw: object, truth: float, tolerance: float) -> None:
    random = np.random.default_rng(0)
    assert np.mean([draw(random).value for _ in range(60)]) == pytest.approx(truth, abs=tolerance)  # type: ignore[operator]


def test_verdicts_follow_the_truth() -> None:
    random = np.random.default_rng(0)
    assert verdicts(draw_accuracy(3000, 0.02, 0.0), 1.0, 3000, 50, random)["pass"] >= 0.9
    assert verdicts(draw_accuracy(3000, 0.04, 3.0), 1.0, 3000, 50, random)["fail"] >= 0.9


def test_the_same_seed_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.gate.simulate._MANY", 3000)
    first, second = (simulate(3, comparisons=4, power_comparisons=1) for _ in range(2))
    assert first["rows"] == second["rows"] and first["power"] == second["power"]
