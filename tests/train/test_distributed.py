"""Two real gloo processes share a run, and end with the weights of one process that had the whole batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shared_run
import torch

from runtime.errors import BadInput, Unavailable
from train.checkpoint import load_checkpoint
from train.distributed import Group, joined, require_one_process

WEIGHTS = "network/"


def started_by_torchrun(out: Path, *words: str, expect: int = 0) -> str:
    """Run `tests/shared_run.py` in two processes, as a user would."""
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", shared_run.__file__,
         str(out), *words], capture_output=True, text=True, check=False, timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"})
    assert (result.returncode == 0) == (expect == 0), result.stderr[-3000:]
    return result.stderr


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two processes, killed (SIGKILL) in its third epoch and resumed."""
    out = tmp_path_factory.mktemp("shared") / "run"
    started_by_torchrun(out, "killed", expect=1)
    return out, started_by_torchrun(out, "resumed")


def test_two_processes_learn_what_one_learns(shared: tuple[Path, str], tmp_path: Path) -> None:
    shared_run.train(tmp_path / "run", resume=False, group=Group())
    wanted, found = load_checkpoint(tmp_path / "run" / "last")[0], load_checkpoint(shared[0] / "last")[0]
    assert set(wanted) == set(found)
    apart = max(float((wanted[k] - found[k]).abs().max()) for k in wanted if k.startswith(WEIGHTS))
    moved = max(float((wanted[k] - v).abs().max()) for k, v in
                ((WEIGHTS + k, v) for k, v in shared_run.network().state_dict().items()))
    assert apart < 1e-4 < 0.01 < moved  # sums in another order, nothing else


def test_one_process_writes_and_speaks(shared: tuple[Path, str]) -> None:
    assert shared[1].count("epoch 3/3  loss") == 1
    assert len((shared[0] / "metrics.jsonl").read_text().splitlines()) == 3


def test_processes_take_rows_without_one_in_common() -> None:
    rows = [list(range(12))[Group(rank, 3).share_of(12)] for rank in range(3)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(BadInput, match="that 3 processes share equally, found 128"):
        Group(0, 3).share_of(128)


def test_a_group_of_one_communicates_with_nobody() -> None:
    alone, network = Group(), shared_run.network()
    assert alone.agree(True) and not alone.agree(False) and alone.wrap(network) is network
    assert float(alone.mean(torch.tensor(2.5))) == 2.5


def test_more_processes_than_gpus_are_refused_before_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(Unavailable, match="found 1 GPUs and process 2 .* --nproc-per-node 1"), joined():
        pass


def test_another_launchers_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="WORLD_SIZE without RANK, LOCAL_RANK"), joined():
        pass


def test_a_verb_that_shares_nothing_is_not_started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    require_one_process("cross-validate")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="one process of cross-validate, found 2"):
        require_one_process("cross-validate")
