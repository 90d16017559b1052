"""Which pictures are worth reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_camera import picture

from runtime.camera.quality import REPEATS, QualityCheck


def flat(level: float, noise: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).normal(level, noise, (240, 320, 3)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("level", "verdict"), [(2, "dark"), (255, "overexposed"), (40, "covered"), (120, "covered")])
def test_a_picture_of_nothing_is_told_by_its_level(level: int, verdict: str) -> None:
    assert QualityCheck().judge(flat(level), 0.0) == verdict


def test_a_lamp_in_a_black_picture_does_not_make_it_usable() -> None:
    image = flat(2)
    image[:20, :40] = 255
    assert QualityCheck().judge(image, 0.0) == "dark"


@pytest.mark.parametrize("gain", [0.15, 0.3, 1.0, 1.5])
def test_a_photograph_is_usable_in_dim_and_in_bright_light(gain: float, face_photo: np.ndarray) -> None:
    image = (face_photo * gain).clip(0, 255).astype(np.uint8)
    assert QualityCheck().judge(image, 0.0) == "usable"


def test_an_exact_repeat_is_frozen_after_its_time() -> None:
    check, image = QualityCheck(frozen_seconds=1.0), picture(0)
    verdicts = [check.judge(image, n / 10) for n in range(13)]
    assert verdicts == ["usable"] * 10 + ["frozen"] * 3
    assert check.judge(picture(1), 1.3) == "usable"


def test_a_slow_camera_is_not_frozen_by_time_alone() -> None:
    check, image = QualityCheck(frozen_seconds=1.0), picture(0)
    assert [check.judge(image, 10.0 * n) for n in range(REPEATS)] == ["usable"] * REPEATS


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_still_scene_with_noise_is_never_frozen(seed: int) -> None:
    check = QualityCheck(frozen_seconds=0.1)
    scene = picture(seed % 97)
    random = np.random.default_rng(seed)
    for number in range(2 * REPEATS):
        noisy = (scene.astype(int) + random.integers(-1, 2, scene.shape)).clip(0, 255).astype(np.uint8)
        assert check.judge(noisy, float(number)) == "usable"


def test_nothing_freezes_where_that_is_switched_off() -> None:
    check = QualityCheck(frozen_seconds=0)
    assert {check.judge(picture(0), float(n)) for n in range(100)} == {"usable"}
