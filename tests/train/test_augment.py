"""Augmentation: replayable, and each change does what its name says."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from train.augment import Augmentation, _pick, _pick_on_cpu, augment, change, draw

NOTHING = Augmentation(flip=0, vertical_flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, cutout=0)


def only(**changes: float) -> Augmentation:
    return dataclasses.replace(NOTHING, **changes)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def faces() -> torch.Tensor:
    """Smooth pictures (8, 1, 24, 24) uint8: a bright blob away from the middle on a slope."""
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    blobs = [120 * torch.exp(-((rows - 8) ** 2 + (columns - 5 - i) ** 2) / 20) + 3 * columns + 20 for i in range(8)]
    return torch.stack(blobs).unsqueeze(1).to(torch.uint8)


def test_no_change_at_all_gives_the_faces_back(faces: torch.Tensor) -> None:
    assert torch.allclose(augment(faces, 24, NOTHING, generator()), faces.float(), atol=0.01)


@pytest.mark.parametrize("size", [16, 24, 40])
def test_the_size_asked_for_comes_out(faces: torch.Tensor, size: int) -> None:
    changed = augment(faces, size, Augmentation(), generator())
    assert changed.shape == (8, 1, size, size) and changed.dtype == torch.float32


def test_values_stay_pixels(faces: torch.Tensor) -> None:
    changed = augment(faces, 24, Augmentation(contrast=0.9, brightness=200), generator())
    assert changed.min() >= 0 and changed.max() <= 255 and bool(changed.isfinite().all())


def test_the_same_generator_gives_the_same_faces(faces: torch.Tensor) -> None:
    once, again, other = (augment(faces, 24, Augmentation(), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_the_global_generator_is_left_alone(faces: torch.Tensor) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    augment(faces, 24, Augmentation(), generator())
    assert torch.equal(torch.rand(1), wanted)


def test_the_faces_given_are_not_changed(faces: torch.Tensor) -> None:
    before = faces.clone()
    augment(faces, 24, Augmentation(cutout=1), generator())
    assert torch.equal(faces, before)


def test_a_certain_flip_mirrors_left_and_right(faces: torch.Tensor) -> None:
    assert torch.allclose(augment(faces, 24, only(flip=1), generator()), faces.flip(3).float(), atol=0.01)


def test_half_the_faces_are_flipped(faces: torch.Tensor) -> None:
    many = faces[:1].expand(2000, 1, 24, 24)
    changed = augment(many, 24, only(flip=0.5), generator())
    flipped = (changed - many.flip(3).float()).abs().amax((1, 2, 3)) < 0.01
    kept = (changed - many.float()).abs().amax((1, 2, 3)) < 0.01
    assert bool((flipped ^ kept).all()) and 0.45 < float(flipped.float().mean()) < 0.55


def test_a_shift_moves_the_blob_but_not_further_than_asked(faces: torch.Tensor) -> None:
    many = faces[:1].expand(200, 1, 24, 24)
    changed = augment(many, 24, only(shift=0.125), generator())
    place = changed.view(200, -1).argmax(1)
    rows, columns = place // 24, place % 24
    wanted = int(faces[0].view(-1).argmax())
    assert int((rows - wanted // 24).abs().max()) == int((columns - wanted % 24).abs().max()) == 3


def test_brightness_moves_the_mean_by_at_most_so_many_levels(faces: torch.Tensor) -> None:
    grey = torch.full((500, 1, 24, 24), 128, dtype=torch.uint8)
    means = augment(grey, 24, only(brightness=20), generator()).mean((1, 2, 3)) - 128
    assert 19 < float(means.max()) <= 20.01 and -20.01 <= float(means.min()) < -19


def test_contrast_keeps_the_mean(faces: torch.Tensor) -> None:
    changed = augment(faces, 24, only(contrast=0.2), generator())
    assert torch.allclose(changed.mean((1, 2, 3)), faces.float().mean((1, 2, 3)), atol=0.5)
    assert not torch.allclose(changed.std((1, 2, 3)), faces.float().std((1, 2, 3)), rtol=0.01)


def test_a_hole_is_square_and_at_most_as_large_as_asked(faces: torch.Tensor) -> None:
    many = faces[:1].expand(200, 1, 24, 24)
    changed = (augment(many, 24, only(cutout=1, cutout_size=0.5), generator()) - many).abs() > 0.5
    rows, columns = changed.any(3).sum((1, 2)), changed.any(2).sum((1, 2))
    assert 8 < int(rows.max()) <= 13 and 8 < int(columns.max()) <= 13


@pytest.mark.parametrize("wrong", [{"flip": 1.5}, {"cutout": -0.1}, {"scale": 1.0}, {"shift": -0.2},
                                   {"cutout_size": 2.0}])
def test_a_share_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Augmentation(**wrong)


def test_a_certain_vertical_flip_turns_up_and_down(faces: torch.Tensor) -> None:
    assert torch.allclose(augment(faces, 24, only(vertical_flip=1), generator()), faces.flip(2).float(), atol=0.01)


def test_a_crop_is_made_of_the_faces_own_pixels_and_every_place_is_drawn(faces: torch.Tensor) -> None:
    many = faces[:1].expand(500, 1, 24, 24)
    changed = augment(many, 20, NOTHING, generator(), crop=20)
    crops = {(y, x): faces[0, :, y : y + 20, x : x + 20].float() for y in range(5) for x in range(5)}
    drawn = [[place for place, crop in crops.items() if torch.allclose(crop, face, atol=0.01)] for face in changed]
    assert all(drawn) and {place for places in drawn for place in places} == set(crops)


def test_a_crop_fills_whatever_size_is_asked_for(faces: torch.Tensor) -> None:
    small = augment(faces, 12, NOTHING, generator(), crop=20)
    assert small.shape == (8, 1, 12, 12)


def test_colours_change_together() -> None:
    grey = torch.randint(0, 256, (16, 1, 24, 24), dtype=torch.uint8)
    changed = augment(grey.expand(16, 3, 24, 24), 24, Augmentation(), generator())
    assert torch.allclose(changed[:, :1].expand(16, 3, 24, 24), changed, atol=0.01)


def test_a_share_of_the_changes_is_that_of_the_batch(faces: torch.Tensor) -> None:
    changes = draw(8, Augmentation(), generator())
    whole, half = change(faces, 24, changes), change(faces[4:], 24, changes[4:])
    assert torch.allclose(whole[4:], half, atol=1e-3)


def test_torch_on_a_gpu_picks_the_pixels_that_numpy_picks(faces: torch.Tensor) -> None:
    by = draw(len(faces), only(flip=0.5, vertical_flip=0.5), generator(3))
    top, left = (by.place_y * 5).long(), (by.place_x * 5).long()

    assert torch.equal(_pick(faces, by, top, left, 20), _pick_on_cpu(faces, by, top, left, 20))
