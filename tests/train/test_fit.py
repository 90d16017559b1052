"""Fitting: it learns, it resumes exactly after a kill, and it never leaves ruined weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_task
from torch import Tensor, nn
from toy_task import FACTS, RECIPE, ToyTask, toy_network, train_toy

from runtime.errors import BadInput, MienError
from train.checkpoint import load_checkpoint, save_checkpoint
from train.distributed import Group
from train.fit import AveragedWeights, Fitted, fit


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fitted]:
    """A run that nothing interrupted (read-only)."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, train_toy(out)


def metrics_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def timeless(entries: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in e.items() if k not in ("seconds", "images_per_second")} for e in entries]


def killed(out: Path, epoch: int, batch: int) -> Path:
    """Train in a process that dies by SIGKILL before that batch."""
    result = subprocess.run([sys.executable, toy_task.__file__, str(out), str(epoch), str(batch)], check=False,
                            capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    return out


# learning

def test_every_epoch_leaves_a_line(finished: tuple[Path, Fitted]) -> None:
    assert [entry["epoch"] for entry in metrics_of(finished[0])] == [1, 2, 3]


def test_the_loss_falls_from_epoch_to_epoch(finished: tuple[Path, Fitted]) -> None:
    losses = [entry["loss"] for entry in metrics_of(finished[0])]
    assert len(losses) == RECIPE.epochs and losses[2] < 0.7 * losses[0]


def test_the_best_epoch_is_the_one_with_the_highest_score(finished: tuple[Path, Fitted]) -> None:
    scores = [entry["held_out"]["score"] for entry in metrics_of(finished[0])]
    assert scores[finished[1].best_epoch] == max(scores) == finished[1].figures["score"] > 0.6  # a third is chance


def test_the_best_weights_give_the_best_score(finished: tuple[Path, Fitted]) -> None:
    tensors, facts = load_checkpoint(finished[0] / "best")
    network = toy_network()
    network.load_state_dict(tensors)
    assert ToyTask().score(network.eval())["score"] == facts["figures"]["score"] == finished[1].figures["score"]


def test_every_checkpoint_carries_the_facts(finished: tuple[Path, Fitted]) -> None:
    for name in ("best", "last"):
        assert load_checkpoint(finished[0] / name)[1].items() >= FACTS.items()


def test_progress_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy(tmp_path / "run", recipe=dataclasses.replace(RECIPE, epochs=1))
    captured = capsys.readouterr()
    assert captured.out == "" and "epoch 1/1  loss" in captured.err


# resuming

@pytest.mark.parametrize(("epoch", "batch"), [(1, 0), (2, 7)])
def test_a_run_killed_and_resumed_has_the_bits_of_one_that_was_not(
        finished: tuple[Path, Fitted], tmp_path: Path, epoch: int, batch: int) -> None:
    out = killed(tmp_path / "run", epoch, batch)
    assert len(metrics_of(out)) == epoch
    train_toy(out, resume=True)
    for name in ("best", "last"):
        wanted, found = load_checkpoint(finished[0] / name)[0], load_checkpoint(out / name)[0]
        assert set(wanted) == set(found)
        assert [k for k in wanted if not torch.equal(wanted[k], found[k])] == []
    assert timeless(metrics_of(out)) == timeless(metrics_of(finished[0]))


def test_a_run_killed_in_its_first_epoch_left_nothing_to_resume(tmp_path: Path) -> None:
    out = killed(tmp_path / "run", 0, 3)
    with pytest.raises(BadInput, match="found none; leave --resume away"):
        train_toy(out, resume=True)


def test_a_finished_run_resumed_changes_nothing(finished: tuple[Path, Fitted], tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in finished[0].rglob("*") if p.is_file()}
    assert train_toy(finished[0], resume=True).figures == finished[1].figures
    assert {p: p.read_bytes() for p in finished[0].rglob("*") if p.is_file()} == before


def test_a_run_is_not_overwritten(finished: tuple[Path, Fitted]) -> None:
    with pytest.raises(BadInput, match="add --resume or choose another"):
        train_toy(finished[0])


def test_a_run_is_the_same_however_its_command_was_spelled(finished: tuple[Path, Fitted]) -> None:
    assert train_toy(finished[0], resume=True, facts=FACTS | {"command": "spelled otherwise"}) == finished[1]


def test_another_runs_folder_is_not_resumed(finished: tuple[Path, Fitted]) -> None:
    with pytest.raises(BadInput, match="the same labels as the run"):
        train_toy(finished[0], resume=True, facts=FACTS | {"labels": ["a", "b", "c"]})


def test_a_run_is_not_resumed_without_what_it_began_from(tmp_path: Path) -> None:
    began = FACTS | {"started_from": {"sha256": "ab"}, "command": "mien train --init x"}
    train_toy(tmp_path / "run", recipe=dataclasses.replace(RECIPE, epochs=1), facts=began)
    with pytest.raises(BadInput, match="the same started_from as .* found none; .*: mien train --init x"):
        train_toy(tmp_path / "run", recipe=dataclasses.replace(RECIPE, epochs=1), resume=True)


# numbers that are not finite

class PoisonedTask(ToyTask):
    """A loss, or only its gradient, that is not finite in one batch of the second epoch."""

    def __init__(self, batch: int, only_gradient: bool):
        super().__init__()
        self.poisoned, self.only_gradient, self.now = batch, only_gradient, (0, 0)

    def before_batch(self, epoch: int, batch: int) -> None:
        self.now = (epoch, batch)

    def loss(self, outputs: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        loss = super().loss(outputs, targets, inputs)
        if self.now != (1, self.poisoned):
            return loss
        # the root of zero is zero, its gradient is infinite
        return loss + (outputs * 0).abs().sqrt().sum() if self.only_gradient else loss * float("nan")


@pytest.mark.parametrize(("batch", "only_gradient", "words"), [
    (5, False, "a finite loss, found nan at step 17"), (5, True, "a finite loss, found nan at step 18"),
    (11, True, "finite weights after epoch 2")])
def test_what_is_not_finite_stops_the_run_and_spares_the_checkpoint(
        tmp_path: Path, batch: int, only_gradient: bool, words: str) -> None:
    with pytest.raises(MienError, match=words) as caught:
        train_toy(tmp_path / "run", PoisonedTask(batch, only_gradient))
    assert caught.value.exit_code == 1
    tensors, facts = load_checkpoint(tmp_path / "run" / "last")
    assert facts["progress"]["epoch"] == 0 and all(bool(t.isfinite().all()) for t in tensors.values())


def test_the_batch_of_a_bad_loss_is_saved(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="bad-batch"):
        train_toy(tmp_path / "run", PoisonedTask(5, only_gradient=False))
    tensors, facts = load_checkpoint(tmp_path / "run" / "bad-batch")
    assert tensors["inputs"].shape == (8, 3, 8, 8) and (facts["epoch"], facts["step"]) == (1, 17)


# choosing, stopping, half precision

class FadingTask(ToyTask):
    """Its score falls from epoch to epoch, whatever the network does."""

    def __init__(self, chooses: bool):
        super().__init__()
        self.chooses, self.scored = chooses, 0

    def score(self, network: nn.Module) -> dict[str, float]:
        self.scored += 1
        return {"score": 1.0 / self.scored}


@pytest.mark.parametrize(("chooses", "kept"), [(True, 0), (False, 2)])
def test_without_a_part_to_choose_on_the_last_epoch_is_kept(tmp_path: Path, chooses: bool, kept: int) -> None:
    assert train_toy(tmp_path / "run", FadingTask(chooses)).best_epoch == kept
    assert load_checkpoint(tmp_path / "run" / "best")[1]["epoch"] == kept


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    patient = dataclasses.replace(RECIPE, epochs=9, patience=2)
    assert train_toy(tmp_path / "run", FadingTask(chooses=True), recipe=patient).best_epoch == 0
    assert [entry["epoch"] for entry in metrics_of(tmp_path / "run")] == [1, 2, 3]
    train_toy(tmp_path / "run", FadingTask(chooses=True), recipe=patient, resume=True)
    assert len(metrics_of(tmp_path / "run")) == 3  # resumed, it still stops


@pytest.mark.parametrize("changes", [
    {"optimizer": "sgd", "learning_rate": 0.05}, {"optimizer": "adam", "precision": "bfloat16"},
    {"precision": "float16", "schedule": "constant"}], ids=["sgd", "adam-bfloat16", "adamw-float16"])
def test_every_optimizer_and_precision_learns_and_resumes_to_the_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = dataclasses.replace(RECIPE, **changes)
    whole = train_toy(tmp_path / "whole", recipe=recipe)
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path / "cut", InterruptedTask(), recipe=recipe)
    assert train_toy(tmp_path / "cut", recipe=recipe, resume=True).figures == whole.figures
    wanted, found = (load_checkpoint(tmp_path / run / "last")[0] for run in ("whole", "cut"))
    assert set(wanted) == set(found) and [k for k in wanted if not torch.equal(wanted[k], found[k])] == []
    assert whole.figures["score"] > 0.5  # a third is chance


class InterruptedTask(ToyTask):
    """Ctrl-C in the third epoch."""

    def before_batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == (2, 4):
            raise KeyboardInterrupt


# the parts

def test_the_average_follows_its_formula_and_counts_are_copied() -> None:
    network = nn.BatchNorm1d(2)
    average = AveragedWeights(network, decay=0.998)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.num_batches_tracked.fill_(7)
    average.update(network)
    decay = 2 / 11  # (1 + steps) / (10 + steps) while that is below 0.998
    assert torch.allclose(average.state["weight"], torch.full((2,), decay * 1.0 + (1 - decay) * 3.0))
    assert average.state["num_batches_tracked"] == 7


# one folder, one run

def test_a_line_of_metrics_that_a_kill_left_out_is_written_by_resuming(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    train_toy(tmp_path / "run", recipe=recipe)
    whole = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    (tmp_path / "run" / "metrics.jsonl").unlink()  # the power went between last/ and this file
    train_toy(tmp_path / "run", recipe=recipe, resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == whole


class NosyTask(ToyTask):
    """Tries to train in the same folder in the middle of an epoch."""

    def __init__(self, out: Path):
        super().__init__()
        self.out = out

    def before_batch(self, epoch: int, batch: int) -> None:
        if batch == 1:
            with pytest.raises(BadInput, match="no other training in"):
                train_toy(self.out, resume=(self.out / "last").exists())


def test_a_second_training_in_the_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    train_toy(tmp_path / "run", NosyTask(tmp_path / "run"), recipe=dataclasses.replace(RECIPE, epochs=2))
    assert len(metrics_of(tmp_path / "run")) == 2


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    for name in (".last.0123abcd.tmp", ".report.html.0123abcd.html"):
        (tmp_path / name).mkdir()
    train_toy(tmp_path, recipe=dataclasses.replace(RECIPE, epochs=1))
    assert [p.name for p in tmp_path.glob(".*")] == [".report.html.0123abcd.html"]  # the second is no training's


class SecondOfTwo(Group):
    """The second process, where the first one's loss is not finite; nobody else is there."""

    def mean(self, value: Tensor) -> Tensor:
        return value * float("nan")

    def wrap(self, network: nn.Module) -> nn.Module:
        return network


def test_every_process_saves_its_share_of_a_bad_batch(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="bad-batch-1"):
        fit(toy_network(), ToyTask(), RECIPE, tmp_path / "run", FACTS, False, SecondOfTwo(1, 2))
    assert load_checkpoint(tmp_path / "run" / "bad-batch-1")[0]["inputs"].shape == (4, 3, 8, 8)


class OverflowingTask(ToyTask):
    """Gradients that no loss scale can save: the root of zero is zero, its gradient is infinite."""

    def loss(self, outputs: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        return super().loss(outputs, targets, inputs) + (outputs * 0).abs().sqrt().sum()


def test_a_loss_scale_that_only_falls_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="finite gradients, found none at any loss scale down to 1 by step 16"):
        train_toy(tmp_path / "run", OverflowingTask(), recipe=dataclasses.replace(RECIPE, precision="float16"))


class HungryTask(ToyTask):
    """A GPU whose memory is full."""

    def loss(self, outputs: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def test_a_full_gpu_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="room on cpu for 8 faces of 8 pixels at once, found none left"):
        train_toy(tmp_path / "run", HungryTask())


class LostTask(ToyTask):
    """A GPU that fails under the run."""

    def loss(self, outputs: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with …")


def test_a_gpu_that_fails_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="expected cpu to go on, found CUDA error: an illegal memory") as caught:
        train_toy(tmp_path / "run", LostTask())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", ["none", "an epoch older"])
def test_the_best_weights_that_a_kill_left_out_are_written_by_resuming(tmp_path: Path, left: str) -> None:
    recipe, run = dataclasses.replace(RECIPE, epochs=1), tmp_path / "run"
    train_toy(run, recipe=recipe)
    best, facts = load_checkpoint(run / "best")
    if left == "none":
        shutil.rmtree(run / "best")
    else:
        save_checkpoint(run / "best", {k: torch.zeros_like(v) for k, v in best.items()}, FACTS)
    train_toy(run, recipe=recipe, resume=True)
    again, facts_again = load_checkpoint(run / "best")
    assert facts_again == facts and all(torch.equal(again[name], tensor) for name, tensor in best.items())


def test_an_older_pytorch_still_says_why_a_run_ended(tmp_path: Path) -> None:
    code = ("import sys, torch; del torch.AcceleratorError; sys.path[:0] = sys.argv[2:]; import toy_task; from pathlib "
            "import Path\nclass Bad(toy_task.ToyTask):\n  def loss(self, o, t, i): return (o * float('nan')).sum()\n"
            "toy_task.train_toy(Path(sys.argv[1]), Bad())")
    tests = Path(toy_task.__file__).parent
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run"), str(tests), str(tests.parent)],
                           check=False, capture_output=True, text=True)
    last = found.stderr.splitlines()[-1]
    assert "MienError: expected a finite loss, found nan" in last, found.stderr
