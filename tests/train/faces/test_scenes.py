"""Composed scenes: labels lie where the pixels are, whatever turns, mirrors, cuts or hides a face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.faces.camera_effects import BANK, CameraEffects
from train.faces.masks import BORDER, SIDE, make_masks
from train.faces.pictures import SURE, Pictures
from train.faces.recipe import SceneRecipe
from train.faces.scenes import VISIBLE, Composer, Scene, moved_face
from train.faces.teacher import Teacher

PLAIN = SceneRecipe(distractors=0, mosaic=0, dressed=0, covered=0, faces=1, smallest=80, largest=0.5)


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def composer(pictures: Pictures) -> Composer:
    """Real pictures, the default recipe."""
    return Composer(pictures, SceneRecipe())


@pytest.fixture(scope="module")
def dotted(drawn_pictures: Pictures) -> Composer:
    """Scenes of one drawn head whose landmarks are white dots, with a camera that changes nothing."""
    composer = Composer(drawn_pictures, PLAIN)
    composer.effects.apply = lambda picture, random: picture  # type: ignore[method-assign]
    return composer


def test_every_landmark_lies_on_the_pixels_it_names(dotted: Composer) -> None:
    seen = 0
    for seed in range(60):
        scene = dotted.compose((320, 320), seeded(seed), faces=1)
        if scene.ignored[0]:
            continue
        for x, y in scene.landmarks[0]:
            column, row = int(x), int(y)
            if 2 <= column < 317 and 2 <= row < 317:
                near = scene.picture[row - 1 : row + 2, column - 1 : column + 2].astype(int)
                around = scene.boxes[0].astype(int)
                face = scene.picture[max(0, around[1]) : around[1] + around[3],
                                     max(0, around[0]) : around[0] + around[2]]
                assert near.mean() > face.mean() + 30
                seen += 1
    assert seen > 150


def test_a_mirrored_face_keeps_its_own_right_eye() -> None:
    box, landmarks = np.array([0.0, 0, 10, 12]), np.array([[2.0, 4], [8, 4], [5, 6], [3, 9], [7, 9]])
    _, moved = moved_face(box, landmarks, np.array([[-1.0, 0, 10], [0, 1, 0]]))
    assert moved.tolist() == [[2, 4], [8, 4], [5, 6], [3, 9], [7, 9]]  # symmetric: as if nothing had happened


@settings(max_examples=100, deadline=None)
@given(st.floats(-180, 180), st.floats(0.2, 4), st.booleans())
def test_a_turned_box_bounds_the_turned_ellipse(degrees: float, scale: float, mirror: bool) -> None:
    box, turn = np.array([10.0, 20, 30, 40]), np.radians(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if mirror:
        linear[:, 0] *= -1
    affine = np.column_stack([linear, [3, -7]])
    angles = np.linspace(0, 2 * np.pi, 2000)
    ellipse = np.stack([25 + 15 * np.cos(angles), 40 + 20 * np.sin(angles)], axis=1) @ linear.T + [3, -7]
    moved, _ = moved_face(box, np.zeros((5, 2)), affine)
    assert moved[:2] == pytest.approx(ellipse.min(0), abs=1e-3 * scale * 40)
    assert moved[:2] + moved[2:] == pytest.approx(ellipse.max(0), abs=1e-3 * scale * 40)


@pytest.mark.parametrize("size", [(256, 256), (640, 480), (96, 320)])
def test_a_scene_is_what_was_asked_for(composer: Composer, size: tuple[int, int]) -> None:
    for seed in range(20):
        scene = composer.compose(size, seeded(seed))
        assert scene.picture.shape == size[::-1] and scene.picture.dtype == np.uint8
        faces = len(scene.boxes)
        assert (len(scene.landmarks), len(scene.scores), len(scene.ignored)) == (faces, faces, faces)
        assert (scene.boxes[:, :2] >= 0).all() and (scene.boxes[:, 2:] > 0).all()
        assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= np.array(size) + 1e-3).all()
        assert (scene.scores[~scene.ignored] >= SURE).all()


def test_a_seed_makes_the_same_scene(composer: Composer, pictures: Pictures) -> None:
    first, again = (c.compose((256, 256), seeded(5)) for c in (composer, Composer(pictures, SceneRecipe())))
    assert np.array_equal(first.picture, again.picture) and np.array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.picture, composer.compose((256, 256), seeded(6)).picture)


def test_faces_of_every_size_are_composed(composer: Composer) -> None:
    scenes = [composer.compose((640, 480), seeded(i)) for i in range(100)]
    sides = np.concatenate([np.sqrt(s.boxes[:, 2] * s.boxes[:, 3])[~s.ignored] for s in scenes])
    octaves = np.histogram(sides, [10, 20, 40, 80, 160, 320, 640])[0]
    assert (octaves[:4] > 40).all() and (octaves[4:] > 2).all()


def test_no_faces_means_none_at_all(composer: Composer) -> None:
    assert all(len(composer.compose((320, 320), seeded(i), faces=0).boxes) == 0 for i in range(40))


def test_a_face_mostly_hidden_or_cut_off_is_neither_face_nor_background(dotted: Composer) -> None:
    hidden = [s for s in (dotted.compose((320, 320), seeded(i), faces=4) for i in range(60)) if s.ignored.any()]
    assert len(hidden) > 5
    for scene in hidden:
        for box in scene.boxes[scene.ignored]:
            at_border = (box[:2] <= 0).any() or (box[:2] + box[2:] >= 319.9).any()
            others = [o for o in scene.boxes if not np.array_equal(o, box)]
            assert at_border or any(_share(box, other) > (1 - VISIBLE) / 4 for other in others)


def _share(box: np.ndarray, other: np.ndarray) -> float:
    meet = np.minimum(box[:2] + box[2:], other[:2] + other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(np.maximum(meet, 0)) / np.prod(box[2:]))


def test_the_teacher_finds_what_is_pasted_where_the_label_says(composer: Composer, teacher: Teacher) -> None:
    hits = total = 0
    for seed in range(30):
        scene = composer.compose((640, 480), seeded(seed))
        found = teacher.find(np.repeat(scene.picture[:, :, None], 3, axis=2), 0.3).boxes
        for box in scene.boxes[~scene.ignored & (scene.boxes[:, 3] > 60)]:
            total += 1
            hits += any(_share(box, other) > 0.5 and _share(other, box) > 0.5 for other in found)
    assert total > 30 and hits / total > 0.7


def test_soft_masks_fade_at_their_picture_and_hard_ones_do_not() -> None:
    masks = make_masks(seeded(0), 100)
    assert masks.shape == (100, SIDE, SIDE) and masks.min() >= 0 and masks.max() <= 1
    hard = masks.min(axis=(1, 2)) == 1
    assert 0.03 < hard.mean() < 0.3
    edge = 0.5 / SIDE / BORDER  # the middle of the outermost pixel
    assert (masks[~hard][:, 0].max(axis=1) <= edge + 1e-6).all() and (masks[~hard][:, SIDE // 2, SIDE // 2] == 1).all()


def test_a_camera_keeps_size_and_type_and_changes_most_pictures() -> None:
    effects, picture = CameraEffects(seeded(0)), seeded(1).integers(0, 256, (96, 128)).astype(np.uint8)
    results = [effects.apply(picture.copy(), seeded(i)) for i in range(60)]
    assert all(r.shape == picture.shape and r.dtype == np.uint8 for r in results)
    assert np.mean([np.array_equal(r, picture) for r in results]) < 0.2


def test_a_cameras_noise_is_centred() -> None:
    effects, grey = CameraEffects(seeded(0)), np.full((BANK // 2, BANK // 2), 128, np.uint8)
    assert abs(float(effects._noisy(grey, seeded(0)).mean()) - 128) < 0.5


def test_a_scene_of_nothing_has_empty_labels(drawn_pictures: Pictures) -> None:
    scene: Scene = Composer(drawn_pictures, PLAIN).compose((64, 64), seeded(0), faces=0)
    assert scene.boxes.shape == (0, 4) and scene.landmarks.shape == (0, 5, 2) and scene.ignored.shape == (0,)
