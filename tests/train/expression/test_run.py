"""One expression run on noise, from faces to a checkpoint that loads; and the batches it is fed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from runtime.errors import BadInput
from train.augment import Augmentation
from train.checkpoint import load_checkpoint, save_checkpoint
from train.datasets.labelled_faces import LabelledFaces
from train.expression.open_network import open_network
from train.expression.run import load_network, train_expression
from train.expression.task import ExpressionTask, predict
from train.networks import build_network
from train.recipe import Recipe

NAMES = ("dark", "middle", "bright")
RECIPE = Recipe(name="quick", network="small-vgg", epochs=2, batch_size=16, dropout=0.0, ema=0.5,
                image_sizes=((0.0, 16), (0.5, 24)), augmentation=Augmentation(brightness=0, contrast=0))


def noise(count: int = 96) -> LabelledFaces:
    """24×24 faces whose brightness is their class; the last third is held out."""
    random, labels = np.random.default_rng(0), np.arange(count) % 3
    images = np.clip(random.normal(60 + 70 * labels[:, None, None], 20, (count, 24, 24)), 0, 255).astype(np.uint8)
    splits = np.where(np.arange(count) < count * 2 // 3, "Training", "PublicTest")
    return LabelledFaces(images, labels, splits, [str(i) for i in range(count)], NAMES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs (read-only)."""
    out = tmp_path_factory.mktemp("expression") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # beside other work on this machine, two would wait for each other
    try:
        train_expression(RECIPE, noise(), out, resume=False)
    finally:
        torch.set_num_threads(threads)
    return out


def task_of(recipe: Recipe = RECIPE) -> ExpressionTask:
    faces = noise()
    return ExpressionTask(faces.split("Training"), faces.split("PublicTest"), recipe)


def test_a_checkpoint_says_where_it_came_from(run: Path) -> None:
    facts = load_checkpoint(run / "best")[1]
    assert (facts["network"], facts["labels"], facts["size"]) == ("small-vgg", list(NAMES), 24)
    assert facts["recipe"]["seed"] == 0 and facts["torch"] == torch.__version__
    assert facts["data"] == {"name": "fer2013", "sha256": noise().sha256(), "training_images": 64}


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_checkpoint_opens_as_a_network_for_any_faces(run: Path, which: str) -> None:
    logits, what = open_network(run / which, "fp32")
    answers = logits(noise().images[:5, None])
    assert answers.shape == (5, 3) and np.isfinite(answers).all()
    assert what["runs_in"] == "PyTorch" and what["epoch"] in (1, 2)


def test_the_best_checkpoint_scores_what_it_says(run: Path) -> None:
    network, facts = load_network(run / "best")
    assert task_of().score(network) == facts["figures"]


def test_the_last_checkpoint_holds_its_epochs_averaged_weights(run: Path) -> None:
    network, facts = load_network(run / "last")
    assert facts["epoch"] == 1 and task_of().score(network) == facts["figures"]


def test_too_few_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 16 Training and one PublicTest face, found 14 and 7"):
        train_expression(RECIPE, noise(21), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", {"x": torch.zeros(1)}, {"format": 1, "task": "face"})
    with pytest.raises(BadInput, match="an expression checkpoint"):
        load_network(tmp_path / "best")


def test_weights_of_another_network_are_refused(run: Path, tmp_path: Path) -> None:
    _, facts = load_checkpoint(run / "best")
    save_checkpoint(tmp_path / "best", build_network("light-vgg16", 3).state_dict(), facts)
    with pytest.raises(BadInput, match="the weights of small-vgg"):
        load_network(tmp_path / "best")


# the batches

def test_an_epoch_shows_every_training_face_at_most_once() -> None:
    plain = dataclasses.replace(RECIPE, augmentation=Augmentation(0, 0, 0, 0, 0, 0, 0), image_sizes=((0.0, 24),))
    task = task_of(plain)
    shown = torch.cat([faces for faces, _ in task.batches(0, torch.Generator().manual_seed(1))])
    assert shown.shape == (64, 1, 24, 24)
    assert len({face.round().numpy().tobytes() for face in shown}) == 64


def test_the_size_follows_the_epoch() -> None:
    sizes = [next(iter(task_of().batches(epoch, torch.Generator())))[0].shape[-1] for epoch in (0, 1)]
    assert sizes == [16, 24]


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_generator_decides_a_whole_epoch(mixup: float) -> None:
    task = task_of(dataclasses.replace(RECIPE, mixup=mixup))
    once, again = (list(task.batches(0, torch.Generator().manual_seed(3))) for _ in range(2))
    for (faces, targets), (same_faces, same_targets) in zip(once, again):
        assert torch.equal(faces, same_faces) and torch.equal(targets[0], same_targets[0])
        assert targets[2] == same_targets[2]


def test_labels_stay_with_their_faces() -> None:
    for faces, (labels, _, _) in task_of().batches(0, torch.Generator().manual_seed(0)):
        assert torch.corrcoef(torch.stack([faces.mean((1, 2, 3)), labels.float()]))[0, 1] > 0.9


def test_the_loss_is_smoothed_cross_entropy() -> None:
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    found = task_of().loss(outputs, (labels, labels, 1.0))
    smooth = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    assert float(found) == pytest.approx(float(-(smooth * outputs.log_softmax(1)).sum(1).mean()), rel=1e-5)


def test_mixed_labels_share_the_loss() -> None:
    task, outputs = task_of(), torch.randn(4, 3)
    first, second = torch.tensor([0, 1, 2, 0]), torch.tensor([2, 2, 1, 1])
    alone = [float(task.loss(outputs, (labels, labels, 1.0))) for labels in (first, second)]
    mixed = float(task.loss(outputs, (first, second, 0.25)))
    assert mixed == pytest.approx(0.25 * alone[0] + 0.75 * alone[1], rel=1e-5)


def test_prediction_does_not_depend_on_the_batch(run: Path) -> None:
    network, _ = load_network(run / "best")
    faces = noise().images[:7, None]
    assert np.allclose(predict(network, faces, 7), predict(network, faces, 2), atol=1e-5)


def test_a_run_too_short_for_its_last_size_is_still_tested_and_exported_at_it(tmp_path: Path) -> None:
    short = dataclasses.replace(RECIPE, epochs=1)
    assert short.size_at(0) == 16
    train_expression(short, noise(), tmp_path / "run", resume=False)
    assert load_checkpoint(tmp_path / "run" / "best")[1]["size"] == 24
