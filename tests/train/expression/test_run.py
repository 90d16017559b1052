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
from train.distributed import Group
from train.expression.open_network import open_network
from train.expression.run import load_network, train_expression
from train.expression.task import ExpressionTask, Targets, predict
from train.networks import build_network
from train.recipe import Distillation, Recipe

NO_FACES = torch.zeros(0)
NAMES = ("dark", "middle", "bright")
RECIPE = Recipe(name="quick", network="small-vgg", epochs=2, batch_size=16, dropout=0.0, ema=0.5, size=24,
                image_sizes=((0.0, 16), (0.5, 24)), augmentation=Augmentation(brightness=0, contrast=0))


def noise(count: int = 96) -> LabelledFaces:
    """24×24 faces whose brightness is their class; a third is held out, and eight more are reported."""
    random, labels = np.random.default_rng(0), np.arange(count) % 3
    images = np.clip(random.normal(60 + 70 * labels[:, None, None], 20, (count, 24, 24)), 0, 255).astype(np.uint8)
    splits = np.where(np.arange(count) < count * 2 // 3, "Training", "PublicTest")
    faces = LabelledFaces(images, labels, splits, [str(i) for i in range(count)], NAMES)
    reported = LabelledFaces(images[:8], labels[:8], np.full(8, "PrivateTest"), list("abcdefgh"), NAMES)
    return joined(faces, reported)


def joined(first: LabelledFaces, second: LabelledFaces) -> LabelledFaces:
    return LabelledFaces(np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels]),
                         np.concatenate([first.splits, second.splits]), [*first.names, *second.names], NAMES)


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
    assert facts["data"] == {"name": "fer2013", "sha256": noise().sha256(), "training_images": 64,
                             "chosen_on": 32, "reported_images": 8, "shared_people": None}
    assert facts["input"] == {"height": 24, "width": 24, "colour": "grey", "margin": 0.0, "equalize": False,
                              "resize": None, "template": None}


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_checkpoint_opens_as_a_network_for_any_faces(run: Path, which: str) -> None:
    opened = open_network(run / which, "fp32")
    answers = opened.logits(noise().images[:5, None])
    assert answers.shape == (5, 3) and np.isfinite(answers).all()
    assert opened.what["runs_in"] == "PyTorch" and opened.what["epoch"] in (1, 2)


def test_the_best_checkpoint_scores_what_it_says(run: Path) -> None:
    network, facts = load_network(run / "best")
    assert task_of().score(network) == facts["figures"]


def test_the_last_checkpoint_holds_its_epochs_averaged_weights(run: Path) -> None:
    network, facts = load_network(run / "last")
    assert facts["epoch"] == 1 and task_of().score(network) == facts["figures"]


def test_too_few_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 16 faces to train on and one to choose on, found 14, and 7 to"):
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
    plain = dataclasses.replace(RECIPE, augmentation=Augmentation(0, 0, 0, 0, 0, 0, 0, 0), image_sizes=((0.0, 24),))
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
        assert torch.equal(faces, same_faces) and torch.equal(targets.first, same_targets.first)
        assert targets.share == same_targets.share


def test_labels_stay_with_their_faces() -> None:
    for faces, targets in task_of().batches(0, torch.Generator().manual_seed(0)):
        assert torch.corrcoef(torch.stack([faces.mean((1, 2, 3)), targets.first.float()]))[0, 1] > 0.9


def test_the_loss_is_smoothed_cross_entropy() -> None:
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    found = task_of().loss(outputs, Targets(labels, labels, 1.0), NO_FACES)
    smooth = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    assert float(found) == pytest.approx(float(-(smooth * outputs.log_softmax(1)).sum(1).mean()), rel=1e-5)


def test_mixed_labels_share_the_loss() -> None:
    task, outputs = task_of(), torch.randn(4, 3)
    first, second = torch.tensor([0, 1, 2, 0]), torch.tensor([2, 2, 1, 1])
    alone = [float(task.loss(outputs, Targets(labels, labels, 1.0), NO_FACES)) for labels in (first, second)]
    mixed = float(task.loss(outputs, Targets(first, second, 0.25), NO_FACES))
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


def test_two_processes_share_the_batches_of_one() -> None:
    alone, shares = list(task_of().batches(0, torch.Generator().manual_seed(4))), []
    for rank in (0, 1):
        shares.append(list(task_of().batches(0, torch.Generator().manual_seed(4), Group(rank, 2))))
    for (faces, targets), (first, its), (second, others) in zip(alone, *shares, strict=True):
        assert torch.allclose(faces, torch.cat([first, second]), atol=1e-3)
        assert torch.equal(targets.first, torch.cat([its.first, others.first]))


# rare classes

def uneven() -> LabelledFaces:
    """80 faces of the first class, 8 of the second and third each."""
    return dataclasses.replace(noise(96).split("Training", "PublicTest"), labels=np.repeat([0, 1, 2], [80, 8, 8]))


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_balanced_sampling_shows_each_class_as_often(balance: str) -> None:
    training = uneven()
    task = ExpressionTask(training, training, dataclasses.replace(RECIPE, balance=balance))
    seen = torch.cat([targets.first for epoch in range(20)
                      for _, targets in task.batches(epoch, torch.Generator().manual_seed(epoch))])
    shares = torch.bincount(seen, minlength=3) / len(seen)
    wanted = torch.tensor([1, 1, 1]) / 3 if balance == "sampling" else torch.tensor([80, 8, 8]) / 96
    assert torch.allclose(shares, wanted, atol=0.05)


