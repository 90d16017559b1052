"""Two commands at once on one model directory: the second writes nothing, and whoever writes is alone."""

from __future__ import annotations

import copy
import fcntl
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tiny_graphs import random_faces

from export import changing_model as changing_model_module
from export.changing_model import changing_model, lock_path, replacing_model
from export.int8 import equalize_model as equalize_module
from export.int8 import fine_tune as fine_tune_module
from export.int8 import int8_from_onnx as int8_module
from export.int8.equalize_model import equalize_model
from export.int8.fine_tune import carry_over_int8
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from export.model_from_checkpoint import ENOUGH, model_from_checkpoint
from runtime.card import Model, load_model
from runtime.errors import BadInput, MienError


@pytest.fixture
def model(tiny_export, tmp_path: Path) -> Model:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    int8_from_onnx(load_model(directory), random_faces(16), Rounding("max"), {"name": "noise"})
    return load_model(directory)


def calibrate(model: Model) -> None:
    int8_from_onnx(model, random_faces(32), Rounding("max"), {"name": "noise"})


def equalize(model: Model) -> None:
    equalize_model(model, random_faces(32), 0.5)


def carry_over(model: Model) -> None:
    carry_over_int8(model, model.card)


@pytest.mark.parametrize(("late", "early"), [(calibrate, equalize), (equalize, calibrate), (carry_over, equalize)])
def test_who_comes_second_writes_nothing(model: Model, late: Callable[[Model], None],
                                         early: Callable[[Model], None], monkeypatch: pytest.MonkeyPatch) -> None:
    before: dict[str, bytes] = {}

    def overtaken(of: Model) -> AbstractContextManager[Path]:
        """All is computed, nothing written: now the other command ends."""
        monkeypatch.undo()
        early(load_model(of.directory))
        before.update({p.name: p.read_bytes() for p in of.directory.iterdir()})
        return changing_model(of)

    for module in (equalize_module, fine_tune_module, int8_module):
        monkeypatch.setattr(module, "changing_model", overtaken)
    with pytest.raises(MienError, match="changed meanwhile .*run it again") as caught:
        late(model)
    assert caught.value.exit_code == 1
    assert {p.name: p.read_bytes() for p in model.directory.iterdir()} == before
    assert {p.name for p in model.directory.parent.iterdir()} == {"model", lock_path(model.directory).name}


def test_a_writer_is_alone_until_it_is_done(model: Model) -> None:
    with changing_model(model), open(lock_path(model.directory)) as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(lock_path(model.directory)) as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_export_over_a_model_is_alone_too_until_it_is_done(model: Model) -> None:
    with replacing_model(model.directory) as directory, open(lock_path(model.directory)) as other:
        assert list(directory.iterdir()) == []
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_export_during_a_calibration_is_not_undone_by_it(
        tiny_export, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = threading.Event(), fcntl.flock

    def flock(handle: int, how: int) -> None:
        if threading.current_thread() is exporting:
            asked.set()
        real(handle, how)

    def export_again() -> None:
        model_from_checkpoint(tiny_export.network, copy.deepcopy(tiny_export.facts), model.directory,
                              random_faces(ENOUGH), 0.0)

    exporting = threading.Thread(target=export_again)
    monkeypatch.setattr(changing_model_module.fcntl, "flock", flock)
    with changing_model(model) as directory:
        exporting.start()
        while exporting.is_alive() and not asked.wait(0.05):
            pass
        (directory / "fp16.onnx").write_bytes(b"ours")
        assert exporting.is_alive() and set(load_model(model.directory).card.graphs) == set(model.card.graphs)
    exporting.join()
    assert set(load_model(model.directory).card.graphs) == {"fp32", "fp16"}
    assert load_model(model.directory).read_graph("fp16")


def test_an_error_frees_the_model_and_leaves_it_as_it_was(model: Model) -> None:
    with pytest.raises(RuntimeError), changing_model(model) as directory:
        (directory / "fp32.onnx").write_bytes(b"half")
        raise RuntimeError
    assert load_model(model.directory).read_graph("fp32")
    with changing_model(model):
        pass


def test_a_folder_that_takes_no_lock_is_named(model: Model) -> None:
    lock_path(model.directory).unlink()
    lock_path(model.directory).mkdir()
    with pytest.raises(BadInput, match="copy the model to a folder of your own"), changing_model(model):
        pass


def test_a_model_named_by_a_link_has_one_lock_and_is_changed_itself(model: Model) -> None:
    link = model.directory.parent / "link"
    link.symlink_to(model.directory)
    assert lock_path(link) == lock_path(model.directory)
    calibrate(load_model(link))
    assert link.is_symlink() and load_model(model.directory).card.calibration["images"] == 32


def test_what_a_killed_writer_left_is_removed_by_the_next(model: Model) -> None:
    left = model.directory.with_name(f".{model.directory.name}.0a1b2c3d.tmp")
    shutil.copytree(model.directory, left)
    calibrate(model)
    assert not left.exists()
