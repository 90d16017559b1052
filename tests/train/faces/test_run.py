"""A real run on a few real pictures: it learns, resumes to the bit, leaves checkpoints, and its verbs work."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import mien
from runtime.errors import BadConfig, BadInput
from train.checkpoint import load_checkpoint
from train.distributed import Group
from train.faces import task as task_module
from train.faces.labels import FaceLabels, save_labels
from train.faces.network import FaceDetector
from train.faces.pictures import Pictures
from train.faces.recipe import FaceRecipe, load_face_recipe
from train.faces.run import load_face_network, train_faces
from train.faces.task import FaceTask, detect
from train.optimizers import make_optimizer

QUICK = FaceRecipe(name="quick", widths=(8, 16, 24, 24, 24), blocks=(1, 1, 1), scenes_per_epoch=24, batch_size=8,
                   size=96, image_sizes=((0.0, 64), (0.5, 96)), epochs=2, learning_rate=5e-3, ema=0.5)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Beside other work on this machine, two threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def few_scenes_choose() -> Iterator[None]:
    """Six scenes instead of the recipe's: what is tested here is that they choose, not how well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaceTask.__init__, "__defaults__", (6,))
        yield


@pytest.fixture(scope="module")
def finished(small_data: Path, labels: FaceLabels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole quick run (read-only)."""
    out = tmp_path_factory.mktemp("run") / "face"
    train_faces(QUICK, small_data, labels, out, resume=False, command="mien faces train")
    return out


def test_a_run_leaves_both_checkpoints_with_where_they_came_from(finished: Path, labels: FaceLabels) -> None:
    for name in ("best", "last"):
        facts = load_checkpoint(finished / name)[1]
        assert facts["task"] == "face" and facts["data"]["sha256"] == labels.sha256()
        assert facts["recipe"] == json.loads(json.dumps(QUICK.as_dict()))
        assert facts["data"]["held_out"] == {"heads": 12, "photographs": 8}


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_opens_as_a_detector(finished: Path, name: str) -> None:
    network, recipe, _ = load_face_network(finished / name)
    assert recipe == QUICK
    found = detect(network, np.zeros((64, 96), np.uint8), threshold=0.0)
    assert (found.boxes[:, :2] + found.boxes[:, 2:] <= (96, 64)).all()


def test_a_run_cut_short_and_resumed_has_the_bits_of_one_that_was_not(
        finished: Path, small_data: Path, labels: FaceLabels, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        compose = task_module.Composer.compose

        def interrupted(self: task_module.Composer, size: tuple[int, int], *rest: object) -> object:
            if size == (96, 96):  # the second epoch's
                raise KeyboardInterrupt
            return compose(self, size, *rest)  # type: ignore[arg-type]

        patch.setattr(task_module.Composer, "compose", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_faces(QUICK, small_data, labels, tmp_path / "run", resume=False)
    train_faces(QUICK, small_data, labels, tmp_path / "run", resume=True)
    for name in ("best", "last"):
        wanted, found = load_checkpoint(finished / name)[0], load_checkpoint(tmp_path / "run" / name)[0]
        assert set(wanted) == set(found) and [k for k in wanted if not torch.equal(wanted[k], found[k])] == []


def test_other_labels_do_not_resume(finished: Path, small_data: Path, labels: FaceLabels) -> None:
    moved = dataclasses.replace(labels, heads=dataclasses.replace(labels.heads, boxes=labels.heads.boxes + 0.5))
    with pytest.raises(BadInput, match="the same data as the run"):
        train_faces(QUICK, small_data, moved, finished, resume=True)


def test_an_expression_checkpoint_is_no_detector() -> None:
    with pytest.raises(BadInput, match="expected a face checkpoint"):
        load_face_network(Path(mien.__file__).parent / "train/checkpoints/mien-light")


def test_a_few_scenes_can_be_learnt_by_heart(drawn_pictures: Pictures) -> None:
    """Network, targets, loss and figures together: what cannot overfit has a fault somewhere."""
    recipe = dataclasses.replace(QUICK, scenes_per_epoch=8, learning_rate=1e-2)
    torch.manual_seed(0)
    task, network = FaceTask(drawn_pictures, drawn_pictures, recipe), FaceDetector(recipe.widths, recipe.blocks)
    inputs, targets = next(task.batches(1, torch.Generator().manual_seed(3)))
    optimizer = make_optimizer(network, recipe.fitting())
    losses = []
    for _ in range(100):  # 60 to 80 do, whatever the seed
        optimizer.zero_grad()
        loss = task.loss(network(inputs), targets, inputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert task.correct(network(inputs).detach(), targets) > 0.95


def test_an_epoch_is_the_same_however_often_it_is_drawn(drawn_pictures: Pictures) -> None:
    task = FaceTask(drawn_pictures, drawn_pictures, QUICK)
    first, again = (list(task.batches(0, torch.Generator().manual_seed(1))) for _ in range(2))
    assert len(first) == task.steps_per_epoch == 3
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1].boxes, b[1].boxes) for a, b in zip(first, again))


def test_processes_share_a_batch_without_repeating_a_scene(drawn_pictures: Pictures) -> None:
    task = FaceTask(drawn_pictures, drawn_pictures, QUICK)
    whole = next(task.batches(0, torch.Generator().manual_seed(1)))[0]
    halves = [next(task.batches(0, torch.Generator().manual_seed(1), Group(rank, 2)))[0] for rank in (0, 1)]
    assert torch.equal(whole, torch.cat(halves))


def test_scenes_grow_as_the_recipe_says(drawn_pictures: Pictures) -> None:
    task = FaceTask(drawn_pictures, drawn_pictures, QUICK)
    assert [next(task.batches(e, torch.Generator()))[0].shape[2:] for e in (0, 1)] == [(64, 64), (96, 96)]


def test_the_shipped_recipe_is_read_and_may_be_changed() -> None:
    recipe = load_face_recipe("mien-face", epochs=5, seed=None)
    assert (recipe.epochs, recipe.seed, recipe.fitting().epochs) == (5, 0, 5)
    assert recipe.fitting().size_at(0) == 256 and recipe.fitting().size_at(4) == 320


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean mien-face"):
        load_face_recipe("mien-fase")


@pytest.mark.parametrize(("text", "words"), [
    ("size: 100", "multiples of 32"), ("widths: [1, 2]", "five widths"), ("epochs: 0", "epochs ≥ 1"),
    ("scenes: {faces: -1}", "faces"), ("scenes: {mosaic: 2}", "of 0–1"), ("scenes_per_epoch: 2", "at least 16"),
    ("lerning_rate: 1", "did you mean learning_rate")])
def test_a_recipe_that_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.yaml").write_text(text + "\n")
    with pytest.raises(BadConfig, match=words):
        load_face_recipe(str(tmp_path / "r.yaml"))


def test_the_road_of_the_verbs(mien_data: Path, small_data: Path, tmp_path: Path,
                               capsys: pytest.CaptureFixture[str]) -> None:
    teacher = str(mien_data / "models" / "yunet_n_dynamic.onnx")
    recipe = tmp_path / "quick.yaml"
    recipe.write_text("widths: [8, 16, 24, 24, 24]\nblocks: [1, 1, 1]\nscenes_per_epoch: 16\nbatch_size: 8\n"
                      "size: 64\nepochs: 1\n")
    given = ["--data", str(small_data), "--labels", str(tmp_path / "labels.npz")]
    run = str(tmp_path / "run")
    assert mien.main(["faces", "label", "--data", str(small_data), "--teacher", teacher,
                      "--out", str(tmp_path / "labels.npz")]) == 0
    assert mien.main(["faces", "train", "--recipe", str(recipe), *given, "--out", run]) == 0
    assert "kept epoch 1 of 1" in capsys.readouterr().err
    record = tmp_path / "record.json"
    assert mien.main(["faces", "evaluate", f"{run}/best", *given, "--teacher", teacher, "--scenes", "6",
                      "--record", str(record)]) == 0
    figures = json.loads(record.read_text())
    assert figures["teacher"]["24 px and more"]["ap50"] > figures["student"]["24 px and more"]["ap50"] >= 0
    assert figures["made_on"]["commit"] and len(figures["data"]["sha256"]) == 64


def test_another_runs_labels_do_not_evaluate_it(
        mien_data: Path, finished: Path, small_data: Path, labels: FaceLabels, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    moved = dataclasses.replace(labels, heads=dataclasses.replace(labels.heads, boxes=labels.heads.boxes + 0.5))
    save_labels(moved, tmp_path / "moved.npz")
    assert mien.main(["faces", "evaluate", str(finished / "best"), "--data", str(small_data), "--labels",
                      str(tmp_path / "moved.npz"), "--teacher",
                      str(mien_data / "models" / "yunet_n_dynamic.onnx")]) == 2
    assert "found others; give the run's own" in capsys.readouterr().err