def test_class_weights_are_inverse_to_a_classs_share_and_weigh_the_loss() -> None:
    training = uneven()
    task = ExpressionTask(training, training, dataclasses.replace(RECIPE, balance="weights", label_smoothing=0.0))
    assert task.class_weights is not None and task.class_weights.tolist() == pytest.approx([0.4, 4.0, 4.0])
    outputs, labels_of_two = torch.zeros(2, 3), torch.tensor([0, 1])
    outputs[0, 0] = 5.0  # the frequent class is right, the rare one wrong: the mean leans to the rare one
    weighted = float(task.loss(outputs, Targets(labels_of_two, labels_of_two, 1.0), NO_FACES))
    each = F.cross_entropy(outputs, labels_of_two, reduction="none")
    assert weighted == pytest.approx(float((0.4 * each[0] + 4 * each[1]) / 4.4), rel=1e-5)


# teachers

class Sure(torch.nn.Module):
    """A teacher that is sure of one class."""

    def __init__(self, label: int):
        super().__init__()
        self.logits = torch.full((3,), -4.0)
        self.logits[label] = 4.0

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(faces), 3)


def test_teachers_probabilities_are_averaged_and_weighed_against_the_labels() -> None:
    how = Distillation(("x", "y"), weight=0.6, temperature=3.0)
    recipe = dataclasses.replace(RECIPE, distillation=how, label_smoothing=0.0)
    task = ExpressionTask(noise(), noise(), recipe, teachers=[Sure(0), Sure(1)])
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    found = float(task.loss(outputs, Targets(labels, labels, 1.0), torch.zeros(4, 1, 24, 24)))
    taught = ((Sure(0).logits / 3).softmax(0) + (Sure(1).logits / 3).softmax(0)) / 2
    apart = (taught * (taught.log() - (outputs / 3).log_softmax(1))).sum(1).mean() * 9
    assert found == pytest.approx(0.6 * float(apart) + 0.4 * float(F.cross_entropy(outputs, labels)), rel=1e-4)


def test_a_run_learns_from_a_finished_one_and_says_which(run: Path, tmp_path: Path) -> None:
    taught = dataclasses.replace(RECIPE, epochs=1, distillation=Distillation((str(run / "best"),)))
    train_expression(taught, noise(), tmp_path / "run", resume=False)
    assert load_checkpoint(tmp_path / "run" / "best")[1]["teachers"] == [load_checkpoint(run / "best")[1]["sha256"]]


def test_a_teacher_of_other_labels_is_refused(run: Path, tmp_path: Path) -> None:
    taught = dataclasses.replace(RECIPE, distillation=Distillation((str(run / "best"),)))
    others = dataclasses.replace(noise(), label_names=("a", "b", "c"))
    with pytest.raises(BadInput, match="teachers of a, b, c"):
        train_expression(taught, others, tmp_path / "run", resume=False)


# the recipe's own choices reach the network and the card

def test_a_crop_a_size_and_options_reach_the_checkpoint(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, network="shallow-cnn", dropout=None, crop=24, image_sizes=(), epochs=1)
    cropped = dataclasses.replace(recipe, network="light-vgg16", network_options={"attention": "se"}, size=36, crop=32)
    faces = noise()
    larger = dataclasses.replace(faces, images=np.repeat(np.repeat(faces.images, 2, 1), 2, 2)[:, :36, :36])
    for chosen, shown in ((recipe, faces), (cropped, larger)):
        train_expression(chosen, shown, tmp_path / chosen.network, resume=False)
        network, facts = load_network(tmp_path / chosen.network / "best")
        assert facts["size"] == chosen.side and facts["input"]["resize"] == chosen.size
        assert network(torch.zeros(1, 1, chosen.side, chosen.side)).shape == (1, 3)


def test_a_run_starts_from_another_ones_weights(run: Path, tmp_path: Path) -> None:
    slow = dataclasses.replace(RECIPE, epochs=1, learning_rate=1e-9, ema=0.0, weight_decay=0.0)
    train_expression(slow, noise(), tmp_path / "run", resume=False, start=run / "best")
    wanted, found = (load_network(path / "best")[0].state_dict() for path in (run, tmp_path / "run"))
    assert all(torch.allclose(wanted[k], found[k], atol=1e-6) for k in wanted if "running" not in k and "num" not in k)
    assert load_checkpoint(tmp_path / "run" / "best")[1]["started_from"]["random_start"] == []


def test_sizes_that_a_network_or_its_teacher_cannot_take_are_refused_before_training(run: Path, tmp_path: Path) -> None:
    growing = {"network": "shallow-cnn", "dropout": None}
    small = {"image_sizes": ((0.0, 12), (0.5, 24))}
    for changes, words in ((growing, "24 pixels throughout for shallow-cnn, found 16"),
                           (small, "16 pixels or more for small-vgg, found 12")):
        with pytest.raises(BadInput, match=words):
            train_expression(dataclasses.replace(RECIPE, **changes), noise(), tmp_path / "run", resume=False)
    plain = dataclasses.replace(RECIPE, network="shallow-cnn", dropout=None, image_sizes=(), epochs=1)
    train_expression(plain, noise(), tmp_path / "teacher", resume=False)
    taught = dataclasses.replace(RECIPE, distillation=Distillation((str(tmp_path / "teacher" / "best"),)))
    with pytest.raises(BadInput, match="throughout for shallow-cnn, found 16"):
        train_expression(taught, noise(), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_wants_its_faces_otherwise_is_refused(run: Path, tmp_path: Path) -> None:
    taught = dataclasses.replace(RECIPE, equalize=True, distillation=Distillation((str(run / "best"),)))
    with pytest.raises(BadInput, match="in equalized grey, found one of dark, middle, bright in grey"):
        train_expression(taught, noise(), tmp_path / "run", resume=False)
